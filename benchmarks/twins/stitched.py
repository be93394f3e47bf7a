"""Cross-stitch and sluice networks: layer by layer, every row a sum over all streams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.twins.parts import Output, layers, own
from polytask.sharing.stitch import Stitched


class StitchedLoop(nn.Module):
    """One network per task, and what their layers exchange."""

    def __init__(self, sharing: Stitched) -> None:
        super().__init__()
        self.tasks, self.subspaces = sharing.tasks, sharing.subspaces
        self.penalty = sharing.penalty if sharing.subspaces > 1 else 0.0
        self.networks = nn.ModuleList(nn.ModuleList(layers(sharing.networks, task)) for task in range(sharing.tasks))
        self.factors = nn.ModuleList(nn.ParameterList(own(row) for row in unit.weight) for unit in sharing.units)
        self.mixing = nn.ParameterList() if sharing.mixing is None else own_rows(sharing.mixing.weight)

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]``."""
        rows = [x] * self.tasks
        found: list[list[Tensor]] = []
        for number in range(len(self.networks[0])):  # type: ignore[arg-type]
            rows = [network[number](row) for network, row in zip(self.networks, rows, strict=True)]  # type: ignore[index]
            if number < len(self.factors):
                rows = self.stitched(self.factors[number], rows)  # type: ignore[arg-type]
            found.append(rows)
        if len(self.mixing):
            weights = [row.unbind() for row in self.mixing]
            rows = [
                torch.stack([weight * layer[task] for weight, layer in zip(weights[task], found, strict=True)]).sum(0)
                for task in range(self.tasks)
            ]
        return torch.stack(rows), self.orthogonality() if self.penalty else None

    def stitched(self, factors: nn.ParameterList, rows: list[Tensor]) -> list[Tensor]:
        """Row after row; the streams are stacked once."""
        streams = torch.stack([part for row in rows for part in row.chunk(self.subspaces, 1)])
        made = [self.combined(row, streams) for row in factors]
        if self.subspaces == 1:
            return made
        count = self.subspaces
        return [torch.cat(made[task * count : (task + 1) * count], 1) for task in range(self.tasks)]

    @staticmethod
    def combined(factors: Tensor, streams: Tensor) -> Tensor:
        """All streams, each times its factor: one for all of its units, or one per unit."""
        if factors.shape[1] == 1:
            return (factors.t() @ streams.flatten(1)).view(streams.shape[1:])
        return (factors.unsqueeze(1) * streams).sum(0)

    def orthogonality(self) -> Tensor:
        """What keeps the subspaces of a layer apart."""
        total = torch.zeros(())
        for network in self.networks:
            for layer in network:  # type: ignore[attr-defined]
                parts = layer[0].weight.chunk(self.subspaces)
                for k in range(1, self.subspaces):
                    for g in range(k):
                        total = total + (parts[g] @ parts[k].t()).square().sum()
        return self.penalty * total


def own_rows(weight: Tensor) -> nn.ParameterList:
    """One parameter per row."""
    return nn.ParameterList(own(row) for row in weight)
