"""What every chain method is: what passes between towers, which loss the tasks have, what their heads mean."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from polytask.chains.chain import Chain


class ChainMethod(nn.Module, ABC):
    """A way to learn the tasks of a chain. All tensors but those of `transfer` are on the chain's own axis of K tasks.

    Args:
        chain: The tasks.

    Attributes:
        joint: The loss space. True: all rows where the joint label is known, and the labels are joint ones. False: the
            rows of the task itself, where its parent happened.
        crosses: Whether a loss depends on the representations of all tasks of its path, not of its own task alone.
        joint_heads: Whether a head gives the joint probability; else that given that the parent happened.
    """

    joint: ClassVar[bool]
    crosses: ClassVar[bool]
    joint_heads: ClassVar[bool] = False
    path: Bool[Tensor, "chain chain"]

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain
        self.register_buffer("path", chain.path, persistent=False)
        children = torch.tensor(chain.children)
        self.register_buffer("children_index", children, persistent=False)
        self.register_buffer("parents_index", torch.tensor(chain.parents)[children], persistent=False)

    children_index: Int[Tensor, "children"]
    parents_index: Int[Tensor, "children"]

    def transfer(self, towers: Float[Tensor, "tasks batch tower"]) -> Float[Tensor, "tasks batch tower"]:
        """What the heads read, from what the towers of all tasks of the model give."""
        return towers

    def row_losses(
        self,
        own: Float[Tensor, "chain batch"],
        logits: Float[Tensor, "chain batch"],
        labels: Float[Tensor, "chain batch"],
        representation: Float[Tensor, "chain batch out"],
    ) -> Float[Tensor, "chain batch"]:
        """The training loss of every row; rows outside the loss space give numbers to ignore. Called if `joint`.

        Args:
            own: The tasks' own losses of these logits and labels.
            logits: Of the heads.
            labels: Joint labels.
            representation: What sharing gave to each task.
        """
        return own

    def probabilities(
        self, heads: Float[Tensor, "chain batch"]
    ) -> tuple[Float[Tensor, "chain batch"], Float[Tensor, "chain batch"]]:
        """The probability given that the parent happened, and the joint one, of what the heads predict."""
        return heads, torch.where(self.path.unsqueeze(2), heads.unsqueeze(0), 1.0).prod(1)

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """Parameters whose leading axis belongs to single tasks of the model, with the task of every entry."""
        return []

    def _log_joint(
        self, logits: Float[Tensor, "chain batch"]
    ) -> tuple[Float[Tensor, "chain batch"], Float[Tensor, "chain batch"]]:
        """``log P`` and ``log (1 - P)`` of the joint probabilities of conditional logits.

        A path fails at exactly one of its tasks: ``1 - P_t = sum_{s on the path} (1 - p_s) prod_{u before s} p_u``. So
        both are sums of log-sigmoids, exact where P rounds to 0 or 1.
        """
        happens, fails = logsigmoid(logits), logsigmoid(-logits)
        joint = self.path.to(happens) @ happens
        first_fails = (self.path.to(happens) - torch.eye(len(self.path)).to(happens)) @ happens + fails
        masked = first_fails.unsqueeze(0).masked_fill(~self.path.unsqueeze(2), -torch.inf)
        return joint, torch.logsumexp(masked, 1)
