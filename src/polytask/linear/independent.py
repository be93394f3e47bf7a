"""Ridge regression per task: the baseline that shares nothing."""

from __future__ import annotations

from dataclasses import dataclass

from polytask.linear.estimator import LinearModel
from polytask.linear.solver import Parts


@dataclass(eq=False)
class Independent(LinearModel):
    """``min_W sum_t loss_t(w_t) + ridge ||W||_F^2``: every task for itself.

    What every multi-task model has to beat. Proximal step: none.

    Example:
        >>> model = Independent(ridge=0.0).fit([[0.0], [1.0], [0.0], [1.0]], [0, 2, 1, 0], ["a", "a", "b", "b"])
        >>> model.coef_.round(4).tolist(), model.intercept_.round(4).tolist()
        ([[2.0], [-1.0]], [0.0, 1.0])
    """

    def penalty_value(self, parts: Parts) -> float:
        """No penalty but `ridge`."""
        return 0.0

    def proximal(self, parts: Parts, step: float) -> Parts:
        """No step."""
        return parts
