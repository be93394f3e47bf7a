"""IMTL-G: the gradient part of impartial multi-task learning (Liu et al., ICLR 2021)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.equal_cosines import equal_cosines
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Total = Literal["sum", "absolute"]

VANISHING = 1e-12
"""A sum this small, relative to the sum of absolute values, counts as zero."""


class IMTLG(Weighting):
    """The step has the same projection on all gradients.

    Args:
        total: What of the weights is 1.
    """

    def __init__(self, total: Total) -> None:
        super().__init__()
        self._total = total

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights, 0 where none add up to 1."""
        problem = scaled_of(gramian)
        z, missing = equal_cosines(problem)
        lengths = missing if missing.any() else z
        shortest = np.where(problem.moving, problem.norms, 1.0).min()
        weights = lengths * (shortest / np.where(problem.moving, problem.norms, 1.0))
        absolute = np.abs(weights).sum()
        divisor = weights.sum() if self._total == "sum" else absolute
        if abs(divisor) <= VANISHING * absolute:
            return torch.zeros_like(gramian[0])
        return like(weights / divisor, gramian)


def imtl_g(*, total: Total = "sum") -> Weighting:
    """IMTL-G: the step makes the same angle with the gradients of all tasks, whatever their lengths.

    ``d = sum_t w_t g_t`` with ``u_s' d`` equal for all s and ``sum_t w_t = 1``. In closed form

        [w_2 ... w_T] = g_1' U' (D U')^(-1),   w_1 = 1 - sum of these

    with the rows ``u_1 - u_t`` of U and ``g_1 - g_t`` of D; in terms of the Gramian, ``w`` is ``M^+ n`` divided by its
    sum.

    - ``g_t``: gradient of task t, ``n_t``: its norm, ``u_t = g_t / n_t``. ``M``: the Gramian.
    - Weights can be negative. Multiplying a loss by a constant does not turn d.

    Where no direction has the same positive projection on all gradients (two that are opposed), those weights are taken
    whose combination is zero, and ``w`` has the shortest solution where there are many. A gradient of zero has no
    direction: it gets the weight 0.

    Paper: Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, https://openreview.net/forum?id=IMPnRXEWpvr
    (equation 5), which compares gradients at the representation, as is done here. The sum of ``M^+ n`` can be near 0
    or negative: the paper's weights are then very large, or turn d against all tasks (QM9 runs of others broke down).
    ``total="absolute"`` divides by the sum of absolute values instead, which is safe. TorchJD takes the
    pseudo-inverse likewise and gives 0 where gradients are opposed.

    Sum of the weights: 1, or 0 where no weights with sum 1 are found; with ``total="absolute"`` at most 1.

    Args:
        total: What is 1: the ``sum`` of the weights, or of their ``absolute`` values.

    Raises:
        UserError: If ``total`` is unknown.

    Example:
        >>> gramian = torch.tensor([[1.0, 0.0], [0.0, 16.0]])
        >>> imtl_g()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([0.8000, 0.2000])
    """
    if total not in get_args(Total):
        raise UserError(Problem("total", f"'{total}' is unknown", suggest(total, get_args(Total))))
    return IMTLG(total)
