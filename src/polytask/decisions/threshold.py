"""From a probability to yes or no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int8

from polytask.decisions.numbers import all_finite

Rule = float | str | dict[str, float | tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Threshold:
    """``label = (p >= value)``.

    Attributes:
        value: The threshold; above 1 it says no to every row.
        rule: What it was fitted to, as in ``tasks.X.threshold``.
        reached: On the rows of the fit: ``precision``, ``recall``, ``f1``, the ``rate`` of rows above it, and their
            number ``rows``; NaN where undefined.
        met: Whether a wanted precision, recall or rate was reached; None where nothing is to be met.

    Raises:
        ValueError: The value is no number from 0 to 2.

    Example:
        >>> Threshold(0.5, 0.5)(np.array([0.4, 0.5])).tolist()
        [0, 1]
    """

    value: float
    rule: Rule
    reached: Mapping[str, float | None] = field(default_factory=dict)
    met: bool | None = None

    def __post_init__(self) -> None:
        if not all_finite((self.value,)) or not 0.0 <= self.value <= 2.0:
            raise ValueError(f"a threshold is {self.value!r}, which is no number from 0 to 2")

    def __call__(self, p: Float[np.ndarray, "rows"]) -> Int8[np.ndarray, "rows"]:
        """1 for yes, 0 for no."""
        return (np.asarray(p, np.float64) >= self.value).astype(np.int8)
