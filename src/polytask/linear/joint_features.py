"""Few features, the same for all tasks (L2,1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.operators import shrink_groups
from polytask.linear.solver import Parts


@dataclass(eq=False)
class JointFeatures(LinearModel):
    """``penalty sum_j ||(w_1j, ..., w_Tj)||_2``: a feature serves all tasks or none.

    Proximal step: every feature's column of coefficients shrinks as a group, ``max(0, 1 - s penalty / norm)``.

    Reference: Argyriou, Evgeniou & Pontil 2008, https://doi.org/10.1007/s10994-007-5040-8; Liu, Ji & Ye, UAI 2009,
    https://arxiv.org/abs/1205.2631

    Args:
        penalty: Factor of the sum of norms.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(200, 4)), np.repeat(["a", "b"], 100)
        >>> y = np.where(tasks == "a", 3.0, -2.0) * X[:, 1] + 0.1 * rng.normal(size=200)
        >>> model = JointFeatures(0.5).fit(X, y, tasks)
        >>> np.abs(model.coef_).max(0).round(1).tolist()
        [0.0, 2.4, 0.0, 0.0]
    """

    penalty: float = 0.1

    def penalty_value(self, parts: Parts) -> float:
        """``penalty sum_j ||w_.j||_2``."""
        return self.penalty * float(np.linalg.norm(parts[0], axis=0).sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Features shrink as groups."""
        return shrink_groups(parts[0], step * self.penalty, axis=0)[None]
