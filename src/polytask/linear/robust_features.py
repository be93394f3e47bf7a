"""Joint features, with room for tasks that do not fit in (rMTFL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.losses import Matrix
from polytask.linear.operators import shrink_groups
from polytask.linear.solver import Parts


@dataclass(eq=False)
class RobustFeatures(LinearModel):
    """``W = P + Q``, ``features sum_j ||P_.j||_2 + outliers sum_t ||Q_t||_2``: rMTFL.

    ``P`` has the same few features for all tasks; ``Q`` is 0 but for outlier tasks, which get a model of their own.
    Proximal steps: features of ``P`` and tasks of ``Q`` shrink as groups. MALSAR omits the 1/2 of the squared loss: its
    penalties are twice these.

    Reference: Gong, Ye & Zhang, KDD 2012, https://doi.org/10.1145/2339530.2339672

    Args:
        features: Factor of the norms of the features in ``P``.
        outliers: Factor of the norms of the tasks in ``Q``.

    Attributes:
        shared_: ``P``, ``[T, d]``.
        outlying_: ``Q``, ``[T, d]``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(600, 5)), np.repeat(np.arange(6), 100)
        >>> y = np.where(tasks == 5, X @ [-2.0, 2, 2, 2, 2], 2 * X[:, 0]) + 0.1 * rng.normal(size=600)
        >>> model = RobustFeatures(features=0.5, outliers=0.4).fit(X, y, tasks)
        >>> np.flatnonzero(np.abs(model.outlying_).max(1)).tolist()
        [5]
    """

    features: float = 0.1
    outliers: float = 0.1

    parts: ClassVar[int] = 2

    def penalty_value(self, parts: Parts) -> float:
        """``features sum_j ||P_.j|| + outliers sum_t ||Q_t||``."""
        features, tasks = np.linalg.norm(parts[0], axis=0), np.linalg.norm(parts[1], axis=1)
        return self.features * float(features.sum()) + self.outliers * float(tasks.sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Features of ``P`` and tasks of ``Q`` shrink as groups."""
        features = shrink_groups(parts[0], step * self.features, axis=0)
        return np.stack([features, shrink_groups(parts[1], step * self.outliers, axis=1)])

    @property
    def shared_(self) -> Matrix:
        """``P``."""
        return self.parts_[0]

    @property
    def outlying_(self) -> Matrix:
        """``Q``."""
        return self.parts_[1]
