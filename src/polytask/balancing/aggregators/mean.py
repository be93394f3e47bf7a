"""The mean of the gradients."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Aggregator
from polytask.types import Step


class Mean(Aggregator):
    """``d = mean_t g_t``."""

    def forward(self, jacobian: Float[Tensor, "present width"], step: Step, /) -> Float[Tensor, "width"]:
        """The mean over tasks."""
        return jacobian.mean(0)


def mean() -> Aggregator:
    """The mean of the tasks' gradients at the shared parameters: the simplest aggregator, and a check of the others.

    Up to the factor 1/T the shared parameters move as with `equal`, at the price of one backward pass per task.

    Sum of the weights: 1.

    Example:
        >>> import torch
        >>> mean()(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([2., 1.])
    """
    return Mean()
