"""The softmax gate of MMoE and of everything after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.errors import raise_errors
from polytask.options import in_range
from polytask.sharing.gates.base import Gates, GateSpread


class SoftmaxGates(Gates):
    """``g_r(x) = softmax((W_r x + b_r) / temperature)`` over the visible experts.

    Where no row sees all experts, every row computes as many logits as the row that sees most has.

    Args:
        visible: Which row sees which expert, R rows by E experts.
        in_features: Width of what the gates read, D.
        bias: Whether gates have a bias. The papers have none.
        temperature: Above 1 evens the weights out, below 1 sharpens them.
        spread: What keeps them from leaning on few experts.

    Shape:
        Logits ``[B, R, most] -> [B, R, E]``; the weights sum to 1.

    Raises:
        UserError: If a row sees no expert or a number is out of range.

    Example:
        >>> gates = SoftmaxGates(torch.tensor([[True, True, False]]), 4)
        >>> gates(torch.zeros(1, 1, 2))[0].tolist()
        [[[0.5, 0.5, 0.0]]]
    """

    minus: Float[Tensor, "rows computed"] | None

    def __init__(
        self,
        visible: Bool[Tensor, "rows experts"],
        in_features: int,
        *,
        bias: bool = False,
        temperature: float = 1.0,
        spread: GateSpread | None = None,
    ) -> None:
        raise_errors(in_range(temperature, above=0, where="gate.temperature"))
        super().__init__(visible, visible.shape[1], in_features, bias=bias, spread=spread or GateSpread())
        self.temperature = temperature
        most, hidden = int(visible.sum(1).max()), ~visible
        if most < visible.shape[1]:
            self.taken = hidden.int().argsort(dim=1, stable=True)[:, :most]  # what a row sees comes first
            hidden = hidden.gather(1, self.taken)
        minus = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf) if bool(hidden.any()) else None
        self.register_buffer("minus", minus, persistent=False)

    def weigh(self, logits: Float[Tensor, "batch rows computed"]) -> tuple[Float[Tensor, "batch rows experts"], None]:
        """The softmax over visible experts."""
        if self.temperature != 1.0:
            logits = logits / self.temperature
        if self.minus is not None:
            logits = logits + self.minus.to(logits.dtype)
        weights = softmax(logits)
        if self.taken is None:
            return weights, None
        zeros = weights.new_zeros(*weights.shape[:2], self.visible.shape[1])
        return zeros.scatter_(2, self.taken.expand(weights.shape[0], -1, -1), weights), None


SHORT = 16
"""Shorter axes than this fill no vector register."""


def softmax(logits: Float[Tensor, "batch rows computed"]) -> Float[Tensor, "batch rows computed"]:
    """Over the last axis. On a CPU torch takes a short one number by number; as columns it is five times faster.

    Example:
        >>> softmax(torch.zeros(1, 1, 4)).tolist()
        [[[0.25, 0.25, 0.25, 0.25]]]
    """
    if logits.shape[-1] >= SHORT or logits.device.type != "cpu" or torch.compiler.is_compiling():
        return logits.softmax(-1)
    return logits.flatten(0, 1).t().contiguous().softmax(0).t().contiguous().view(logits.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax:
    """A softmax over the visible experts: ``g_r(x) = softmax((W_r x) / temperature)``.

    Paper: Ma et al., KDD 2018, equation 7, https://doi.org/10.1145/3219819.3220007

    Args:
        bias: Gates with a bias, as some implementations have; the papers have none.
        temperature: Above 1 evens the weights out, below 1 sharpens them.
        dropout: Chance that a weight is zeroed in training, each for itself; the others are scaled up.
        expert_dropout: Chance that an expert is absent for all rows and gates of a training step.
        load_balance: Factor of the squared coefficient of variation of the experts' mean weights, added to the loss.
    """

    use: ClassVar[str] = "softmax"
    bias: bool = False
    temperature: float = 1.0
    dropout: float = 0.0
    expert_dropout: float = 0.0
    load_balance: float = 0.0

    def build(self, visible: Bool[Tensor, "rows experts"], in_features: int) -> SoftmaxGates:
        """Gates with these options."""
        spread = GateSpread(self.dropout, self.expert_dropout, self.load_balance)
        return SoftmaxGates(visible, in_features, bias=self.bias, temperature=self.temperature, spread=spread)
