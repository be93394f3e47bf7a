"""What a logger is: it is told of a run, takes points, and hears how the run ended."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from polytask.errors import MissingExtraError

RunKind = Literal["run", "seed", "baseline", "mean"]


@dataclass(frozen=True, slots=True)
class Point:
    """Values at one step.

    Attributes:
        step: Steps done.
        time: Seconds since 1970.
        values: Per name, all finite.
    """

    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a logger is told of the run that it begins or takes up again.

    Attributes:
        folder: The folder of this seed or baseline.
        root: The run folder; the same where there is one seed.
        kind: ``run``: the only seed; ``seed``; ``baseline``: a task's own network; ``mean``: no training of its own,
            but the scores of several seeds.
        config: The resolved configuration, as its TOML file.
        tags: Of one word each: seed, version of polytask and the like.
        id: What the logger called itself when this run was begun by an earlier process, or ``None``.
        parent: The id of the run folder's own run, for seeds and baselines in it.
    """

    folder: Path
    root: Path
    kind: RunKind
    config: Mapping[str, Any]
    tags: Mapping[str, str]
    id: str | None
    parent: str | None

    @property
    def place(self) -> str:
        """The folder below the run folder: ``.``, ``seeds/1``, ``baselines/click``."""
        return self.folder.relative_to(self.root).as_posix()

    @property
    def name(self) -> str:
        """The name of the run folder, and the place in it."""
        return self.root.name if self.folder == self.root else f"{self.root.name}/{self.place}"


class Logger(Protocol):
    """One run in one tool. It is called from a thread of its own: a slow one does not hold up training.

    Attributes:
        id: By which the builder finds the run again, in `TrackedRun.id`.
        points: At most about so many points a curve: the steps between are averaged.
    """

    id: str
    points: int

    def log(self, points: Sequence[Point]) -> None:
        """Takes points, in the order of their steps; what it raises ends the logger, not the training."""

    def finish(self, scores: Mapping[str, float] | None) -> None:
        """The run is over: its final scores, or ``None`` where it was interrupted."""


LoggerBuilder = Callable[[TrackedRun], Logger]


def needed(package: str, *, extra: str, purpose: str) -> Any:
    """An optional package.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(package.partition(".")[0], extra=extra, purpose=purpose) from error


def flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys.

    Example:
        >>> flat({"train": {"epochs": 2}, "sharing": {"use": "mmoe", "widths": [64]}})
        {'train.epochs': 2, 'sharing.use': 'mmoe', 'sharing.widths': [64]}
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, Mapping) else {f"{path}{key}": value}
    return found
