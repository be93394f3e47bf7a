"""HoME: categories below tasks, feature gates and self gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.twins.parts import Output, linear, mixture, perceptrons
from polytask.sharing.home import Hierarchy
from polytask.sharing.home_level import FeatureGates, GroupedExperts, SelfGates


class FeatureGateLoop(nn.Module):
    """The feature gate of one group: a softmax over low-rank maps."""

    def __init__(self, gates: FeatureGates, group: int) -> None:
        super().__init__()
        rank = gates.rank
        self.choice = linear(gates.choice[group], None)
        self.maps = nn.ModuleList(
            nn.Sequential(
                linear(gates.down[group, number * rank : (number + 1) * rank], None),
                linear(gates.up[group * gates.loras + number], None),
                nn.Sigmoid(),
            )
            for number in range(gates.loras)
        )

    def forward(self, v: Tensor) -> Tensor:
        """The scaled input."""
        shares = self.choice(v).softmax(1)
        factors = [shares[:, [number]] * (2.0 * low_rank(v)) for number, low_rank in enumerate(self.maps)]
        return v * torch.stack(factors).sum(0)


class GroupLoop(nn.Module):
    """One group: a feature gate and its experts."""

    def __init__(self, level: GroupedExperts, group: int, per: int) -> None:
        super().__init__()
        self.feature = FeatureGateLoop(level.features, group)
        self.experts = perceptrons(level.experts, range(group * per, (group + 1) * per))

    def forward(self, v: Tensor) -> list[Tensor]:
        """The outputs of its experts."""
        read = self.feature(v)
        return [expert(read) for expert in self.experts]


class SelfGateLoop(nn.Module):
    """One gate over what a row sees, and one over its own experts."""

    def __init__(self, gates: SelfGates, row: int) -> None:
        super().__init__()
        self.seen: list[int] = gates.visible[row].nonzero().flatten().tolist()
        self.own: list[int] = gates.own[row].tolist()
        experts = gates.visible.shape[1]
        self.over_all = linear(gates.weight[row, self.seen], None)
        self.over_own = linear(gates.weight[row, experts:], None)

    def forward(self, asked: Tensor, values: list[Tensor]) -> Tensor:
        """The weighted sum; own experts count twice."""
        mixed = mixture(self.over_all(asked).softmax(1), torch.stack([values[expert] for expert in self.seen]))
        extra = self.over_own(asked)
        extra = extra.sigmoid() if len(self.own) == 1 else extra.softmax(1)
        return mixed + mixture(extra, torch.stack([values[expert] for expert in self.own]))


class HierarchyLoop(nn.Module):
    """HoME as module lists."""

    def __init__(self, sharing: Hierarchy) -> None:
        super().__init__()
        self.categories = count = sharing.categories
        self.streams: list[int] = sharing.readers[: -2 * sharing.tasks].tolist()
        self.category: list[int] = sharing.readers[-2 * sharing.tasks : -sharing.tasks].tolist()
        per = sharing.lower.experts.experts // (count + 1)
        self.lower = nn.ModuleList(GroupLoop(sharing.lower, group, per) for group in range(count + 1))
        self.upper = nn.ModuleList(GroupLoop(sharing.upper, group, per) for group in range(len(self.streams)))
        self.lower_gates = nn.ModuleList(SelfGateLoop(sharing.lower_gates, row) for row in range(count + 1))
        self.upper_gates = nn.ModuleList(SelfGateLoop(sharing.upper_gates, row) for row in range(sharing.tasks))

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]``."""
        values = [value for group in self.lower for value in group(x)]
        states = [gate(x, values) for gate in self.lower_gates]
        pairs = zip(self.upper, self.streams, strict=True)
        values = [value for group, stream in pairs for value in group(states[stream])]
        asked = [torch.cat([states[category], states[-1]], 1) for category in range(self.categories)]
        gates = zip(self.upper_gates, self.category, strict=True)
        return torch.stack([gate(asked[category], values) for gate, category in gates]), None
