"""Hand-set weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import per_task
from polytask.errors import UserError
from polytask.types import Step


class Constant(Scalarizer):
    """``L = sum_t w_t L_t`` with fixed ``w``.

    Args:
        weights: One weight per task.
    """

    weights: Float[Tensor, "tasks"]

    def __init__(self, weights: Float[Tensor, "tasks"]) -> None:
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum."""
        weights = self.weights[step.present.to(self.weights.device)]
        return (losses * weights.to(losses.dtype)).sum()


def constant(weights: Mapping[str, float] | Sequence[float], names: Sequence[str] = ()) -> Scalarizer:
    """Weights that you set: ``L = sum_t w_t L_t``.

    A small search over such weights is the strongest simple rival of any adaptive method: Xin et al., "Do Current
    Multi-Task Optimization Methods in Deep Learning Even Help?", NeurIPS 2022, https://arxiv.org/abs/2209.11379

    Sum of the weights: whatever you set; they are not normalised.

    Args:
        weights: One weight per task: a mapping from the task's name, or in the order of the tasks.
        names: Names of all tasks in their order; the trainer gives them. Needed for a mapping.

    Raises:
        UserError: If a task has no weight, a name is unknown, or a weight is negative or not finite.

    Example:
        >>> constant({"like": 2.0, "click": 1.0}, names=["click", "like"]).weights.tolist()
        [1.0, 2.0]
    """
    listed, problems = per_task("weights", weights, names)
    if problems:
        raise UserError(problems)
    return Constant(torch.tensor(listed))
