"""All weightings that were tried for a fused score, as data: what each one gives, and which are efficient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polytask.deciding.figure import plot
from polytask.decisions import Fusion
from polytask.errors import Problem, UserError
from polytask.files import read_json, write_json
from polytask.fronts.dominance import non_dominated

FORMAT = 1


@dataclass(frozen=True)
class Point:
    """One weighting.

    Attributes:
        weights: Per prediction, summing to 1.
        objective: What the score is fitted to.
        quality: Per task, how well the score ranks by that task's own label.
        met: Whether all floors are met.
    """

    weights: Mapping[str, float]
    objective: float
    quality: Mapping[str, float]
    met: bool


@dataclass(frozen=True)
class TradeOff:
    """What the search for a fused score has seen.

    Attributes:
        fusion: The chosen score.
        metrics: Per task the metric of its quality: ``gauc`` or ``ndcg``.
        points: In the order in which they were tried; each prediction alone is among them.
        chosen: The place of the chosen one.
        rows: Rows that were ranked.
        groups: Groups that they fall into.
        other: Per other part of the data, what the chosen score reaches there, as `Fusion.reached`.
    """

    fusion: Fusion
    metrics: Mapping[str, str]
    points: tuple[Point, ...]
    chosen: int
    rows: int
    groups: int
    other: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def compared(self) -> tuple[str, ...]:
        """The tasks that the trade-off is about beside the objective: those with floors, or else all."""
        return tuple(name for name in self.metrics if name in self.fusion.floors) or tuple(self.metrics)

    @property
    def efficient(self) -> list[bool]:
        """Per point, whether no other is as good in the objective and all of `compared`, and better in one."""
        values = [[one.objective, *(one.quality[name] for name in self.compared)] for one in self.points]
        return non_dominated(-np.nan_to_num(np.array(values), nan=-1.0)).tolist()

    @property
    def alone(self) -> dict[str, Point]:
        """Per prediction the point where it alone ranks."""
        return {name: point for name in self.fusion.weights for point in self.points if point.weights[name] == 1.0}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        fusion = {name: value for name, value in asdict(self.fusion).items() if name not in ("scales", "reached")}
        points = [
            {**asdict(point), "efficient": efficient}
            for point, efficient in zip(self.points, self.efficient, strict=True)
        ]
        parts = {"validation": self.fusion.reached, **self.other}
        return {
            "format": FORMAT, **fusion, "metrics": dict(self.metrics), "rows": self.rows, "groups": self.groups,
            "parts": parts, "chosen": self.chosen, "points": points,
        }  # fmt: skip

    def save(self, file: Path | str) -> None:
        """Writes the data as JSON."""
        write_json(Path(file), self.to_json())

    @classmethod
    def load(cls, file: Path | str) -> TradeOff:
        """Reads what `save` wrote, such as ``fusion.json`` of a run; scales are in the bundle only.

        Raises:
            UserError: The file is missing, or none of these.
        """
        try:
            found = read_json(Path(file))
            other = dict(found["parts"])
            names = ("objective", "value", "group", "at", "floors")
            fusion = Fusion(
                found["form"], found["weights"], reached=other.pop("validation"), met=found["met"],
                **{name: found[name] for name in names},
            )  # fmt: skip
            points = tuple(_point(one) for one in found["points"])
            return cls(fusion, found["metrics"], points, found["chosen"], found["rows"], found["groups"], other)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"cannot be read as a trade-off ({type(error).__name__}: {error})"
            raise UserError(Problem(str(file), what, "name fusion.json of a run folder")) from error

    def plot(self, file: Path | str) -> None:
        """Draws every compared task's ranking quality against the objective.

        Raises:
            UserError: The file's ending is unknown.
            MissingExtraError: Without the extra ``plot``.
        """
        plot(self, Path(file))


def _point(found: Mapping[str, Any]) -> Point:
    """One point of a file; null is NaN again."""
    quality = {name: math.nan if value is None else value for name, value in found["quality"].items()}
    objective = math.nan if found["objective"] is None else found["objective"]
    return Point(found["weights"], objective, quality, found["met"])
