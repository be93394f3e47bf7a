"""DBMTL: deep Bayesian multi-target learning (Wang et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import relu

from polytask.chains.chain import Chain
from polytask.chains.method import ChainMethod
from polytask.chains.transfer import Transfer
from polytask.stack import Stack


class Reader(nn.Module):
    """A layer that reads the parent's state beside the task's own tower: ``relu(W [own, parent] + b)``.

    Args:
        tasks: Number of tasks, each with parameters of its own.
        width: Width of towers and states.

    Shape:
        ``([T, B, W], [T, B, W]) -> [T, B, W]``

    Example:
        >>> Reader(1, 4)(torch.zeros(1, 5, 4), torch.zeros(1, 5, 4)).shape
        torch.Size([1, 5, 4])
    """

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.layer = Stack(tasks, 2 * width, width)

    def forward(
        self, parent: Float[Tensor, "tasks batch width"], own: Float[Tensor, "tasks batch width"]
    ) -> Float[Tensor, "tasks batch width"]:
        """The task's state."""
        return relu(self.layer(torch.cat([own, parent], dim=-1)))


@final
class DBMTL(ChainMethod):
    """Conditional losses, where every target also reads its parent's state; see `dbmtl`.

    Args:
        chain: The tasks.
        width: Of the towers.
    """

    joint: ClassVar[bool] = False
    crosses: ClassVar[bool] = True

    def __init__(self, chain: Chain, width: int) -> None:
        super().__init__(chain)
        self.passing = Transfer(chain, lambda tasks: Reader(tasks, width))

    def transfer(self, towers: Float[Tensor, "tasks batch tower"]) -> Float[Tensor, "tasks batch tower"]:
        """Every task reads its parent's state."""
        return self.passing(towers)

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """What reads a parent belongs to the task that reads."""
        return self.passing.owners()


def dbmtl(chain: Chain, tower_features: int) -> ChainMethod:
    """The joint likelihood factorised along the chain; every target's network also reads its parent's.

    With ``h_t`` the tower of task t, ``s_t = h_t`` for the first task::

        s_t = relu(W_t [h_t, s_parent] + b_t),    p_t = sigmoid(head_t(s_t))
        P(click, buy | x) = P(click | x) P(buy | x, click)
        -log P = CE(click, p_click) + click CE(buy, p_buy)

    A task's label is certainly 0 where its parent did not happen, so its factor counts where the parent happened: the
    paper's weighted sum of negative log-likelihoods is the balancer's weighted sum of these losses.

    Loss space: rows where the parent happened and the label is known. The loss of a task reads the towers of its path.

    Paper: Wang, Ji, Liu and Zhao, "Deep Bayesian Multi-Target Learning for Recommender Systems", 2019,
    https://arxiv.org/abs/1902.09154

    Args:
        chain: The tasks.
        tower_features: Width of the towers.

    Example:
        >>> from polytask.chains import chain_of
        >>> method = dbmtl(chain_of(["click", "buy"], {"buy": "click"}), 8)
        >>> method.transfer(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """
    return DBMTL(chain, tower_features)
