"""What was reached for every preference: scores per seed and part, and the fronts that they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from polytask.evaluation.scores import Scores, selection_score
from polytask.files import with_nan
from polytask.fronts import Front
from polytask.tradeoffs.grid import Preference, shown

PARTS = ("validation", "test")


@dataclass(frozen=True, slots=True)
class Measure:
    """What a traded task is judged by.

    Attributes:
        task: Its name.
        metric: Its primary metric.
        greater: Whether greater values are better.
    """

    task: str
    metric: str
    greater: bool

    @property
    def sign(self) -> float:
        """By which greater is better."""
        return 1.0 if self.greater else -1.0


@dataclass(frozen=True, slots=True)
class Reached:
    """One preference under one method.

    Attributes:
        method: The method's label.
        preference: Of the traded tasks.
        seeds: That were trained.
        runs: Per seed the folder of its run, within that of the front.
        scores: Per seed ``{part: {task: {metric: value}}}``.
        planned: Whether the plan has it; else it was asked for later.
    """

    method: str
    preference: Preference
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    scores: tuple[Mapping[str, Scores], ...]
    planned: bool = True

    @property
    def name(self) -> str:
        """The method and the preference."""
        return f"{self.method} {shown(self.preference)}"

    def values(self, part: str, measures: Sequence[Measure]) -> list[float]:
        """Primary metrics, the mean over seeds."""
        return [self.mean(part, one.task, one.metric) for one in measures]

    def mean(self, part: str, task: str, metric: str) -> float:
        """One metric, the mean over seeds."""
        return math.fsum(one[part][task][metric] for one in self.scores) / len(self.scores)

    def loss(self, part: str, task: str) -> float:
        """The loss in shares of the constant prediction's, the mean over seeds."""
        return 1.0 - self.mean(part, task, "improvement")

    def selection(self, part: str, weights: Mapping[str, float]) -> list[float]:
        """Per seed the weighted mean of what is saved of the constant prediction's losses."""
        return [selection_score({task: one[part][task] for task in weights}, weights) for one in self.scores]

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Reached:
        """What `to_json` gave, after a visit to a file.

        Raises:
            ValueError: It is something else.
        """
        scores = [with_nan(one) for one in found["scores"]]
        return TypeAdapter(cls).validate_python({**found, "scores": scores})


def front_of(points: Sequence[Reached], measures: Sequence[Measure], part: str) -> Front:
    """The front of the means over seeds, one point per preference."""
    return Front(
        [point.preference for point in points],
        [point.values(part, measures) for point in points],
        names=[one.task for one in measures],
        better=["greater" if one.greater else "smaller" for one in measures],
        labels=[point.method for point in points],
    )


def front_of_seeds(points: Sequence[Reached], measures: Sequence[Measure], part: str) -> Front:
    """The front with a point per preference and seed."""
    rows = [(point, seed, one[part]) for point in points for seed, one in zip(point.seeds, point.scores, strict=True)]
    return Front(
        [point.preference for point, _, _ in rows],
        [[scores[one.task][one.metric] for one in measures] for _, _, scores in rows],
        names=[one.task for one in measures],
        better=["greater" if one.greater else "smaller" for one in measures],
        labels=[point.method for point, _, _ in rows],
        seeds=[seed for _, seed, _ in rows],
    )


def reference_of(points: Sequence[Reached], measures: Sequence[Measure], part: str = "validation") -> list[float]:
    """Per task the worst value among the ends: the points of each method that are most for one task.

    Example:
        >>> scores = lambda a, b: {"validation": {"a": {"auc": a}, "b": {"auc": b}}}
        >>> ends = [Reached("linear", (0.9, 0.1), (0,), ("",), (scores(0.8, 0.6),)),
        ...         Reached("linear", (0.1, 0.9), (0,), ("",), (scores(0.7, 0.9),))]
        >>> reference_of(ends, [Measure("a", "auc", True), Measure("b", "auc", True)])
        [0.7, 0.6]
    """
    ends = []
    for method in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == method]
        ends += [max(own, key=lambda point: point.preference[task]) for task in range(len(measures))]
    rows = [end.values(part, measures) for end in ends]
    return [
        one.sign * min(one.sign * row[number] for row in rows) for number, one in enumerate(measures)
    ]  # fmt: skip
