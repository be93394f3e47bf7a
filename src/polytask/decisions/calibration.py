"""Monotone maps from predicted to calibrated probabilities, each a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from polytask.decisions.numbers import all_finite

MOST_KNOTS = 100_000
# a float32 probability is exact near 0 and rounded near 1
_LEAST, _MOST = 1e-15, 1.0 - 2.0**-25


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A non-decreasing, piecewise linear function of the predicted probability.

    Attributes:
        x: Predicted probabilities, increasing.
        y: The calibrated one at each; below the first and above the last it stays.

    Raises:
        ValueError: Knots are not finite, not increasing, outside [0, 1], or far too many.

    Example:
        >>> Isotonic((0.2, 0.6), (0.1, 0.5))(np.array([0.0, 0.4, 0.9])).round(6).tolist()
        [0.1, 0.3, 0.5]
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    method: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        if not 0 < len(self.x) == len(self.y) <= MOST_KNOTS:
            raise ValueError(f"isotonic calibration: {len(self.x)} and {len(self.y)} knots, expected 1 to {MOST_KNOTS}")
        if not all_finite(self.x + self.y) or not all(0.0 <= value <= 1.0 for value in self.x + self.y):
            raise ValueError("isotonic calibration: a knot is no probability")
        if not all(a < b for a, b in pairwise(self.x)) or not all(a <= b for a, b in pairwise(self.y)):
            raise ValueError("isotonic calibration: the knots do not increase")

    def __call__(self, p: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
        """Calibrated probabilities."""
        return np.interp(p, self.x, self.y)


@dataclass(frozen=True, slots=True)
class Platt:
    """``sigmoid(a logit(p) + b)``.

    Attributes:
        a: The slope; above 1 predictions were too timid, below 1 too bold, below 0 in the wrong order.
        b: The shift.

    Raises:
        ValueError: A number is not finite.

    Example:
        >>> Platt(1.0, 0.0)(np.array([0.25])).round(6).tolist()
        [0.25]
    """

    a: float
    b: float
    method: Literal["platt"] = "platt"

    def __post_init__(self) -> None:
        if not all_finite((self.a, self.b)):
            raise ValueError("platt calibration: a or b is not finite")

    def __call__(self, p: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
        """Calibrated probabilities."""
        z = self.a * logit(p) + self.b
        return np.exp(-np.logaddexp(0.0, -z))


@dataclass(frozen=True, slots=True)
class Temperature:
    """``p_k^(1 / T) / sum_j p_j^(1 / T)``: above 1 predictions were too bold; the most probable class stays it.

    Attributes:
        temperature: T.

    Raises:
        ValueError: T is not a positive finite number.

    Example:
        >>> Temperature(0.5)(np.array([[0.2, 0.8]])).round(3).tolist()
        [[0.059, 0.941]]
    """

    temperature: float
    method: Literal["temperature"] = "temperature"

    def __post_init__(self) -> None:
        if not all_finite((self.temperature,)) or self.temperature <= 0:
            raise ValueError("temperature calibration: the temperature is no positive number")

    def __call__(self, p: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
        """Calibrated probabilities, one per class."""
        z = log_probabilities(p) / self.temperature
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


Calibration = Annotated[Isotonic | Platt | Temperature, Field(discriminator="method")]


def logit(p: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    """``log(p / (1 - p))``, finite also where p was rounded to 0 or 1."""
    kept = np.clip(np.asarray(p, np.float64), _LEAST, _MOST)
    return np.asarray(np.log(kept) - np.log1p(-kept))


def log_probabilities(p: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """``log p``, finite also where p was rounded to 0."""
    return np.asarray(np.log(np.maximum(np.asarray(p, np.float64), _LEAST)))
