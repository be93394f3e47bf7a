"""The networks of the synthetic experiments: a sharing architecture, towers and one output per task."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from polytask.sharing import mmoe, omoe, shared_bottom
from polytask.sharing.representation import Sharing
from polytask.towers import Heads, HeadStack, Towers

ModelName = Literal["mmoe", "omoe", "shared-bottom"]
MODELS: tuple[ModelName, ...] = ("mmoe", "omoe", "shared-bottom")
TASKS = 2


class Network(nn.Module):
    """One value per task: ``y_t = head_t(tower_t(sharing(x)_t))``.

    Args:
        sharing: Any architecture.
        tower_width: Width of every task's tower, of one layer.

    Shape:
        ``[B, D] -> [T, B]``

    Example:
        >>> import torch
        >>> Network(shared_bottom(2, 20, widths=(16,)), tower_width=8)(torch.zeros(5, 20)).shape
        torch.Size([2, 5])
    """

    def __init__(self, sharing: Sharing, *, tower_width: int) -> None:
        super().__init__()
        self.sharing = sharing
        self.towers = Towers(sharing.tasks, sharing.out_features, (tower_width,))
        self.heads = Heads(tower_width, [HeadStack(tuple(range(sharing.tasks)), 1)])

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "tasks batch"]:
        """The values of all tasks."""
        (values,) = self.heads(self.towers(self.sharing(x).value))
        return values.select(2, 0)


def network(
    model: ModelName,
    in_features: int,
    *,
    experts: int = 8,
    expert_width: int = 16,
    bottom_width: int = 113,
    tower_width: int = 8,
) -> Network:
    """One of the paper's three networks for two tasks, of the sizes of section 5.1 unless others are given.

    Example:
        >>> sum(parameter.numel() for parameter in network("shared-bottom", 100).parameters())
        13255
    """
    sharing = (
        shared_bottom(TASKS, in_features, widths=(bottom_width,))
        if model == "shared-bottom"
        else {"mmoe": mmoe, "omoe": omoe}[model](TASKS, in_features, experts=experts, widths=(expert_width,))
    )
    return Network(sharing, tower_width=tower_width)
