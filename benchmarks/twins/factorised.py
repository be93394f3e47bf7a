"""Networks of tasks whose parameters are factorised, or pulled together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.twins.gated import Loop
from benchmarks.twins.parts import Output, own
from polytask.sharing.gated import Gated
from polytask.sharing.penalties.attached import Penalised
from polytask.sharing.tensor_factorisation import FactorisedLayer, TensorFactorisation


class FactorisedLayerLoop(nn.Module):
    """One layer: the basis once, then every task's matrix and product."""

    def __init__(self, layer: FactorisedLayer) -> None:
        super().__init__()
        self.core = nn.ParameterList(own(slice_) for slice_ in layer.core)
        self.inside, self.outside = own(layer.inside), own(layer.outside)
        self.mixing = nn.ParameterList(own(row) for row in layer.mixing)
        self.bias = nn.ParameterList(own(row) for row in layer.bias)

    def forward(self, rows: list[Tensor]) -> list[Tensor]:
        """Every task's row through its own matrix."""
        basis = torch.stack([self.outside @ core @ self.inside.t() for core in self.core])
        made = []
        for row, mixing, bias in zip(rows, self.mixing, self.bias, strict=True):
            made.append(functional.linear(row, torch.tensordot(mixing, basis, 1), bias).relu())
        return made


class FactorisedLoop(nn.Module):
    """Tensor factorisation, task by task."""

    def __init__(self, sharing: TensorFactorisation) -> None:
        super().__init__()
        self.tasks = sharing.tasks
        self.layers = nn.ModuleList(FactorisedLayerLoop(layer) for layer, _ in sharing.steps)

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]``."""
        rows = [x] * self.tasks
        for layer in self.layers:
            rows = layer(rows)
        return torch.stack(rows), None


class PulledLoop(nn.Module):
    """One network per task, and their squared distances: T times those from the mean, which is the sum over pairs."""

    def __init__(self, sharing: Penalised) -> None:
        super().__init__()
        assert isinstance(sharing.inner, Gated)
        self.alpha: float = sharing.penalty.penalty.weight
        self.networks = Loop(sharing.inner)

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]`` and the penalty."""
        experts = self.networks.levels[0].experts
        assert isinstance(experts, nn.ModuleList)
        total = torch.zeros(())
        for same in zip(*(expert.parameters() for expert in experts), strict=True):
            mean = torch.stack(same).sum(0) / len(same)
            for one in same:
                total = total + (one - mean).square().sum()
        return self.networks(x)[0], self.alpha * len(experts) * total
