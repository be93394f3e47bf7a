"""STEM: every task reads all experts and trains some."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.twins.gated import check_gates
from benchmarks.twins.parts import Output, linear, mixture, perceptrons
from polytask.sharing.stem import Stem, StemLevel


class StemLevelLoop(nn.Module):
    """One level as module lists."""

    def __init__(self, level: StemLevel) -> None:
        super().__init__()
        check_gates(level.gates)
        experts, rows = level.experts.experts, level.gates.rows
        sources = level.sources.tolist()
        self.streams, self.asked, self.common = sources[:experts], sources[experts : experts + rows], sources[-1]
        self.tasks = level.tasks
        self.trains: list[list[bool]] = level.trains.bool().tolist()
        self.experts = perceptrons(level.experts)
        self.gates = nn.ModuleList(linear(weight, None) for weight in level.gates.weight)  # type: ignore[union-attr]

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        """All rows."""
        values = [expert(streams[stream]) for expert, stream in zip(self.experts, self.streams, strict=True)]
        fixed = [value.detach() for value in values]
        rows = []
        for row, (gate, trains) in enumerate(zip(self.gates, self.trains, strict=True)):
            asked = streams[self.asked[row]]
            if row < self.tasks:
                asked = asked + streams[self.common]
            chosen = [values[expert] if mine else fixed[expert] for expert, mine in enumerate(trains)]
            rows.append(mixture(gate(asked).softmax(1), torch.stack(chosen)))
        return rows


class StemLoop(nn.Module):
    """STEM as module lists."""

    def __init__(self, sharing: Stem) -> None:
        super().__init__()
        self.streams = sharing.streams
        self.levels = nn.ModuleList(StemLevelLoop(level) for level in sharing.levels)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Output:
        """``[B, S * D] -> [T, B, H]``."""
        rows = list(x.chunk(self.streams, 1))
        for level in self.levels:
            rows = level(rows)
        return torch.stack(rows), None
