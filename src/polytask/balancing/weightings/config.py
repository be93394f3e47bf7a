"""ConFIG: the conflict-free inverse of the gradients (Liu et al., ICLR 2025)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.equal_cosines import equal_cosines
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.types import Step

STATIONARY = 1e-20
"""A square of the length of the direction, relative to T, up to which there is none."""


class ConFIG(Weighting):
    """``d = (sum_t g_t' v) v``, v the unit vector with equal cosines."""

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights."""
        problem = scaled_of(gramian)
        z, _ = equal_cosines(problem)
        images = problem.cosines @ z
        square = z @ images
        if square <= STATIONARY * len(z):
            return torch.zeros_like(gramian[0])
        divisors = np.where(problem.moving, problem.norms, np.inf)
        return like(problem.norms @ images / square * (z / divisors), gramian)


def config() -> Weighting:
    """ConFIG: the step makes the same angle with all gradients, and is as long as their projections on it together.

    ``d = (sum_t g_t' v) v``, ``v = x / norm(x)``, ``x = U^+ 1``. In terms of the Gramian

        w_t = (sum_s n_s (C z)_s / z' C z) z_t / n_t,   z = C^+ 1

    - ``g_t``: gradient of task t, ``n_t``: its norm, ``u_t = g_t / n_t``, the rows of U. ``C = U U'``: their cosines.
      ``^+``: pseudo-inverse.
    - ``g_t' d > 0`` for all t where the gradients are linearly independent; else x is the shortest of those that come
      nearest to equal projections. Weights can be negative. A gradient of zero gets the weight 0.
    - The direction does not mind the scales of the losses; the length does.

    Paper: Liu et al., "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks", ICLR 2025,
    https://arxiv.org/abs/2408.11104 (equation 2, with equal weights and projection length), which compares gradients
    at the shared parameters (``at="parameters"``). The authors' code takes a pseudo-inverse of U or solves least
    squares; here it is the one of C, a T x T matrix, whose eigenvalues below T times the precision of the numbers are
    left out.

    Sum of the weights: T for gradients of one length at right angles to each other; it depends on angles and lengths,
    and is 0 where ``U^+ 1 = 0`` (two opposed gradients).

    Example:
        >>> gramian = torch.tensor([[1.0, 0.0], [0.0, 9.0]])
        >>> config()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([2.0000, 0.6667])
    """
    return ConFIG()
