"""The paper's claims as statements on accuracies and times, each with a bootstrap interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from polytask.reproduce.claims import Finding

if TYPE_CHECKING:
    from polytask.reproduce.sener.experiment import Judging
    from polytask.reproduce.sener.measured import Row

Values = npt.NDArray[np.float64]
EACH = 4
"""Claims on every task are made where there are at most so many; where there are more, on their mean."""


class Judge:
    """Compares rows; resamples take seeds and test images, both across all rows.

    Args:
        rows: Of one group.
        tasks: Names of its tasks.
        judging: Bounds, and how to resample.
        seed: Of the resamples.
    """

    def __init__(self, rows: Sequence[Row], tasks: tuple[str, ...], judging: Judging, *, seed: int) -> None:
        self.tasks, self.judging = tasks, judging
        self._rows: dict[str, Row] = {row.method: row for row in rows if row.share is None}
        fixed = [row for row in rows if row.method in ("static", "uniform") and len(row.right)]
        self.best_static = max(fixed, key=lambda row: row.validation, default=None)
        self._random = np.random.default_rng(seed)

    def row(self, method: str) -> Row | None:
        """A method; None if it is not in the experiment, or diverged from every seed."""
        found = self._rows.get(method)
        return found if found is not None and len(found.right) else None

    def difference(self, text: str, one: Row, other: Row, task: int | None, **bounds: float) -> Finding:
        """Accuracy of ``one`` minus that of ``other``, on one task or on the mean over tasks."""
        seeds = min(len(one.right), len(other.right))
        chosen = slice(None) if task is None else slice(task, task + 1)
        # what each seed gains on each image: seeds are paired, their initial weights and orders are the same
        gain = np.mean(one.right[:seeds, chosen].astype(float) - other.right[:seeds, chosen], axis=1)
        spread = np.empty(self.judging.resamples)
        for number in range(len(spread)):
            mean = gain[self._random.integers(0, seeds, seeds)].mean(0)
            spread[number] = mean[self._random.integers(0, len(mean), len(mean))].mean()
        return self._finding(text, float(gain.mean()), spread, **bounds)

    def ratio(self, text: str, one: Row, other: Row, **bounds: float) -> Finding:
        """Median time of a step of ``one`` over that of ``other``; resamples take rounds."""
        times = np.array([one.steps, other.steps])
        drawn = times[:, self._random.integers(0, times.shape[1], (self.judging.resamples, times.shape[1]))]
        spread = np.median(drawn[0], axis=1) / np.median(drawn[1], axis=1)
        first, second = np.median(times, axis=1)
        return self._finding(text, float(first / second), spread, **bounds)

    def _finding(
        self, text: str, estimate: float, spread: Values, *, above: float = -math.inf, below: float = math.inf
    ) -> Finding:
        tail = (1.0 - self.judging.level) / 2.0
        low, high = (float(np.quantile(spread, at)) for at in (tail, 1.0 - tail))
        return Finding(text, estimate, low, high, above, below)

    def each(self) -> list[tuple[str, int | None]]:
        """Where claims on every task are made."""
        if len(self.tasks) > EACH:
            return [("mean over tasks", None)]
        return [(task, number) for number, task in enumerate(self.tasks)]


def sharing_costs(judge: Judge) -> Iterator[Finding]:
    """One network per task is better than one for all with uniform weights, on every task."""
    single, uniform = judge.row("single_task"), judge.row("uniform")
    if single is not None and uniform is not None:
        for name, task in judge.each():
            yield judge.difference(f"{name}: single-task minus uniform", single, uniform, task, above=0.0)


def like_single(judge: Judge) -> Iterator[Finding]:
    """MGDA-UB is not worse than one network per task, on every task."""
    bound, single = judge.row("mgda_ub"), judge.row("single_task")
    if bound is not None and single is not None:
        for name, task in judge.each():
            least = -judge.judging.alike
            yield judge.difference(f"{name}: MGDA-UB minus single-task", bound, single, task, above=least)


def like_static(judge: Judge) -> Iterator[Finding]:
    """MGDA-UB is not worse than the static weights with the best validation accuracy."""
    bound, static = judge.row("mgda_ub"), judge.best_static
    if bound is not None and static is not None:
        which = "uniform" if static.share is None else f"{static.share:g} / {1 - static.share:g}"
        text = f"mean over tasks: MGDA-UB minus best static weights ({which})"
        yield judge.difference(text, bound, static, None, above=-judge.judging.alike)


def better_than_learnt(judge: Judge) -> Iterator[Finding]:
    """MGDA-UB is better than uncertainty weights and than GradNorm."""
    bound = judge.row("mgda_ub")
    for method, name in (("uncertainty", "uncertainty"), ("gradnorm", "GradNorm")):
        other = judge.row(method)
        if bound is not None and other is not None:
            yield judge.difference(f"mean over tasks: MGDA-UB minus {name}", bound, other, None, above=0.0)


def good_bound(judge: Judge) -> Iterator[Finding]:
    """MGDA-UB is as accurate as MGDA."""
    bound, exact, most = judge.row("mgda_ub"), judge.row("mgda"), judge.judging.alike
    if bound is not None and exact is not None:
        yield judge.difference("mean over tasks: MGDA-UB minus MGDA", bound, exact, None, above=-most, below=most)


def faster(judge: Judge) -> Iterator[Finding]:
    """A step of MGDA-UB takes less time than one of MGDA."""
    bound, exact = judge.row("mgda_ub"), judge.row("mgda")
    if bound is not None and exact is not None:
        yield judge.ratio("time of a step: MGDA-UB / MGDA", bound, exact, below=1.0)


CLAIMS: Mapping[str, Callable[[Judge], Iterator[Finding]]] = {
    "a": sharing_costs,
    "b": like_single,
    "c": like_static,
    "d": better_than_learnt,
    "e": good_bound,
    "f": faster,
}
RATIOS = frozenset("f")
"""Claims on ratios; all others are on differences of accuracies."""
