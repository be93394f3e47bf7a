"""MGDA: the multiple-gradient descent algorithm (Désidéri 2012; Sener and Koltun, NeurIPS 2018)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.min_norm import min_norm_weights
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Normalise = Literal["none", "l2", "loss", "loss+"]


class MGDA(Weighting):
    """``w = argmin w' G w`` over the simplex.

    Args:
        normalise: By what the gradients are divided before.
    """

    def __init__(self, normalise: Normalise) -> None:
        super().__init__()
        self.normalise = normalise

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights of the smallest convex combination."""
        matrix = gramian.detach().to("cpu", torch.float64)
        scale = self._scale(matrix, step)
        matrix = matrix / torch.outer(scale, scale)
        weights = min_norm_weights(matrix.numpy())
        return torch.from_numpy(weights).to(gramian.device, gramian.dtype)

    def _scale(self, matrix: Float[Tensor, "present present"], step: Step) -> Float[Tensor, "present"]:
        """The divisor of every gradient; 1 where it would be 0."""
        scale = torch.ones(len(matrix), dtype=matrix.dtype)
        if self.normalise in ("l2", "loss+"):
            scale = scale * matrix.diagonal().clamp(min=0).sqrt()
        if self.normalise in ("loss", "loss+"):
            scale = scale * step.losses.detach().cpu()[step.present.cpu()].to(scale.dtype)
        return torch.where(scale > 0, scale, 1.0)


def mgda(*, normalise: Normalise = "none") -> Weighting:
    """Weights of the smallest convex combination of the gradients: ``min ||sum_t w_t g_t||^2`` over the simplex.

    The combination decreases the losses of all tasks, or is zero: then no direction does (Pareto-stationary). Taken
    at the representation it is MGDA-UB, an upper bound of the same norm at the parameters.

    Paper: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
    https://arxiv.org/abs/1810.04650. Their code starts from a projected-gradient solver that need not converge, and
    sends the scaled sum through the heads as well; here the solution is exact and heads receive their own gradient,
    as in the paper. Their CelebA configuration uses ``normalise="loss+"``.

    Sum of the weights: 1. With T tasks the shared steps are about 1/T of those of `equal`.

    Args:
        normalise: Divide every gradient before the weights are found by ``l2``: its norm, ``loss``: the task's loss,
            ``loss+``: both. The weights then apply to the gradients as they are.

    Raises:
        UserError: If ``normalise`` is unknown.

    Example:
        >>> gramian = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
        >>> mgda()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([0.8000, 0.2000])
    """
    if normalise not in get_args(Normalise):
        raise UserError(Problem("normalise", f"'{normalise}' is unknown", suggest(normalise, get_args(Normalise))))
    return MGDA(normalise)
