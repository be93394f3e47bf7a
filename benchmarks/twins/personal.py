"""POSO and PEPNet: gates of a person or a group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.twins.parts import Output, layers, linear, mixture, perceptrons
from polytask.sharing.pepnet import GateUnit, PersonalTowers
from polytask.sharing.poso import PersonalMixture


class PersonalMixtureLoop(nn.Module):
    """POSO as module lists."""

    def __init__(self, sharing: PersonalMixture) -> None:
        super().__init__()
        self.scale, self.prior = sharing.scale, sharing.prior
        self.experts = perceptrons(sharing.experts)
        self.gates = nn.ModuleList(
            linear(weight, bias) for weight, bias in zip(sharing.gates.weight, sharing.gates.bias, strict=True)
        )

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]``."""
        values = torch.stack([expert(x) for expert in self.experts])
        prior = self.prior(x)
        return torch.stack([mixture(self.scale * gate(prior).sigmoid(), values) for gate in self.gates]), None


class GateUnitLoop(nn.Module):
    """One hidden layer, and one linear layer per task."""

    def __init__(self, unit: GateUnit) -> None:
        super().__init__()
        self.hidden = nn.Sequential(linear(unit.hidden.weight[0], unit.hidden.bias[0]), nn.ReLU())
        self.out = nn.ModuleList(
            linear(weight, bias) for weight, bias in zip(unit.out.weight, unit.out.bias, strict=True)
        )

    def forward(self, known: Tensor) -> list[Tensor]:
        """The factors of every task."""
        hidden = self.hidden(known)
        return [2.0 * layer(hidden).sigmoid() for layer in self.out]


class PersonalTowersLoop(nn.Module):
    """PEPNet as module lists."""

    def __init__(self, sharing: PersonalTowers) -> None:
        super().__init__()
        self.prior, self.tasks = sharing.prior, sharing.tasks
        self.input_gate = GateUnitLoop(sharing.input_gate)
        self.units = nn.ModuleList(GateUnitLoop(unit) for unit in sharing.units)
        self.networks = nn.ModuleList(nn.ModuleList(layers(sharing.networks, task)) for task in range(sharing.tasks))

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]``."""
        prior = self.prior(x)
        known = x if self.prior.index is None else torch.cat([prior, x.detach()], 1)
        x = x * self.input_gate(known)[0]
        known = torch.cat([prior, x.detach()], 1)
        rows = [x] * self.tasks
        for number, unit in enumerate(self.units):
            factors = unit(known)
            rows = [network[number](rows[task]) * factors[task] for task, network in enumerate(self.networks)]  # type: ignore[index]
        return torch.stack(rows), None
