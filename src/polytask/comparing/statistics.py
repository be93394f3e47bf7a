"""What a handful of seeds can say: t intervals, paired tests, Holm's correction and mean ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: NaN without a value.
        low: Lower end; NaN below two values.
        high: Upper end; likewise.
        count: How many values it rests on.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below 0; 0 where it holds 0, or where there is none."""
        return int(self.low > 0) - int(self.high < 0)


def interval(values: Sequence[float] | Values, level: float = LEVEL) -> Interval:
    """The t interval of a mean: ``mean ± t((1 + level) / 2, n - 1) std / sqrt(n)``; NaN values are left out.

    For paired seeds, give it their differences.

    Args:
        values: One value per seed.
        level: Confidence of the interval.

    Example:
        >>> found = interval([1.0, 2.0, 3.0])  # 2 ± 4.3027 / sqrt(3)
        >>> round(found.low, 4), found.mean, round(found.high, 4), found.sign
        (-0.4841, 2.0, 4.4841, 0)
    """
    known = _known(values)
    count, mean = len(known), float(known.mean()) if len(known) else math.nan
    if count < 2:
        return Interval(mean, math.nan, math.nan, count)
    half = t_quantile((1 + level) / 2, count - 1) * float(known.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def paired_test(differences: Sequence[float] | Values) -> float:
    """Two-sided p-value of Student's paired t test; NaN below two differences.

    Equal differences have no spread: p is 1 where all are 0, and 0 otherwise.

    Example:
        >>> round(paired_test([1.0, 2.0, 3.0]), 4)  # t = 2 / (1 / sqrt(3)), two degrees of freedom
        0.0742
    """
    known = _known(differences)
    if len(known) < 2:
        return math.nan
    mean, spread = float(known.mean()), float(known.std(ddof=1))
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return max(0.0, 1 - t_within(mean / spread * math.sqrt(len(known)), len(known) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: with the chance of one false finding among all of them kept.

    The smallest of m p-values is multiplied by m, the next by m - 1, ...; none falls below the one before it. NaN stays
    NaN and is not counted. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    found, before = [math.nan] * len(p_values), 0.0
    for place, (p, index) in enumerate(order):
        before = max(before, min(1.0, (len(order) - place) * p))
        found[index] = before
    return found


def ranks(values: Values, *, higher_is_better: bool) -> Values:
    """Ranks from 1, the best; equal values share the mean of their places, NaN has none.

    Example:
        >>> ranks(np.array([0.7, 0.9, 0.7, np.nan]), higher_is_better=True).tolist()
        [2.5, 1.0, 2.5, nan]
    """
    signed = -values if higher_is_better else values
    better = (signed[None, :] < signed[:, None]).sum(1)
    equal = (signed[None, :] == signed[:, None]).sum(1)
    return np.where(np.isnan(values), np.nan, better + (equal + 1) / 2)


def t_within(t: float, freedom: int) -> float:
    """``P(|T| <= |t|)`` of Student's t with a whole number of degrees of freedom, by its finite series.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.

    Example:
        >>> round(t_within(12.7062, 1), 4), round(t_within(2.7764, 4), 4)
        (0.95, 0.95)
    """
    theta = math.atan(abs(t) / math.sqrt(freedom))
    sine, square = math.sin(theta), math.cos(theta) ** 2
    odd = freedom % 2
    term, total = (math.cos(theta) if odd else 1.0), 0.0
    for step in range(1 + odd, freedom, 2):  # freedom // 2 terms
        total += term
        term *= square * step / (step + 1)
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def t_quantile(probability: float, freedom: int) -> float:
    """The t below which a share ``probability`` of Student's distribution lies, by bisection; from 0.5 to below 1.

    Example:
        >>> round(t_quantile(0.975, 4), 4)
        2.7764
    """
    within, high = 2 * probability - 1, 1.0
    while t_within(high, freedom) < within:
        high *= 2
    low = 0.0
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_within(middle, freedom) < within else (low, middle)
    return high


def _known(values: Sequence[float] | Values) -> Values:
    array = np.asarray(values, dtype=np.float64)
    return array[~np.isnan(array)]
