"""Coefficients of low rank, with room for tasks that do not fit in (RMTL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.losses import Matrix
from polytask.linear.operators import shrink_groups, shrink_singular_values
from polytask.linear.solver import Parts


@dataclass(eq=False)
class RobustLowRank(LinearModel):
    """``W = L + S``, ``low_rank ||L||_* + outliers sum_t ||s_t||_2``: RMTL.

    Related tasks live in a common subspace, ``L``; outlier tasks get a model of their own in ``S``. Proximal steps:
    singular values of ``L`` and tasks of ``S`` shrink.

    Reference: Chen, Zhou & Ye, KDD 2011, https://doi.org/10.1145/2020408.2020423

    Args:
        low_rank: Factor of the trace norm of ``L``.
        outliers: Factor of the norms of the tasks in ``S``.

    Attributes:
        shared_: ``L``, ``[T, d]``.
        outlying_: ``S``, ``[T, d]``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(800, 6)), np.repeat(np.arange(8), 100)
        >>> W = np.outer(np.ones(8), [2.0, 1, 0, 0, 0, 0]); W[7] = [0, 0, 0, 3, -3, 3]
        >>> model = RobustLowRank(low_rank=0.4, outliers=0.3).fit(X, (X * W[tasks]).sum(1), tasks)
        >>> np.flatnonzero(np.abs(model.outlying_).max(1)).tolist(), int(np.linalg.matrix_rank(model.shared_, tol=1e-6))
        ([7], 1)
    """

    low_rank: float = 0.1
    outliers: float = 0.1

    parts: ClassVar[int] = 2

    def penalty_value(self, parts: Parts) -> float:
        """``low_rank ||L||_* + outliers sum_t ||s_t||``."""
        singular, tasks = np.linalg.svd(parts[0], compute_uv=False), np.linalg.norm(parts[1], axis=1)
        return self.low_rank * float(singular.sum()) + self.outliers * float(tasks.sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Singular values of ``L`` and tasks of ``S`` shrink."""
        low = shrink_singular_values(parts[0], step * self.low_rank)
        return np.stack([low, shrink_groups(parts[1], step * self.outliers, axis=1)])

    @property
    def shared_(self) -> Matrix:
        """``L``."""
        return self.parts_[0]

    @property
    def outlying_(self) -> Matrix:
        """``S``."""
        return self.parts_[1]
