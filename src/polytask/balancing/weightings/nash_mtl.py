"""Nash-MTL: the step as the outcome of a bargaining game (Navon et al., ICML 2022)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.solvers.fixed_point import fixed_point
from polytask.balancing.solvers.scaled import like, scaled_of
from polytask.errors import UserError
from polytask.types import Step


class NashMTL(Weighting):
    """``M a = 1 / a``.

    Args:
        normalise: Whether M is divided by its norm before.
        max_norm: Longest step; 0 for any.
    """

    def __init__(self, normalise: bool, max_norm: float) -> None:
        super().__init__()
        self._normalise, self._max_norm = normalise, max_norm

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights of the bargaining solution."""
        problem = scaled_of(gramian)
        weights = fixed_point(problem, 1.0)
        lengths = weights * problem.norms
        length = float(np.sqrt(max(lengths @ problem.cosines @ lengths, 0.0)))
        if self._normalise and problem.moving.any():
            largest = problem.norms.max()
            relative = problem.norms / largest
            size = largest * np.sqrt(np.linalg.norm(relative[:, None] * problem.cosines * relative))
            weights, length = weights * size, length * size
        if 0.0 < self._max_norm < length:
            weights = weights * (self._max_norm / length)
        return like(weights, gramian)


def nash_mtl(*, normalise: bool = False, max_norm: float = 0.0) -> Weighting:
    """Nash-MTL: the step on which tasks would agree if they bargained, each for the decrease of its own loss.

    ``max_d sum_t log(g_t' d)`` over a ball around 0. The direction of the solution is ``sum_t a_t g_t`` with ``a > 0``
    and

        M a = 1 / a      (element by element)

    - ``g_t``: gradient of task t. ``M``: the Gramian. ``a_t``: weight of task t.
    - ``g_t' d = 1 / a_t``: every loss decreases. Multiplying a loss by a constant changes nothing, d has the length
      ``sqrt(T)``.

    Where a convex combination of the gradients vanishes (Pareto-stationary) no step decreases all losses, and the tasks
    keep to the disagreement point of the game: all weights are 0. So is the weight of a gradient of zero.

    Paper: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, https://arxiv.org/abs/2202.01017
    (algorithm 1). It compares gradients at the shared parameters (``at="parameters"``). The authors' code divides M by
    its norm, runs 20 rounds of a convex-concave procedure with the ECOS solver, which need not converge, and clips the
    norm of the shared gradient at 1: ``normalise=True, max_norm=1.0``. LibMTL does the same, and where ECOS is not
    installed it silently weighs all tasks equally. Here a Newton method finds the one solution to the last digits; were
    it to fail, the run would stop. For weights every few steps: ``every`` of
    [`Balancing`][polytask.balancing.engine.Balancing].

    Sum of the weights: ``sum_t 1 / (g_t' d)``, in inverse proportion to the lengths of the gradients; with
    ``normalise`` in proportion to the root of the norm of M times that.

    Args:
        normalise: Divide M by its (Frobenius) norm before: steps then become shorter as gradients do.
        max_norm: Longest step at the place where gradients are compared; 0 for any.

    Raises:
        UserError: If ``max_norm`` is out of range; in a step, if no solution is found.

    Example:
        >>> import torch
        >>> gramian = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
        >>> nash_mtl()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([0.5000, 1.0000])
    """
    problems = limits("max_norm", max_norm, least=0.0)
    if problems:
        raise UserError(problems)
    return NashMTL(normalise, max_norm)
