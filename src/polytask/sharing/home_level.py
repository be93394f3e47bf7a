"""The level of HoME: groups of experts with feature gates below them and self gates beside the mixing ones."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polytask.sharing.experts import Experts
from polytask.stack import bound_of


class FeatureGates(nn.Module):
    """Every group of experts scales the units of its input: ``v * sum_l softmax(C v)_l 2 sigmoid(A_l B_l v)``.

    Args:
        groups: Number of groups, G.
        width: Of the input, D.
        loras: Low-rank maps per group, L, each of rank D / L.

    Shape:
        ``[G, B, D] -> [G, B, D]``; parameters ``down [G, L r, D]``, ``up [G L, D, r]`` and ``choice [G, L, D]``.

    Example:
        >>> FeatureGates(3, 8, 2)(torch.ones(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, groups: int, width: int, loras: int) -> None:
        super().__init__()
        self.loras, self.rank = loras, max(width // loras, 1)
        inner = loras * self.rank
        self.down = nn.Parameter(torch.empty(groups, inner, width))
        self.up = nn.Parameter(torch.empty(groups * loras, width, self.rank))
        self.choice = nn.Parameter(torch.empty(groups, loras, width))
        for matrix in (self.down, self.up, self.choice):
            bound = bound_of("xavier", matrix.shape[2], matrix.shape[1])
            nn.init.uniform_(matrix, -bound, bound)

    def forward(self, v: Float[Tensor, "groups batch width"]) -> Float[Tensor, "groups batch width"]:
        """The scaled inputs."""
        groups, batch, width = v.shape
        low = torch.bmm(v, self.down.mT).view(groups, batch, self.loras, self.rank)
        low = low.transpose(1, 2).flatten(0, 1)
        factors = 2.0 * torch.bmm(low, self.up.mT).sigmoid().view(groups, self.loras, batch, width)
        share = torch.bmm(v, self.choice.mT).softmax(-1).transpose(1, 2).unsqueeze(-1)
        return v * (share * factors).sum(1)


class SelfGates(nn.Module):
    """Softmax gates over visible experts, plus gates over a row's own experts that do not compete with the others.

    Args:
        visible: Which row sees which expert, R rows by E experts.
        own: The experts of each row's own, N of them.
        in_features: Width of what the gates read, D.

    Shape:
        Logits ``[B, R, E + N] -> [B, R, E]``; parameter ``weight [R, E + N, D]``.

    Example:
        >>> gates = SelfGates(torch.tensor([[True, True, False]]), torch.tensor([[0]]), 4)
        >>> gates(torch.zeros(1, 1, 4)).tolist()
        [[[1.0, 0.5, 0.0]]]
    """

    visible: Bool[Tensor, "rows experts"]
    own: Int[Tensor, "rows own"]

    def __init__(self, visible: Bool[Tensor, "rows experts"], own: Int[Tensor, "rows own"], in_features: int) -> None:
        super().__init__()
        self.register_buffer("visible", visible, persistent=False)
        self.register_buffer("own", own, persistent=False)
        rows, experts = visible.shape
        self.weight = nn.Parameter(torch.empty(rows, experts + own.shape[1], in_features))
        bound = max(in_features, 1) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, logits: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows experts"]:
        """The sum of both kinds of weights."""
        experts, own = self.visible.shape[1], self.own.shape[1]
        mixing, self_gate = torch.split(logits, [experts, own], -1)
        weights = mixing.masked_fill(~self.visible, -torch.inf).softmax(-1)
        added = self_gate.sigmoid() if own == 1 else self_gate.softmax(-1)
        return weights.scatter_add(2, self.own.expand(logits.shape[0], -1, -1), added.to(weights.dtype))


class GroupedExperts(nn.Module):
    """Groups of as many experts each, every group with an input of its own behind a feature gate.

    Args:
        groups: Number of groups, G.
        experts: All experts, G times as many as a group has; those of a group stand side by side.
        loras: Low-rank maps of every feature gate.

    Shape:
        ``[G, B, D] -> [E, B, H]``
    """

    def __init__(self, groups: int, experts: Experts, loras: int) -> None:
        super().__init__()
        self.features = FeatureGates(groups, experts.in_features, loras)
        self.experts = experts

    def forward(self, inputs: Float[Tensor, "groups batch width"]) -> Float[Tensor, "experts batch out"]:
        """The outputs of all experts."""
        groups, batch, width = inputs.shape
        first = self.experts.first
        weight, bias = first.weight.view(groups, -1, width), first.bias.view(groups, 1, -1)
        z = torch.baddbmm(bias, self.features(inputs), weight.mT)
        units = first.bias.shape[1]
        z = z.view(groups, batch, weight.shape[1] // units, units).transpose(1, 2)
        return self.experts.finish(z.flatten(0, 1))
