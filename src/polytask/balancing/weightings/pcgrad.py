"""PCGrad: projecting conflicting gradients (Yu et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.scaled import Scaled, like, scaled_of
from polytask.balancing.weightings.orders import orders
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Reduction = Literal["sum", "mean"]


class PCGrad(Weighting):
    """Each gradient loses what goes against the others, one after the other.

    Args:
        reduction: How the results are combined.
        seed: Of the orders.
    """

    def __init__(self, reduction: Reduction, seed: int) -> None:
        super().__init__()
        self._reduction, self._seed = reduction, seed

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The sums over columns of the coefficients."""
        problem = scaled_of(gramian)
        coefficients = self._coefficients(problem, step)
        divisor = len(coefficients) if self._reduction == "mean" else 1
        weights = problem.norms @ coefficients / np.where(problem.moving, problem.norms, 1.0)
        return like(np.where(problem.moving, weights, 1.0) / divisor, gramian)

    def _coefficients(self, problem: Scaled, step: Step) -> Float64[np.ndarray, "present present"]:
        """Row i: the projected gradient of task i, divided by its norm, as a combination of gradients of length 1."""
        count, rows = len(problem.norms), np.arange(len(problem.norms))
        coefficients, others = np.eye(count), orders(self._seed, step, count)
        for turn in range(count):
            other = others[:, turn]
            inner = np.vecdot(coefficients, problem.cosines[other])
            coefficients[rows, other] -= np.where(other == rows, 0.0, np.minimum(inner, 0.0))
        return coefficients


def pcgrad(*, reduction: Reduction = "sum", seed: int = 0) -> Weighting:
    """PCGrad: every gradient is projected off those that it conflicts with, and the results are added up.

    For each task i, starting from ``h_i = g_i``, over all other tasks j in random order:

        if h_i' g_j < 0:   h_i = h_i - (h_i' g_j / g_j' g_j) g_j

    and the step goes along ``sum_i h_i``.

    - ``g_i``: gradient of task i; those that are projected upon stay as they are.
    - ``h_i``: always a combination of the g, so that the Gramian is all that is needed.

    With two tasks the result conflicts with neither; with more it can. Without conflicts it is `equal`.

    Paper: Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, https://arxiv.org/abs/2001.06782
    (algorithm 1). The paper compares gradients at the shared parameters (``at="parameters"``). The authors' code and
    TorchJD add up; many ports take the mean, a learning rate T times smaller.

    Sum of the weights: at least the number of tasks that are present; with ``reduction="mean"`` at least 1.

    Args:
        reduction: ``sum``, or ``mean``.
        seed: Decides the orders, together with the number of the step alone: a resumed run draws as an unbroken one.
            The trainer gives the seed of the run.

    Raises:
        UserError: If ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> gramian = torch.tensor([[1.0, -1.0], [-1.0, 4.0]])
        >>> pcgrad()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([2.0000, 1.2500])
    """
    if reduction not in get_args(Reduction):
        raise UserError(Problem("reduction", f"'{reduction}' is unknown", suggest(reduction, get_args(Reduction))))
    return PCGrad(reduction, seed)
