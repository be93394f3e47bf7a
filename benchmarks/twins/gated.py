"""The gated family: from Shared-Bottom to PLE and AdaTT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.twins.parts import Output, linear, mixture, no_twin, own, perceptrons
from polytask.sharing.adatt import OwnResidual
from polytask.sharing.gated import Gated, GatedLayer
from polytask.sharing.gates.base import Gates, GateSpread
from polytask.sharing.gates.softmax import SoftmaxGates


class LoopLevel(nn.Module):
    """One gated layer as module lists."""

    def __init__(self, layer: GatedLayer) -> None:
        super().__init__()
        self.experts = perceptrons(layer.experts)
        self.gates = nn.ModuleList()
        self.seen = _seen(layer)
        self.streams = layer.stream_index.tolist()
        self.on_input = layer.input_gates is not None
        self.fusion_shares: list[list[float]] | None = None
        if layer.summed is not None and layer.divisors is not None:
            self.fusion_shares = (layer.summed / layer.divisors).tolist()
        self.own: list[list[int]] = [[] for _ in self.seen]
        self.residuals = nn.ParameterList()
        if layer.gates is not None:
            check_gates(layer.gates)
            for row, seen in enumerate(self.seen):
                self.gates.append(linear(layer.gates.weight[row, seen], None))  # type: ignore[index]
            residual = layer.gates.residual
            if isinstance(residual, OwnResidual):
                self.own = [row.nonzero().flatten().tolist() for row in residual.own]
                if residual.weight is not None:
                    pairs = zip(residual.weight, self.own, strict=True)
                    self.residuals.extend([own(row[experts]) for row, experts in pairs])

    def forward(self, streams: list[Tensor], x: Tensor) -> list[Tensor]:
        """All rows, one after another."""
        outputs = [expert(streams[self.streams[number]]) for number, expert in enumerate(self.experts)]
        stacks: dict[tuple[int, ...], Tensor] = {}  # rows that see the same experts stack them once
        rows: list[Tensor] = []
        for row, seen in enumerate(self.seen):
            if self.gates:
                key = tuple(seen)
                if key not in stacks:
                    stacks[key] = torch.stack([outputs[expert] for expert in seen])
                read = x if self.on_input else streams[self.streams[len(outputs) + row]]
                mixed = mixture(torch.softmax(self.gates[row](read), 1), stacks[key])
                factors = self.residuals[row].unbind() if len(self.residuals) else [1.0] * len(self.own[row])
                for factor, expert in zip(factors, self.own[row], strict=True):
                    mixed = mixed + factor * outputs[expert]
                rows.append(mixed)
            elif self.fusion_shares is not None:
                shares = self.fusion_shares[row]
                rows.append(torch.stack([shares[expert] * outputs[expert] for expert in seen]).sum(0))
            else:
                rows.append(torch.cat([outputs[expert] for expert in seen], 1))
        return rows


class Loop(nn.Module):
    """A gated architecture as module lists."""

    def __init__(self, sharing: Gated) -> None:
        super().__init__()
        self.levels = nn.ModuleList(LoopLevel(layer) for layer in sharing.layers)
        self.streams = 1 + max(max(layer.stream_index.tolist()) for layer in sharing.layers)
        index = sharing.task_index
        self.rows: list[int] = list(range(sharing.tasks)) if index is None else index.tolist()

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]``."""
        rows = [x] * self.streams
        for level in self.levels:
            rows = level(rows, x)
        width = max(row.shape[1] for row in rows)
        rows = [row if row.shape[1] == width else nn.functional.pad(row, (0, width - row.shape[1])) for row in rows]
        return torch.stack([rows[row] for row in self.rows]), None


def check_gates(gates: Gates) -> None:
    """Raises where gates are not the papers' softmax."""
    plain = isinstance(gates, SoftmaxGates) and gates.temperature == 1.0 and gates.bias is None
    if not plain or gates.spread != GateSpread():
        raise no_twin("a gate with options")


def _seen(layer: GatedLayer) -> list[list[int]]:
    if layer.gates is not None:
        return [row.nonzero().flatten().tolist() for row in layer.gates.visible]
    if layer.summed is not None:
        return [row.nonzero().flatten().tolist() for row in layer.summed]
    experts = layer.experts.experts
    if layer.taken is None:
        return [[expert] for expert in range(experts)]
    return [[expert for expert in row if expert < experts] for row in layer.taken.tolist()]
