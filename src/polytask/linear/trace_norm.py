"""Coefficients of low rank: tasks share a few directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.operators import shrink_singular_values
from polytask.linear.solver import Parts


@dataclass(eq=False)
class TraceNorm(LinearModel):
    """``penalty ||W||_*``, the sum of singular values: every task is a mixture of a few common models.

    Proximal step: singular values shrink. Multi-task feature learning (Argyriou et al. 2008) penalises the square of
    this norm, and so runs through the same solutions.

    Reference: Ji & Ye, ICML 2009, https://doi.org/10.1145/1553374.1553434

    Args:
        penalty: Factor of the trace norm.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(400, 5)), np.repeat(np.arange(8), 50)
        >>> y = rng.normal(size=8)[tasks] * (X @ rng.normal(size=5)) + 0.1 * rng.normal(size=400)
        >>> int(np.linalg.matrix_rank(TraceNorm(0.2).fit(X, y, tasks).coef_))
        1
    """

    penalty: float = 0.1

    def penalty_value(self, parts: Parts) -> float:
        """``penalty ||W||_*``."""
        return self.penalty * float(np.linalg.svd(parts[0], compute_uv=False).sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Singular values shrink."""
        return shrink_singular_values(parts[0], step * self.penalty)[None]
