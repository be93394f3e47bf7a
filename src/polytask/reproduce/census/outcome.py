"""One training: what was asked for, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polytask.reproduce.census.experiment import MethodName
from polytask.reproduce.census.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """A training to do.

    Attributes:
        group: Number of the group.
        method: The method.
        task: The only task of the model; None: all.
        settings: What the tuner chose.
        seed: Initial weights, order, dropout.
        file: Name of the file that keeps the outcome.
    """

    group: int
    method: MethodName
    task: str | None
    settings: Settings
    seed: int
    file: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A training that is done.

    Attributes:
        settings: What it was done with.
        seed: Likewise.
        validation: Per task the AUC of the chosen epoch; nothing if the loss was not finite.
        test: Likewise.
        best: The chosen epoch, or number of trees.
        length: Epochs or trees trained.
        parameters: Of the network; of trees, their leaves.
        seconds: Of one processor.
        diverged: What was not finite, in words; empty if all was.
    """

    settings: Settings
    seed: int
    validation: Mapping[str, float]
    test: Mapping[str, float]
    best: int
    length: int
    parameters: int
    seconds: float
    diverged: str = ""

    def objective(self, task: str) -> float:
        """The validation AUC of a task; NaN if there is none."""
        return self.validation.get(task, math.nan)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Outcome:
        """From a file; null is NaN again."""
        parts = {
            part: {task: math.nan if auc is None else auc for task, auc in found[part].items()}
            for part in ("validation", "test")
        }
        return cls(**{**found, **parts})
