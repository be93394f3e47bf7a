"""RLW: random loss weights (Lin et al., TMLR 2022)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.chance import generator
from polytask.balancing.interfaces import Scalarizer
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Total = Literal["tasks", "one"]


class RandomWeights(Scalarizer):
    """``L = sum_t w_t L_t``, ``w`` from a softmax of normal draws.

    Args:
        seed: With the number of the step it decides the draws.
        total: The sum of the weights.
    """

    def __init__(self, seed: int, total: Total) -> None:
        super().__init__()
        self.seed, self.total = seed, total

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum."""
        # for all tasks, so that a task's draw does not depend on who else is present
        draws = torch.from_numpy(generator(self.seed, step).standard_normal(len(step.present)))
        weights = torch.softmax(draws[step.present.cpu()], 0)
        if self.total == "tasks":
            weights = weights * len(weights)
        return (losses * weights.to(losses)).sum()


def random_weights(*, seed: int = 0, total: Total = "tasks") -> Scalarizer:
    """RLW: new random weights in every step, a baseline that any adaptive method should beat.

    ``L = sum_t w_t L_t`` with ``w = T softmax(x)``, ``x_t ~ N(0, 1)``; ``T`` is the number of tasks that are present,
    and the softmax is taken over these.

    Paper: Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning", TMLR 2022,
    https://arxiv.org/abs/2111.10603. It also tries other distributions; the normal one is the usual choice. LibMTL,
    by the same authors, does not multiply by T: ``total="one"``. Here the default keeps the learning rate of `equal`.

    Sum of the weights: the number of tasks that are present, or 1 with ``total="one"``.

    Args:
        seed: Decides the draws, together with the number of the step alone: a resumed run draws as an unbroken one.
            The trainer gives the seed of the run.
        total: Sum of the weights: ``tasks`` for the number of present tasks, or ``one``.

    Raises:
        UserError: If ``total`` is unknown or the seed is negative.

    Example:
        >>> losses = torch.tensor([1.0, 1.0])
        >>> random_weights()(losses, Step(7, 0, torch.ones(2, dtype=torch.bool), losses))
        tensor(2.)
    """
    problems = []
    if seed < 0:
        problems.append(Problem("seed", f"{seed} given", "choose a whole number from 0"))
    if total not in get_args(Total):
        problems.append(Problem("total", f"'{total}' is unknown", suggest(total, get_args(Total))))
    if problems:
        raise UserError(problems)
    return RandomWeights(seed, total)
