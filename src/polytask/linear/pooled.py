"""One set of coefficients for all tasks: the baseline that shares everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.solver import Parts


@dataclass(eq=False)
class Pooled(LinearModel):
    """``min_w sum_t loss_t(w) + ridge T ||w||^2``: all rows in one pot.

    Intercepts stay the tasks' own; for one of all tasks set ``fit_intercept=False`` and give a column of ones. Proximal
    step: the mean over tasks, which projects on equal rows.

    Example:
        >>> model = Pooled().fit([[0.0], [1.0], [0.0], [1.0]], [0, 2, 5, 9], ["a", "a", "b", "b"])
        >>> model.coef_.round(4).tolist(), model.intercept_.round(4).tolist()
        ([[3.0], [3.0]], [-0.5, 5.5])
    """

    def penalty_value(self, parts: Parts) -> float:
        """0 where all tasks are equal, and they are."""
        return 0.0

    def proximal(self, parts: Parts, step: float) -> Parts:
        """The mean over tasks."""
        return np.broadcast_to(parts.mean(1, keepdims=True), parts.shape).copy()
