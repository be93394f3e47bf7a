"""One ranking score from the predictions of several tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float

from polytask.decisions.calibration import MOST_KNOTS, log_probabilities
from polytask.decisions.numbers import all_finite

SCORE = "score"
Form = Literal["product", "sum"]
Objective = Literal["ndcg", "gauc"]


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a predicted value stands among those of the rows of the fit: a share in (0, 1], linear between knots.

    Attributes:
        x: Predicted values, increasing.
        y: The share at each, increasing.

    Raises:
        ValueError: Knots are not finite, do not increase, or are far too many.

    Example:
        >>> Scale((0.0, 10.0), (0.1, 1.0))(np.array([-5.0, 5.0])).round(6).tolist()
        [0.1, 0.55]
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.x) == len(self.y) <= MOST_KNOTS or not all_finite(self.x + self.y):
            raise ValueError("fusion: a scale has no knots, too many, or some that are not finite")
        if not all(a < b for knots in (self.x, self.y) for a, b in pairwise(knots)):
            raise ValueError("fusion: the knots of a scale do not increase")
        if not (self.y[0] > 0.0 and self.y[-1] <= 1.0):
            raise ValueError("fusion: the shares of a scale lie outside (0, 1]")

    def __call__(self, values: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
        """Shares."""
        return np.interp(values, self.x, self.y)


@dataclass(frozen=True, slots=True)
class Fusion:
    """``prod_k p_k^w_k`` or ``sum_k w_k p_k``: weights are not negative and sum to 1.

    Attributes:
        form: ``product`` or ``sum``.
        weights: w, per prediction column.
        scales: Per column that holds values rather than probabilities, what turns it into p.
        objective: What the weights were fitted to.
        value: The label of that objective: a task, or an expression over columns.
        group: The column within whose values rows are ranked.
        at: How many places NDCG looks at.
        floors: Per task, the least ranking quality that was asked for.
        reached: On the rows of the fit: the objective as ``objective``, and each task's ranking quality by its name.
        met: Whether all floors were reached.

    Raises:
        ValueError: Weights are not finite, negative, or all 0; or a scale belongs to no weight.

    Example:
        >>> fusion = Fusion("product", {"click": 0.5, "like": 0.5})
        >>> fusion({"click": np.array([0.25]), "like": np.array([0.01])}).round(6).tolist()
        [0.05]
    """

    form: Form
    weights: Mapping[str, float]
    scales: Mapping[str, Scale] = field(default_factory=dict)
    objective: Objective = "ndcg"
    value: str = ""
    group: str = ""
    at: int = 10
    floors: Mapping[str, float] = field(default_factory=dict)
    reached: Mapping[str, float | None] = field(default_factory=dict)
    met: bool = True

    def __post_init__(self) -> None:
        weights = tuple(self.weights.values())
        if not weights or not all_finite(weights) or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError("fusion: weights must be finite, not negative, and not all 0")
        if not all_finite(self.floors.values()) or self.at < 1:
            raise ValueError("fusion: a floor is not finite, or 'at' is below 1")
        if strange := self.scales.keys() - self.weights.keys():
            raise ValueError(f"fusion: a scale for {sorted(strange)}, which has no weight")

    def terms(self, predictions: Mapping[str, Float[np.ndarray, "rows"]]) -> Float[np.ndarray, "tasks rows"]:
        """What the weights multiply: ``p`` for a sum, ``log p`` for a product, in the order of the weights."""
        shares = [
            self.scales[name](predictions[name]) if name in self.scales else np.asarray(predictions[name], np.float64)
            for name in self.weights
        ]
        p = np.stack(shares)
        return log_probabilities(p) if self.form == "product" else p

    def __call__(self, predictions: Mapping[str, Float[np.ndarray, "rows"]]) -> Float[np.ndarray, "rows"]:
        """The score of every row."""
        total = np.asarray(tuple(self.weights.values())) @ self.terms(predictions)
        return np.asarray(np.exp(total) if self.form == "product" else total)
