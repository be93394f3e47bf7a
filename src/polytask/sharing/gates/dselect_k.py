"""DSelect-k: a gate that selects at most k experts and still has a gradient (Hazimeh et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.errors import raise_errors
from polytask.options import in_range
from polytask.sharing.gates.base import Gates, GateSpread, mean


def smooth_step(t: Float[Tensor, "*any"], gamma: float) -> Float[Tensor, "*any"]:
    """0 below ``-gamma/2``, 1 above ``gamma/2``, between them ``1/2 + 3t/(2 gamma) - 2 t^3 / gamma^3``.

    Example:
        >>> smooth_step(torch.tensor([-1.0, 0.0, 1.0]), 1.0).tolist()
        [0.0, 0.5, 1.0]
    """
    t = t.clamp(-gamma / 2, gamma / 2)
    return 0.5 + 1.5 * t / gamma - 2.0 * t**3 / gamma**3


class DSelectKGates(Gates):
    """``g_r = sum_i softmax(a)_i s(z_i)`` with k selectors ``s(z_i)`` over binary codes of the experts.

    Selector ``i`` holds ``m = ceil(log2 E)`` bits ``S(z_ij)``, S the smooth step; it gives expert ``e`` the product
    over ``j`` of ``S(z_ij)`` where bit ``j`` of ``e`` is 1 and of ``1 - S(z_ij)`` where it is 0. When all bits have
    become 0 or 1, each selector picks one expert.

    Args:
        visible: Which row sees which expert, R rows by E experts. Only a row's visible experts have codes.
        in_features: Width of what the gates read, D.
        k: Selectors per row.
        gamma: Width of the smooth step.
        entropy: Factor of the selectors' entropy, which drives them to single experts.
        static: Logits that do not depend on the input.
        spread: What keeps gates from leaning on few experts.

    Shape:
        Logits ``[B, R, k (m + 1)] -> [B, R, E]``. Weights sum to 1, less what selectors give to codes of no expert
        (where the number of experts is no power of two; a penalty keeps that share small).
    """

    code: Bool[Tensor, "rows experts bits"]

    def __init__(
        self,
        visible: Bool[Tensor, "rows experts"],
        in_features: int,
        *,
        k: int = 2,
        gamma: float = 1.0,
        entropy: float = 1e-6,
        static: bool = False,
        spread: GateSpread | None = None,
    ) -> None:
        problems = in_range(k, least=1, where="gate.k") + in_range(gamma, above=0, where="gate.gamma")
        raise_errors([*problems, *in_range(entropy, least=0, where="gate.entropy")])
        self.bits = max(1, (int(visible.sum(1).max()) - 1).bit_length())
        self.k, self.gamma, self.entropy = k, gamma, entropy
        columns = k * (self.bits + 1)
        super().__init__(visible, columns, None if static else in_features, bias=True, spread=spread or GateSpread())
        number = visible.cumsum(1) - 1
        code = (number.unsqueeze(-1) >> torch.arange(self.bits)) & 1
        self.register_buffer("code", code.bool(), persistent=False)
        self.whole = bool((visible.sum(1) == 2**self.bits).all())
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -gamma / 100, gamma / 100)

    def weigh(
        self, logits: Float[Tensor, "batch rows columns"]
    ) -> tuple[Float[Tensor, "batch rows experts"], Float[Tensor, ""] | None]:
        """The mixture of the selectors, and the penalty that makes them choose."""
        z, a = torch.split(logits, [self.k * self.bits, self.k], -1)
        bits = smooth_step(z.reshape(*z.shape[:-1], self.k, self.bits), self.gamma)
        on = bits.unsqueeze(-2)
        selected = torch.where(self.code.unsqueeze(1), on, 1.0 - on).prod(-1)
        selected = selected * self.visible.unsqueeze(1)
        weights = (a.softmax(-1).unsqueeze(-1) * selected).sum(-2)
        return weights, self._penalty(selected) if self.training else None

    def _penalty(self, selected: Float[Tensor, "batch rows k experts"]) -> Float[Tensor, ""]:
        """``entropy * (sum of the selectors' entropies + sum_i 1 / (mass of selector i on experts that exist))``."""
        tiny = torch.finfo(selected.dtype).tiny
        penalty = -(selected * selected.clamp(min=tiny).log()).sum((1, 2, 3))
        if not self.whole:
            penalty = penalty + (1.0 / selected.sum(-1).clamp(min=1e-6)).sum((1, 2))
        return self.entropy * mean(penalty)


@dataclass(frozen=True, slots=True, kw_only=True)
class DSelectK:
    """At most k experts per row, chosen by smooth binary codes: sparse in the end, differentiable all the way.

    Paper: Hazimeh et al., "DSelect-k: Differentiable Selection in the Mixture of Experts with Applications to
    Multi-Task Learning", NeurIPS 2021, https://arxiv.org/abs/2106.03760

    Args:
        k: Experts that a row may end up with.
        gamma: Width of the smooth step; larger ones take longer to decide.
        entropy: Factor of the selectors' entropy (and of the mass on codes of no expert), added to the loss.
        static: One choice for all inputs instead of one per example.
        dropout: Chance that a weight is zeroed in training, each for itself; the others are scaled up.
        expert_dropout: Chance that an expert is absent for all rows and gates of a training step.
        load_balance: Factor of the squared coefficient of variation of the experts' mean weights, added to the loss.
    """

    use: ClassVar[str] = "dselect_k"
    k: int = 2
    gamma: float = 1.0
    entropy: float = 1e-6
    static: bool = False
    dropout: float = 0.0
    expert_dropout: float = 0.0
    load_balance: float = 0.0

    def build(self, visible: Bool[Tensor, "rows experts"], in_features: int) -> DSelectKGates:
        """Gates with these options."""
        spread = GateSpread(self.dropout, self.expert_dropout, self.load_balance)
        return DSelectKGates(
            visible, in_features, k=self.k, gamma=self.gamma, entropy=self.entropy, static=self.static, spread=spread
        )
