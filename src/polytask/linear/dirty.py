"""Features that all tasks share, plus features of some tasks' own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polytask.linear.estimator import LinearModel
from polytask.linear.losses import Matrix
from polytask.linear.operators import shrink_peaks, soft_threshold
from polytask.linear.solver import Parts


@dataclass(eq=False)
class Dirty(LinearModel):
    """``W = P + Q``, ``shared sum_j max_t |P_tj| + own ||Q||_1``: a block-sparse part and a sparse part.

    A feature that many tasks use is cheaper in ``P``, one that few use is cheaper in ``Q``. Choose
    ``own < shared < T own``: otherwise one of the parts is 0. Proximal steps: per feature the largest coefficients are
    cut to a common level (``v`` minus its projection on the L1 ball), and a soft threshold. MALSAR omits the 1/2 of
    the squared loss: its penalties are twice these.

    Reference: Jalali, Ravikumar, Sanghavi & Ruan, NIPS 2010; extended version https://arxiv.org/abs/1106.5826

    Args:
        shared: Factor of the sum over features of the largest absolute coefficient in ``P``.
        own: Factor of the sum of absolute coefficients in ``Q``.

    Attributes:
        shared_: ``P``, ``[T, d]``.
        own_: ``Q``, ``[T, d]``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(400, 4)), np.repeat(np.arange(4), 100)
        >>> y = 2 * X[:, 0] + np.where(tasks == 3, 3 * X[:, 2], 0.0)
        >>> model = Dirty(shared=0.2, own=0.1).fit(X, y, tasks)
        >>> (model.shared_[0].round(1) + 0.0).tolist(), (model.own_[3].round(1) + 0.0).tolist()
        ([1.9, 0.0, 0.0, 0.0], [0.0, 0.0, 2.9, 0.0])
    """

    shared: float = 0.1
    own: float = 0.05

    parts: ClassVar[int] = 2

    def penalty_value(self, parts: Parts) -> float:
        """``shared ||P||_(1,inf) + own ||Q||_1``."""
        return self.shared * float(np.abs(parts[0]).max(0).sum()) + self.own * float(np.abs(parts[1]).sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Peaks of ``P`` are cut, ``Q`` is soft-thresholded."""
        shared = shrink_peaks(parts[0].T, step * self.shared).T
        return np.stack([shared, soft_threshold(parts[1], step * self.own)])

    @property
    def shared_(self) -> Matrix:
        """``P``."""
        return self.parts_[0]

    @property
    def own_(self) -> Matrix:
        """``Q``."""
        return self.parts_[1]
