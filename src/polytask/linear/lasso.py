"""Few coefficients per task, chosen task by task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.operators import soft_threshold
from polytask.linear.solver import Parts


@dataclass(eq=False)
class Lasso(LinearModel):
    """``penalty ||W||_1``: each task picks its own few features; tasks share nothing but the penalty.

    Proximal step: soft threshold, entry by entry. With `ridge` it is the elastic net.

    Reference: Tibshirani 1996, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x

    Args:
        penalty: Factor of the sum of absolute coefficients.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(200, 4)), np.repeat(["a", "b"], 100)
        >>> y = np.where(tasks == "a", 3 * X[:, 0], -2 * X[:, 3])
        >>> (Lasso(0.1).fit(X, y, tasks).coef_.round(1) + 0.0).tolist()
        [[2.9, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.9]]
    """

    penalty: float = 0.1

    def penalty_value(self, parts: Parts) -> float:
        """``penalty ||W||_1``."""
        return self.penalty * float(np.abs(parts).sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Soft threshold."""
        return soft_threshold(parts, step * self.penalty)
