"""UPGrad: unconflicting projections of gradients (Quinton and Rey, 2024)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.dual_cone import project_each
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.types import Step


class UPGrad(Weighting):
    """The mean of the gradients, each projected onto the dual cone of all."""

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The sum of the weights of all projections."""
        problem = scaled_of(gramian)
        return like(project_each(problem, np.full(len(gramian), 1.0 / len(gramian))), gramian)


def upgrad() -> Weighting:
    """UPGrad: every gradient is changed as little as possible until it conflicts with none, then the mean is taken.

    ``d = sum_t proj(g_t) / T``, ``proj(x)`` the nearest to x of all d with ``g_s' d >= 0`` for all s. In terms of the
    Gramian M, ``proj(g_t) = sum_s v_s g_s`` with

        v = argmin v' M v   over v >= e_t

    - ``g_t``: gradient of task t. ``e_t``: 1 at t, else 0.
    - d increases no loss (non-conflicting), is linear in the length of each gradient, and vanishes only at
      Pareto-stationary points.

    Paper: Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024,
    https://arxiv.org/abs/2406.16232 (definition 3), which compares gradients at the shared parameters
    (``at="parameters"``). TorchJD, of the same authors, divides M by its trace and adds 1e-4 to its diagonal, which
    leaves small conflicts; here 1e-10 is added after all gradients are brought to length 1. A quadratic program per
    task: all T are solved together, in about 2 ms for 40 tasks and .2 s for 200; where the gradients span far less than
    T dimensions it can be seconds for 200. ``every`` of [`Balancing`][polytask.balancing.engine.Balancing] spreads
    that over steps; `dualproj` solves one program.

    Sum of the weights: at least 1; 1 without conflicts.

    Example:
        >>> import torch
        >>> gramian = torch.tensor([[1.0, -1.0], [-1.0, 2.0]])
        >>> upgrad()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([1.0000, 0.7500])
    """
    return UPGrad()
