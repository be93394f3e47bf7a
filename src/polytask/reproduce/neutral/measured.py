"""What was measured of every method on one data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from polytask.reproduce.neutral.experiment import EQUAL, SINGLE, STATIC, DataSet
from polytask.reproduce.neutral.study import Trained

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """A method.

    Attributes:
        method: Its name.
        learning_rates: What was chosen, per network.
        weights: Likewise, of static weights.
        test: The metric ``[seeds, tasks]``; NaN where training diverged.
        gain: Per seed `relative_gain` over single-task networks, in percent; NaN likewise.
        seconds: Of a processor per step; NaN where not timed.
        cost: The same over that of equal weights.
    """

    method: str
    learning_rates: Mapping[str, float]
    weights: tuple[float, ...]
    test: Values
    gain: Values
    seconds: float
    cost: float

    @property
    def mean(self) -> float:
        """Mean gain over the seeds that did not diverge."""
        return float(np.nanmean(self.gain)) if np.isfinite(self.gain).any() else math.nan

    @property
    def std(self) -> float:
        """Standard deviation of the gain over these."""
        known = self.gain[np.isfinite(self.gain)]
        return float(known.std(ddof=1)) if len(known) > 1 else math.nan

    @property
    def diverged(self) -> int:
        """Seeds that diverged."""
        return int(np.isnan(self.gain).sum())

    def as_json(self, tasks: Sequence[str]) -> dict[str, Any]:
        """For a file."""
        return {
            "method": self.method,
            "learning_rates": dict(self.learning_rates),
            "weights": list(self.weights),
            "diverged": self.diverged,
            "gain": {"mean": self.mean, "std": self.std, "seeds": self.gain.tolist()},
            "test": {task: column.tolist() for task, column in zip(tasks, self.test.T, strict=True)},
            "step_seconds": self.seconds,
            "step_cost": self.cost,
        }


def relative_gain(test: Values, single: Values, *, lower: bool) -> Values:
    """``100 mean_t s (M_t - S_t) / S_t`` with s = -1 where lower values are better: above 0 is better than single-task.

    The negative of Delta-m of Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019, where losses of
    performance count as positive in later papers.

    Args:
        test: Of the method, ``[seeds, tasks]``.
        single: Of single-task networks, ``[tasks]``; means over seeds.
        lower: Whether lower values are better.

    Example:
        >>> relative_gain(np.array([[0.9, 0.6]]), np.array([0.9, 0.5]), lower=False).round(6)
        array([10.])
    """
    sign = -1.0 if lower else 1.0
    gains: Values = 100.0 * (sign * (test - single) / single).mean(1)
    return gains


def rows(data_set: DataSet, tasks: Sequence[str], trained: Sequence[Trained], steps: Mapping[str, float]) -> list[Row]:
    """Single-task networks, then tuned static weights, then the balancers in the order of the file.

    Args:
        data_set: Its settings.
        tasks: Names of its tasks.
        trained: All variants.
        steps: Per balancer the seconds of a step.
    """
    per_method: dict[str, list[Trained]] = {SINGLE: [], STATIC: []}
    for one in trained:
        per_method.setdefault(one.variant.method, []).append(one)
    tests = {method: np.stack([_test(own, task) for task in tasks], axis=1) for method, own in per_method.items()}
    reference = np.nanmean(tests[SINGLE], axis=0)
    found = []
    for method, own in per_method.items():
        seconds = steps.get(EQUAL if method == STATIC else method, math.nan)
        found.append(
            Row(
                method,
                {one.variant.task or "all": one.chosen.learning_rate for one in own},
                own[0].chosen.weights,
                tests[method],
                relative_gain(tests[method], reference, lower=data_set.lower),
                seconds,
                seconds / steps[EQUAL],
            )
        )
    return found


def _test(own: Sequence[Trained], task: str) -> Values:
    """Per seed the metric of a task, of the network that has it."""
    (runs,) = (one.runs for one in own if one.variant.task in (None, task))
    return np.array([run.test.get(task, math.nan) for run in runs])
