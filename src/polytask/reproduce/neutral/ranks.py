"""Ranks over data sets, and the tests of Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets".

Journal of Machine Learning Research 7, 2006, https://jmlr.org/papers/v7/demsar06a.html
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from polytask.errors import MissingExtraError

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Methods over blocks; rank 1 is the best.

    Attributes:
        methods: Names, in the order of the columns.
        ranks: ``[blocks, methods]``; ties share their mean.
        statistic: Friedman's chi-square.
        p: Probability of such a statistic if all methods were the same.
        difference: Nemenyi's critical difference of mean ranks.
    """

    methods: tuple[str, ...]
    ranks: Values
    statistic: float
    p: float
    difference: float

    @property
    def mean(self) -> Mapping[str, float]:
        """Per method its mean rank."""
        return dict(zip(self.methods, self.ranks.mean(0).tolist(), strict=True))

    def against(self, control: str) -> dict[str, float]:
        """Per other method the adjusted probability of its distance from a control, see `holm`."""
        blocks, count = self.ranks.shape
        error = math.sqrt(count * (count + 1) / (6.0 * blocks))
        mean = self.mean
        raw = {
            name: math.erfc(abs(rank - mean[control]) / error / math.sqrt(2.0))
            for name, rank in mean.items()
            if name != control
        }
        return dict(zip(raw, holm(list(raw.values())), strict=True))


def rank(methods: Sequence[str], scores: Values, *, level: float) -> Ranking:
    """Ranks scores, higher is better; NaN is worse than everything.

    Args:
        methods: At least three.
        scores: ``[blocks, methods]``.
        level: Of the critical difference.

    Raises:
        MissingExtraError: scipy is not installed.

    Example:
        >>> rank(["a", "b", "c"], np.array([[3.0, 2.0, np.nan], [3.0, 3.0, 1.0]]), level=0.05).ranks
        array([[1. , 2. , 3. ],
               [1.5, 1.5, 3. ]])
    """
    stats = require_scipy()
    blocks, count = scores.shape
    ranks = stats.rankdata(-np.where(np.isnan(scores), -np.inf, scores), axis=1)
    statistic, p = stats.friedmanchisquare(*ranks.T)
    quantile = float(stats.studentized_range.ppf(1.0 - level, count, np.inf)) / math.sqrt(2.0)
    difference = quantile * math.sqrt(count * (count + 1) / (6.0 * blocks))
    return Ranking(tuple(methods), ranks, float(statistic), float(p), difference)


def holm(p: Sequence[float]) -> list[float]:
    """Probabilities adjusted for their number by Holm's step-down procedure.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(p), 0.0
    for place, number in enumerate(np.argsort(p, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(p) - place) * p[number]))
        adjusted[number] = highest
    return adjusted


def cliques(mean: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Longest stretches of ascending mean ranks that lie within a critical difference, of two or more.

    Example:
        >>> cliques([1.0, 1.5, 3.0, 3.2, 6.0], 2.0)
        [(0, 2), (1, 3)]
    """
    found: list[tuple[int, int]] = []
    for first in range(len(mean)):
        last = max(place for place in range(first, len(mean)) if mean[place] - mean[first] <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def require_scipy() -> Any:
    """Raises `MissingExtraError` before work begins that could not be evaluated."""
    try:
        return importlib.import_module("scipy.stats")
    except ModuleNotFoundError as error:
        raise MissingExtraError("scipy", extra="baselines", purpose="the Friedman test") from error
