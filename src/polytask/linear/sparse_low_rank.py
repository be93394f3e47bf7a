"""A sparse part and a part of low rank (SparseTrace)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.losses import Matrix
from polytask.linear.operators import project_trace_ball, soft_threshold
from polytask.linear.solver import Parts


@dataclass(eq=False)
class SparseLowRank(LinearModel):
    """``W = P + Q``, ``sparsity ||P||_1`` subject to ``||Q||_* <= trace``: incoherent sparse and low-rank patterns.

    ``Q`` is what tasks have in common, ``P`` the few coefficients in which they differ. Proximal steps: soft threshold,
    and projection of the singular values of ``Q`` on an L1 ball.

    Reference: Chen, Liu & Ye, KDD 2010, https://doi.org/10.1145/1835804.1835952

    Args:
        sparsity: Factor of the sum of absolute coefficients in ``P``.
        trace: Largest trace norm of ``Q``; a bound, in units of the coefficients, not a factor.

    Attributes:
        sparse_: ``P``, ``[T, d]``.
        shared_: ``Q``, ``[T, d]``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(800, 6)), np.repeat(np.arange(8), 100)
        >>> W = np.ones((8, 6)); W[2, 4] = 5.0
        >>> model = SparseLowRank(sparsity=0.3, trace=48**0.5).fit(X, (X * W[tasks]).sum(1), tasks)
        >>> np.argwhere(np.abs(model.sparse_) > 1).tolist()
        [[2, 4]]
    """

    sparsity: float = 0.1
    trace: float = 1.0

    parts: ClassVar[int] = 2

    def penalty_value(self, parts: Parts) -> float:
        """``sparsity ||P||_1``; the bound on ``Q`` is met."""
        return self.sparsity * float(np.abs(parts[0]).sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Soft threshold, and projection on the trace ball."""
        return np.stack([soft_threshold(parts[0], step * self.sparsity), project_trace_ball(parts[1], self.trace)])

    @property
    def sparse_(self) -> Matrix:
        """``P``."""
        return self.parts_[0]

    @property
    def shared_(self) -> Matrix:
        """``Q``."""
        return self.parts_[1]
