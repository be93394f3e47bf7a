"""The sum of the logarithms of the losses: a baseline that no unit of measurement disturbs."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.positive import logarithms, refuse_negative
from polytask.types import Step


class ScaleInvariant(Scalarizer):
    """``L = sum_t log L_t``.

    Args:
        names: Of all tasks, for messages.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The sum of the logarithms; it can be negative."""
        refuse_negative(losses, step, self._names, "scale_invariant")
        return logarithms(losses).sum()


def scale_invariant(names: Sequence[str] = ()) -> Scalarizer:
    """Every loss counts by its logarithm: ``L = sum_t log L_t``, so that multiplying a loss changes nothing.

    ``L_t`` is the loss of task t; its gradient is divided by its value. It is the baseline "SI" of Nash-MTL and later
    papers: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, https://arxiv.org/abs/2202.01017.

    Losses must not be negative. One below 1e-20 counts as solved: it gets the weight 0, where the formula would divide
    by zero (the code of Nash-MTL has no such guard). The total loss can be negative.

    Sum of the weights: ``sum_t 1 / L_t``; weight ``1 / L_t`` each.

    Args:
        names: Names of all tasks in their order, for messages; the trainer gives them.

    Raises:
        UserError: In a step, if a loss is negative; the message names the task.

    Example:
        >>> import torch
        >>> losses = torch.tensor([0.5, 100.0], requires_grad=True)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), losses.detach())
        >>> torch.autograd.grad(scale_invariant()(losses, step), losses)[0]
        tensor([2.0000, 0.0100])
    """
    return ScaleInvariant(names)
