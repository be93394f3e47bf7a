"""CAGrad: conflict-averse gradient descent (Liu et al., NeurIPS 2021)."""

from __future__ import annotations

from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.balancing.solvers.worst_case import worst_case_weights
from polytask.errors import Problem, UserError, suggest
from polytask.options import in_range
from polytask.types import Step

Rescale = Literal["none", "square", "linear"]


class CAGrad(Weighting):
    """``d = g_0 + c norm(g_0) g_w / norm(g_w)``.

    Args:
        c: Radius of the ball around the mean gradient, in its length.
        rescale: By what d is divided.
    """

    def __init__(self, c: float, rescale: Rescale) -> None:
        super().__init__()
        self._c, self._divisor = c, {"none": 1.0, "square": 1.0 + c**2, "linear": 1.0 + c}[rescale]

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The mean and what is best for the task that it serves least."""
        return like(worst_case_weights(scaled_of(gramian), self._c) / self._divisor, gramian)


def cagrad(*, c: float = 0.4, rescale: Rescale = "none") -> Weighting:
    """CAGrad: near the mean gradient, the direction that is best for the task that it serves least.

    ``max_d min_t g_t' d`` over ``norm(d - g_0) <= c norm(g_0)``, solved through its dual,

        d = g_0 + c norm(g_0) g_w / norm(g_w),   w = argmin g_w' g_0 + c norm(g_0) norm(g_w) over the simplex

    - ``g_0 = sum_t g_t / T``: mean gradient. ``g_w = sum_t w_t g_t``.
    - ``c``: 0 gives the mean; towards 1 more and more conflicts are resolved. Below 1 the fixed points are those of
      the mean loss.

    Paper: Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021,
    https://arxiv.org/abs/2110.14048 (algorithm 1), with the c of its NYUv2 and Cityscapes runs. The paper compares
    gradients at the shared parameters (``at="parameters"``). The authors and LibMTL find w with SciPy's SLSQP and add
    1e-8 to the norms; here the solution is exact. LibMTL has c = .5 and divides d by ``1 + c^2``
    (``rescale="square"``). TorchJD gives weights of 0 where ``g_w`` is nearly zero; here d is then the nearest to
    ``g_0`` that increases no loss, one of the solutions. A gradient of zero takes part in the mean alone.

    Sum of the weights: ``1 + c norm(g_0) / norm(g_w)``, divided as ``rescale`` says.

    Args:
        c: From 0, below 1.
        rescale: Divide d by ``none``, ``square``: ``1 + c^2``, or ``linear``: ``1 + c``.

    Raises:
        UserError: If an option is unknown or out of range.

    Example:
        >>> import torch
        >>> gramian = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> cagrad(c=0.5)(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([0.7500, 0.7500])
    """
    problems = in_range(c, where="c", least=0, below=1)
    if rescale not in get_args(Rescale):
        problems.append(Problem("rescale", f"'{rescale}' is unknown", suggest(rescale, get_args(Rescale))))
    if problems:
        raise UserError(problems)
    return CAGrad(c, rescale)
