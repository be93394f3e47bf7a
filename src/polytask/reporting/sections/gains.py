"""One model against one network per task: gains by task, and their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polytask.reporting.metrics import direction, label, primary
from polytask.reporting.runs import Run
from polytask.reporting.words import deviation, half_width, listed, mean, percent, signed

Values = Mapping[int | None, float]
FROM_CHANCE = frozenset(("r2", "quadratic_kappa"))
"""Metrics that are 0 for a model that has learned nothing."""
NEAR_ZERO = 0.2
"""A single-task score of these below it makes a little gain a large relative one."""


@dataclass(frozen=True)
class Line:
    """One task of one run.

    Attributes:
        task: Its name.
        metric: The metric that stands for it.
        ours: Of the model, by seed.
        alone: Of its single-task network, by seed; empty without.
    """

    task: str
    metric: str
    ours: Values
    alone: Values

    @property
    def pairs(self) -> dict[int | None, float]:
        """Differences of the same seed in the better direction."""
        sign = direction(self.metric) or math.nan
        return {seed: sign * (self.ours[seed] - self.alone[seed]) for seed in self.ours if seed in self.alone}

    @property
    def gains(self) -> list[float]:
        """The same as a list; the difference of the means where no seed has both."""
        if self.pairs or not (self.ours and self.alone):
            return list(self.pairs.values())
        return [(direction(self.metric) or math.nan) * (mean(list(self.ours.values())) - self.base)]

    @property
    def gain(self) -> float:
        """Their mean; NaN without."""
        return mean(self.gains)

    @property
    def base(self) -> float:
        """The mean score of the single-task network; NaN without."""
        return mean(list(self.alone.values()))

    @property
    def near_zero(self) -> bool:
        """Whether the single-task network has learned so little that a share of its score says nothing."""
        return self.metric in FROM_CHANCE and abs(self.base) < NEAR_ZERO

    @property
    def relative(self) -> float:
        """The gain as a share of the single-task network's score; NaN where that is near 0."""
        return self.gain / abs(self.base) if self.base and not self.near_zero else math.nan

    @property
    def tone(self) -> str:
        """``good`` or ``bad`` where the gain is larger than the seeds' standard deviations joined; not for one seed."""
        if min(len(self.ours), len(self.alone)) < 2:
            return ""
        noise = math.hypot(deviation(list(self.ours.values())), deviation(list(self.alone.values())))
        return "good" if self.gain > noise else "bad" if self.gain < -noise else ""


def lines(run: Run) -> list[Line]:
    """A line per task that has a score."""
    found = []
    for task, scores in run.shown_scores().items():
        metric = primary(run.task(task), scores)
        if metric is not None and (ours := run.values(task, metric)):
            found.append(Line(task, metric, ours, run.alone(task, metric)))
    return found


def unit(found: Sequence[Line]) -> str | None:
    """The metric in which gains are told as they are; None where they are told in percent.

    They are told as they are where a single-task score is near 0, unless other tasks of other metrics can be told in
    percent: then those near 0 are left out.
    """
    judged = [line for line in found if line.gains]
    metrics = {label(line.metric) for line in judged}
    if any(line.near_zero for line in judged) and (len(metrics) == 1 or all(line.near_zero for line in judged)):
        return " and ".join(sorted(metrics))
    return None


def divisor(line: Line, metric: str | None) -> float:
    """What a line's gains are divided by, with `unit` of all lines; NaN where they are not told."""
    if metric is not None:
        return 1.0 if line.gains else math.nan
    return abs(line.base) if line.relative == line.relative else math.nan


def left_out(found: Sequence[Line]) -> list[str]:
    """Tasks whose gains are not told in percent, since their single-task score is near 0."""
    return list(dict.fromkeys(line.task for line in found if line.gains and line.near_zero and unit(found) is None))


def overall(found: Sequence[Line]) -> str:
    """The mean gain over tasks in words, over several seeds with its 95 % interval.

    Args:
        found: Lines with gains.
    """
    metric, out = unit(found), left_out(found)
    told = [(line, by) for line in found if (by := divisor(line, metric)) == by]
    if not told:
        return "No mean of gains over one network per task"
    centre = mean([line.gain / by for line, by in told])
    seeds = set.intersection(*(set(line.pairs) for line, _ in told))
    half = half_width([mean([line.pairs[seed] / by for line, by in told]) for seed in seeds])

    def shown(value: float) -> str:
        return percent(value, 2, sign=True) if metric is None else signed(value)

    text = shown(centre) + (f" {metric}" if metric else "")
    text += f" [{shown(centre - half)}, {shown(centre + half)}]" if half == half else ""
    without = f" (without {listed(out)}: the single-task score is near 0)" if out else ""
    return f"{text} on average against one network per task{without}"
