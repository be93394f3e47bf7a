"""Numbers and lists as sentences need them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def number(value: Any, digits: int = 4) -> str:
    """A number to so many digits; a dash where there is none.

    Example:
        >>> [number(one) for one in (0.123456, 12345, 1234.5678, 2.0, None, float("nan"), 1.5e-7)]
        ['0.1235', '12,345', '1,235', '2', '–', '–', '1.5e−07']
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{int(value):,}"
    else:
        text = f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation.

    Example:
        >>> spread([0.5, 0.7]), spread([0.5]), spread([])
        ('0.6 ± 0.14', '0.5', '–')
    """
    known = [value for value in values if math.isfinite(value)]
    return number(mean(known)) + (f" ± {number(deviation(known), 2)}" if len(known) > 1 else "")


def percent(value: float, digits: int = 1, *, sign: bool = False) -> str:
    """A share in percent.

    Example:
        >>> percent(0.1234), percent(0.1234, sign=True), percent(-0.5, 0)
        ('12.3 %', '+12.3 %', '−50 %')
    """
    if not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 1 and not sign else digits
    rounded = round(100 * value, digits) + 0.0  # no -0
    return f"{rounded:{'+' if sign else ''},.{digits}f} %".replace("-", "−")


def signed(value: float) -> str:
    """A number with its sign.

    Example:
        >>> signed(0.01234), signed(-3.0)
        ('+0.0123', '−3')
    """
    text = number(value, 3)
    return text if text == "–" else ("+" if value > 0 else "") + text


def listed(names: Sequence[str], *, most: int = 6) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcd"), most=2)
        ('a', 'a, b and c', 'a, b and 2 others')
    """
    if len(names) > most:
        rest = len(names) - most
        return f"{', '.join(names[:most])} and {rest} other{'s' * (rest > 1)}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count(amount: int, what: str) -> str:
    """How many of something.

    Example:
        >>> count(1, "task"), count(2000, "seed")
        ('1 task', '2,000 seeds')
    """
    return f"{amount:,} {what}{'s' * (amount != 1)}"


def mean(values: Sequence[float]) -> float:
    """The mean; NaN without values."""
    return sum(values) / len(values) if values else math.nan


def deviation(values: Sequence[float]) -> float:
    """The sample standard deviation; 0 below two values."""
    if len(values) < 2:
        return 0.0
    centre = mean(values)
    return math.sqrt(sum((value - centre) ** 2 for value in values) / (len(values) - 1))


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of Student's t for the mean; NaN below two values.

    Example:
        >>> round(half_width([1.0, 2.0, 3.0]), 4)
        2.4841
    """
    if len(values) < 2:
        return math.nan
    return _t_quantile(len(values) - 1) * deviation(values) / math.sqrt(len(values))


def _t_quantile(freedom: int) -> float:
    """What 95 % of Student's t lie within: t is sqrt(freedom) tan(angle), of density cos(angle)^(freedom - 1)."""
    angles = np.linspace(0, np.pi / 2, 20_001)
    mass = np.cos(angles) ** (freedom - 1)
    below = np.cumsum(np.concatenate([[0.0], (mass[1:] + mass[:-1]) / 2]))
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95, below / below[-1], angles)))


def known(value: Any) -> float:
    """A number of a file; NaN for null and for what is no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
