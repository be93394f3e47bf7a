"""What every gate is: a map from logits to one weight per row and visible expert."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polytask.errors import Problem, UserError, raise_errors
from polytask.options import in_range


@dataclass(frozen=True, slots=True)
class GateSpread:
    """What keeps gates from leaning on few experts; both kinds of dropout work in training only.

    Attributes:
        dropout: Chance that a row's weight of an expert is zeroed, each for itself; the others are scaled up to the
            same sum (Zhao et al., RecSys 2019: 0.1 ended the polarisation that a fifth of their runs had).
        expert_dropout: Chance that an expert is absent for all rows and gates of a step.
        load_balance: Factor of the squared coefficient of variation of the experts' mean weights, summed over gates
            (Shazeer et al., ICLR 2017, equation 7).
    """

    dropout: float = 0.0
    expert_dropout: float = 0.0
    load_balance: float = 0.0

    def check(self) -> None:
        """Raises `UserError` if a number is out of range."""
        problems = in_range(self.dropout, least=0, below=1, where="gate.dropout")
        problems += in_range(self.expert_dropout, least=0, below=1, where="gate.expert_dropout")
        raise_errors([*problems, *in_range(self.load_balance, least=0, where="gate.load_balance")])

    def drop(self, weights: Float[Tensor, "batch rows experts"]) -> Float[Tensor, "batch rows experts"]:
        """Zeroes weights by chance and gives the rest the sum that all had; a gate that lost everything is left."""
        if self.dropout == 0.0 and self.expert_dropout == 0.0:
            return weights
        kept = torch.rand_like(weights) >= self.dropout
        kept = kept & (torch.rand_like(weights[:1, :1]) >= self.expert_dropout)
        left = weights * kept
        total, before = left.sum(-1, keepdim=True), weights.sum(-1, keepdim=True)
        return torch.where(total > 0, left * (before / total.clamp(min=torch.finfo(weights.dtype).tiny)), weights)

    def penalty(
        self, weights: Float[Tensor, "batch rows experts"], visible: Bool[Tensor, "rows experts"]
    ) -> Float[Tensor, ""] | None:
        """``load_balance * sum_r var_e(m[r, e]) / mean_e(m[r, e])^2`` over visible experts; m: mean over the batch."""
        if self.load_balance == 0.0:
            return None
        average, count = mean(weights), visible.sum(1)
        centre = average.sum(1) / count
        spread = (torch.where(visible, average - centre.unsqueeze(1), 0.0) ** 2).sum(1) / count
        return self.load_balance * (spread / (centre**2).clamp(min=torch.finfo(average.dtype).tiny)).sum()


def mean(values: Float[Tensor, "batch *rest"]) -> Float[Tensor, "*rest"]:
    """The mean over the batch, 0 for a batch of no rows; the number of rows may be symbolic.

    Example:
        >>> mean(torch.ones(0, 2)).tolist(), mean(torch.ones(3, 2)).tolist()
        ([0.0, 0.0], [1.0, 1.0])
    """
    return values.sum(0) / torch.ones_like(values).sum(0).clamp(min=1.0)


class Gates(nn.Module, ABC):
    """One gate per row over the experts that the row may see, as a function of the input.

    Args:
        visible: Which row sees which expert, R rows by E experts.
        columns: Logits per row, C.
        in_features: Width of what the gates read, D; None: they read nothing and learn their logits.
        bias: Whether the logits have a bias.
        spread: What keeps them from leaning on few experts.

    Attributes:
        taken: Which of its logits each row computes; None: all of them.
        residual: Gives weights ``[R, E]`` that are added whatever the input is; None by default.

    Shape:
        Logits ``[B, R, C] -> [B, R, E]``; parameters ``weight [R, C, D]`` and ``bias [R, C]``, either may be missing.

    Raises:
        UserError: If a row sees no expert or a number is out of range.
    """

    visible: Bool[Tensor, "rows experts"]
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    residual: nn.Module | None
    taken: Int[Tensor, "rows computed"] | None

    def __init__(
        self,
        visible: Bool[Tensor, "rows experts"],
        columns: int,
        in_features: int | None,
        *,
        bias: bool,
        spread: GateSpread,
    ) -> None:
        super().__init__()
        blind = [row for row, seen in enumerate(visible.any(1).tolist()) if not seen]
        if blind:
            raise UserError(Problem("visible", f"rows {blind} see no expert", "let every row see at least one"))
        spread.check()
        self.rows, self.columns, self.spread = visible.shape[0], columns, spread
        self.register_buffer("visible", visible, persistent=False)
        self.weight = self.bias = self.residual = None
        self.register_buffer("taken", None, persistent=False)
        if in_features is not None:
            self.weight = nn.Parameter(torch.empty(self.rows, columns, in_features))
            bound = 1.0 / math.sqrt(max(in_features, 1))
            nn.init.uniform_(self.weight, -bound, bound)
        if bias:
            self.bias = nn.Parameter(torch.zeros(self.rows, columns))

    @property
    def computed(self) -> int:
        """Logits per row that are computed."""
        return self.columns if self.taken is None else self.taken.shape[1]

    def read(self) -> Float[Tensor, "rows computed width"] | None:
        """The matrices of the logits that are computed; None where gates read nothing."""
        if self.weight is None or self.taken is None:
            return self.weight
        return self.weight.gather(1, self.taken.unsqueeze(2).expand(-1, -1, self.weight.shape[2]))

    def forward(
        self, logits: Float[Tensor, "batch rows columns"]
    ) -> tuple[Float[Tensor, "batch rows experts"], Float[Tensor, ""] | None]:
        """From ``W_r x`` (zeros where gates read nothing) to the experts' weights, and a penalty in training."""
        if self.bias is not None:
            logits = logits + (self.bias if self.taken is None else self.bias.gather(1, self.taken))
        weights, penalty = self.weigh(logits)
        if self.training:
            balance = self.spread.penalty(weights, self.visible)
            if balance is not None:
                penalty = balance if penalty is None else penalty + balance
            weights = self.spread.drop(weights)
        if self.residual is not None:
            weights = weights + self.residual()
        return weights, penalty if self.training else None

    @abstractmethod
    def weigh(
        self, logits: Float[Tensor, "batch rows columns"]
    ) -> tuple[Float[Tensor, "batch rows experts"], Float[Tensor, ""] | None]:
        """The weights; invisible experts get exactly 0."""
