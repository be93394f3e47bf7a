"""GLS: the geometric mean of the losses (Chennupati et al., CVPR Workshops 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.positive import logarithms, refuse_negative
from polytask.types import Step


class GeometricMean(Scalarizer):
    """``L = (prod_t L_t)^(1 / T)``, T of the tasks that are present.

    Args:
        names: Of all tasks, for messages.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The mean."""
        refuse_negative(losses, step, self._names, "geometric_mean")
        return logarithms(losses).mean().exp()


def geometric_mean(names: Sequence[str] = ()) -> Scalarizer:
    """GLS, the geometric loss strategy: ``L = (prod_t L_t)^(1 / T)``.

    ``L_t`` is the loss of task t, ``T`` the number of tasks that are present. Multiplying one loss by a number
    multiplies the whole gradient, but does not turn it.

    Paper: Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task
    Learning", CVPR Workshops 2019, https://arxiv.org/abs/1904.08492. LibMTL forms the product itself, which leaves the
    range of floats with many tasks; here it is the exponential of the mean logarithm. The paper's "focused" variant,
    which counts some tasks twice, is not here.

    Losses must not be negative. One below 1e-20 counts as solved: it enters as 1e-20, with the weight 0.

    Sum of the weights: ``(L / T) sum_t 1 / L_t``; 1 if all losses are equal, more otherwise.

    Args:
        names: Names of all tasks in their order, for messages; the trainer gives them.

    Raises:
        UserError: In a step, if a loss is negative; the message names the task.

    Example:
        >>> import torch
        >>> losses = torch.tensor([1.0, 4.0])
        >>> geometric_mean()(losses, Step(0, 0, torch.ones(2, dtype=torch.bool), losses))
        tensor(2.)
    """
    return GeometricMean(names)
