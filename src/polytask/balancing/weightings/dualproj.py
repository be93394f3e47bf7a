"""DualProj: the mean gradient, projected onto the dual cone (Lopez-Paz and Ranzato, NeurIPS 2017)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.dual_cone import project
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.types import Step


class DualProj(Weighting):
    """The nearest to the mean gradient that increases no loss."""

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights of the projection."""
        return like(project(scaled_of(gramian), np.full(len(gramian), 1.0 / len(gramian))), gramian)


def dualproj() -> Weighting:
    """DualProj: the mean gradient, changed as little as possible until it increases no loss.

    ``d = argmin norm(d - g_0)`` over ``g_t' d >= 0`` for all t. In terms of the Gramian M, ``d = sum_t v_t g_t`` with

        v = argmin v' M v   over v >= 1 / T

    - ``g_t``: gradient of task t. ``g_0 = sum_t g_t / T``: their mean.
    - d increases no loss (non-conflicting); it is zero where ``-g_0`` is a combination of gradients from 0.

    Papers: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017,
    https://arxiv.org/abs/1706.08840 (equation 11); for tasks side by side Quinton and Rey, "Jacobian Descent for
    Multi-Objective Optimization", 2024, https://arxiv.org/abs/2406.16232, who compare gradients at the shared
    parameters (``at="parameters"``). GEM's code adds a margin of .5 to v; TorchJD divides M by its trace and adds 1e-4
    to its diagonal; here 1e-10 is added after all gradients are brought to length 1.

    Sum of the weights: at least 1; 1 where the mean conflicts with no task.

    Example:
        >>> import torch
        >>> gramian = torch.tensor([[1.0, -2.0], [-2.0, 8.0]])
        >>> dualproj()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([1.0000, 0.5000])
    """
    return DualProj()
