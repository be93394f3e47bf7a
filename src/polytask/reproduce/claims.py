"""The paper's claims on the synthetic data as statements on numbers, each with a bootstrap interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polytask.reproduce.experiment import Judging
from polytask.reproduce.network import MODELS

Values = npt.NDArray[np.float64]
MMOE, OMOE, SHARED = range(3)


@dataclass(frozen=True, slots=True)
class Moments:
    """What claims are made of, per model and correlation, and per resample along the last axis.

    Attributes:
        mean: Over runs.
        variance: Over runs.
        lowest: The best run.
    """

    mean: Values
    variance: Values
    lowest: Values

    @classmethod
    def of(cls, runs: Values) -> Moments:
        """Of losses ``[models, correlations, resamples, runs]``."""
        return cls(runs.mean(-1), runs.var(-1, ddof=1), runs.min(-1))


Measure = Callable[[Moments], Values]


@dataclass(frozen=True, slots=True)
class Statement:
    """A number that must lie between two bounds, as a function of the moments."""

    text: str
    value: Measure
    above: float = -math.inf
    below: float = math.inf


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement, measured.

    Attributes:
        text: What was compared.
        estimate: Over all runs.
        low: Lower end of the interval.
        high: Its upper end.
        above: The interval must lie above this.
        below: And below this.
    """

    text: str
    estimate: float
    low: float
    high: float
    above: float
    below: float

    @property
    def held(self) -> bool:
        """Whether the whole interval lies within the bounds; never where a run diverged."""
        return self.low > self.above and self.high < self.below


def judge(losses: Values, correlations: Sequence[float], judging: Judging, *, seed: int) -> dict[str, list[Finding]]:
    """Measures the statements of all claims.

    Runs of one number saw the same data in all cells, so resamples take whole runs across all cells.

    Args:
        losses: Final losses ``[models, correlations, runs]``, models in the order of `MODELS`.
        correlations: Ascending; the last is 1.
        judging: Bounds, and how to resample.
        seed: Of the resamples.

    Returns:
        Per claim its statements; a claim holds where all of them do.
    """
    runs = losses.shape[-1]
    chosen = np.random.default_rng(seed).integers(0, runs, (judging.resamples, runs))
    resampled, observed = Moments.of(losses[:, :, chosen]), Moments.of(losses[:, :, None, :])
    tail = (1.0 - judging.level) / 2.0

    def finding(statement: Statement) -> Finding:
        spread = statement.value(resampled)
        low, high = (float(np.quantile(spread, at)) for at in (tail, 1.0 - tail))
        estimate = float(statement.value(observed)[0])
        return Finding(statement.text, estimate, low, high, statement.above, statement.below)

    # a resample of few runs can be one run over and over, without a variance
    with np.errstate(divide="ignore", invalid="ignore"):
        return {key: [finding(one) for one in made(correlations, judging)] for key, made in CLAIMS.items()}


def higher_is_better(correlations: Sequence[float], judging: Judging) -> Iterator[Statement]:
    """(a) Every model's mean loss falls from each correlation to the next one."""

    def fall(m: int, i: int) -> Measure:
        return lambda s: s.mean[m, i] - s.mean[m, i + 1]

    for m, model in enumerate(MODELS):
        for i, (low, high) in enumerate(itertools.pairwise(correlations)):
            yield Statement(f"{model}: mean loss at p = {low:g} minus at p = {high:g}", fall(m, i), above=0.0)


def smaller_gap(correlations: Sequence[float], judging: Judging) -> Iterator[Statement]:
    """(b) The others lose more than MMoE from the highest to the lowest correlation, by a factor."""

    def gap(s: Moments, m: int) -> Values:
        return s.mean[m, 0] - s.mean[m, -1]

    def excess(m: int) -> Measure:
        return lambda s: judging.far_smaller * gap(s, m) - gap(s, MMOE)

    for m in (OMOE, SHARED):
        text = f"{judging.far_smaller:g} x gap of {MODELS[m]} minus gap of mmoe (p = {correlations[0]:g} to 1)"
        yield Statement(text, excess(m), above=0.0)


def equal_when_identical(correlations: Sequence[float], judging: Judging) -> Iterator[Statement]:
    """(c) At p = 1 the mean losses of MMoE and OMoE differ by little."""
    text, most = "mmoe / omoe - 1, mean loss at p = 1", judging.equal
    yield Statement(text, lambda s: s.mean[MMOE, -1] / s.mean[OMOE, -1] - 1.0, above=-most, below=most)


def better_than_shared_bottom(correlations: Sequence[float], judging: Judging) -> Iterator[Statement]:
    """(d) Both mixtures have the lower mean loss at every correlation."""

    def lead(m: int, i: int) -> Measure:
        return lambda s: s.mean[SHARED, i] - s.mean[m, i]

    for i, p in enumerate(correlations):
        for m in (MMOE, OMOE):
            yield Statement(f"p = {p:g}: mean loss of shared-bottom minus {MODELS[m]}", lead(m, i), above=0.0)


def larger_variance(correlations: Sequence[float], judging: Judging) -> Iterator[Statement]:
    """(e) Shared-Bottom's variance over runs is a multiple of the others' at every correlation."""

    def ratio(m: int, i: int) -> Measure:
        return lambda s: s.variance[SHARED, i] / s.variance[m, i]

    for i, p in enumerate(correlations):
        for m in (MMOE, OMOE):
            text = f"p = {p:g}: variance of shared-bottom / {MODELS[m]}"
            yield Statement(text, ratio(m, i), above=judging.much_larger)


def comparable_best(correlations: Sequence[float], judging: Judging) -> Iterator[Statement]:
    """(f) At every correlation the best runs of the models have losses within a factor of one another.

    A resample misses the very best run often and never has a better one: such an interval leans upwards.
    """

    def ratio(i: int) -> Measure:
        return lambda s: s.lowest[:, i].max(0) / s.lowest[:, i].min(0)

    for i, p in enumerate(correlations):
        text = f"p = {p:g}: best run of the worst model / best run of the best model"
        yield Statement(text, ratio(i), below=judging.comparable)


CLAIMS: dict[str, Callable[[Sequence[float], Judging], Iterator[Statement]]] = {
    "a": higher_is_better,
    "b": smaller_gap,
    "c": equal_when_identical,
    "d": better_than_shared_bottom,
    "e": larger_variance,
    "f": comparable_best,
}
