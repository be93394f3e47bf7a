"""NTKMTL: tasks learn at like speeds, judged by their neural tangent kernels (Qin et al., NeurIPS 2025)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Place, Weighting
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.errors import UserError
from polytask.types import Step


class NTKMTL(Weighting):
    """``w_t = (mean_s lambda_s / lambda_t)^exponent``, lambda the squared lengths of the gradients.

    Args:
        exponent: 1 / 2 makes all gradients of one length.
    """

    place: Place = "parameters"

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self._exponent = exponent

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights."""
        problem = scaled_of(gramian)
        largest = problem.norms.max()
        if largest == 0.0:
            return like(np.ones(len(gramian)), gramian)
        mean = largest * np.sqrt(np.mean((problem.norms / largest) ** 2))
        ratios = mean / np.where(problem.moving, problem.norms, mean)
        return like(ratios ** (2.0 * self._exponent), gramian)


def ntkmtl(*, exponent: float = 0.5) -> Weighting:
    """NTKMTL: weights that give the neural tangent kernels of all tasks the same largest eigenvalue.

    ``d = sum_t w_t g_t`` with

        w_t = sqrt(mean_s lambda_s / lambda_t),   lambda_t = largest eigenvalue of K_t = J_t J_t'

    - ``J_t``: gradients of task t over n parts of the batch, one a row. With n = 1, as in the paper's runs of NTKMTL,
      ``J_t = g_t'`` is the gradient of the batch, and ``lambda_t = norm(g_t)^2``: all ``w_t g_t`` have the same length,
      the root of the mean square of the lengths of the ``g_t``.
    - The kernel says how fast a task learns: its error falls with ``exp(-lambda t)`` along the first eigenvector.
    - A gradient of zero gets the weight 1.

    Paper: Qin et al., "NTKMTL: Mitigating Task Imbalance in Multi-Task Learning from Neural Tangent Kernel
    Perspective", NeurIPS 2025, https://arxiv.org/abs/2510.18258 (algorithm 1 and equation 15), with n = 1. The
    authors' code has the sum of the lambda in the place of the mean and multiplies d by T, steps ``T^(3/2)`` times as
    long, which are then clipped at the norm 1; its notes say that an exponent of .75 can be better. At the
    representation (``at="representation"``) it is NTKMTL-SR with n = 1. The paper has n = 4 there: as the gradients of
    different rows at the representation are at right angles, lambda is then the largest squared length among the
    parts, in the place of the sum of these. The Gramian of a step is that of all its parts together, so that only
    n = 1 is offered.

    Sum of the weights: at least the number of tasks that are present; equal to it for gradients of one length.

    Args:
        exponent: Of the ratio of eigenvalues, from 0: `equal`; .5: one length; above: short gradients become the long
            ones.

    Raises:
        UserError: If ``exponent`` is out of range.

    Example:
        >>> import torch
        >>> gramian = torch.tensor([[1.0, 0.0], [0.0, 49.0]])
        >>> ntkmtl()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([5.0000, 0.7143])
    """
    if problems := limits("exponent", exponent, least=0.0):
        raise UserError(problems)
    return NTKMTL(exponent)
