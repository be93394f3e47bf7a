"""FairGrad: the step as a fair allocation (Ban and Ji, ICML 2024)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.solvers.fixed_point import fixed_point
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.errors import UserError
from polytask.types import Step


class FairGrad(Weighting):
    """``M w = w^(-1 / alpha)``.

    Args:
        alpha: Kind of fairness.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self._alpha = alpha

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights."""
        return like(fixed_point(scaled_of(gramian), 1.0 / self._alpha), gramian)


def fairgrad(*, alpha: float = 2.0) -> Weighting:
    """FairGrad: the decrease of the losses is shared out fairly among the tasks.

    ``max_d sum_t (g_t' d)^(1 - alpha) / (1 - alpha)`` over a ball around 0. The direction of the solution is
    ``sum_t w_t g_t`` with ``w > 0`` and

        M w = w^(-1 / alpha)      (element by element)

    - ``g_t``: gradient of task t. ``M``: the Gramian. ``w_t = (g_t' d)^(-alpha)``: weight of task t.
    - ``alpha``: towards 0 the sum of the decreases counts (all weights 1), 1 is Nash-MTL (proportional fairness), 2
      least potential delay, and for large alpha the smallest decrease alone counts.

    Where a convex combination of the gradients vanishes (Pareto-stationary) no step decreases all losses, and all
    weights are 0. So is the weight of a gradient of zero. Only ``alpha=1`` does not mind the scale of a loss.

    Paper: Ban and Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, https://arxiv.org/abs/2402.15638
    (algorithm 1). It compares gradients at the shared parameters (``at="parameters"``). The authors' code and TorchJD
    run SciPy's least squares on the equation, started at ``1 / T``, and take what it gives; here a Newton method finds
    the one solution of the convex problem behind it; were it to fail, the run would stop.

    Sum of the weights: ``sum_t (g_t' d)^(-alpha)``; larger for shorter gradients.

    Args:
        alpha: Above 0.

    Raises:
        UserError: If ``alpha`` is out of range; in a step, if no solution is found.

    Example:
        >>> import torch
        >>> gramian = torch.tensor([[8.0, 0.0], [0.0, 1.0]])
        >>> fairgrad()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([0.2500, 1.0000])
    """
    problems = limits("alpha", alpha, above=0.0)
    if problems:
        raise UserError(problems)
    return FairGrad(alpha)
