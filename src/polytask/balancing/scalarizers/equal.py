"""Equal weights: the plain sum of the losses."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.types import Step


class Equal(Scalarizer):
    """``L = sum_t L_t``. Sum of the weights: the number of tasks that are present."""

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The sum."""
        return losses.sum()


def equal() -> Scalarizer:
    """Every loss counts once: ``L = sum_t L_t``, the baseline that other balancers have to beat.

    With learning rate, weight decay and dropout tuned it is hard to beat: Kurin et al., "In Defense of the Unitary
    Scalarization for Deep Multi-Task Learning", NeurIPS 2022, https://arxiv.org/abs/2201.04122

    Sum of the weights: the number of tasks that are present (weight 1 each).

    Example:
        >>> import torch
        >>> from polytask.types import Step
        >>> losses = torch.tensor([1.0, 2.0])
        >>> equal()(losses, Step(0, 0, torch.ones(2, dtype=torch.bool), losses))
        tensor(3.)
    """
    return Equal()
