"""SNR: levels of sub-networks, a matrix and a switch per connection."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from benchmarks.twins.parts import Output, linear, own, perceptrons
from polytask.sharing.snr import BETA, GAMMA, ZETA, Routed, Routing


class RoutedLoop(nn.Module):
    """SNR-Trans or SNR-Aver as module lists."""

    def __init__(self, sharing: Routed) -> None:
        super().__init__()
        self.l0 = sharing.l0
        self.banks = nn.ModuleList(perceptrons(bank) for bank, _ in sharing.levels)
        self.log_alpha = nn.ParameterList(own(routing.switches.log_alpha) for _, routing in sharing.levels)
        self.rows = nn.ModuleList(nn.ModuleList(_connections(routing)) for _, routing in sharing.levels)

    def forward(self, x: Tensor) -> Output:
        """``[B, D] -> [T, B, H]``."""
        reads: list[Tensor] | None = None
        open_ones = torch.zeros(())
        for bank, log_alpha, rows in zip(self.banks, self.log_alpha, self.rows, strict=True):
            assert isinstance(bank, nn.ModuleList)
            assert isinstance(rows, nn.ModuleList)
            values = [expert(x if reads is None else reads[number]) for number, expert in enumerate(bank)]
            switches = self.switches(log_alpha)
            open_ones = open_ones + (log_alpha - BETA * math.log(-GAMMA / ZETA)).sigmoid().sum()
            reads = [row(own, values) for row, own in zip(rows, switches.unbind(), strict=True)]
        assert reads is not None
        return torch.stack(reads), self.l0 * open_ones if self.training and self.l0 > 0 else None

    def switches(self, log_alpha: Tensor) -> Tensor:
        """The hard-concrete variables of one level."""
        if self.training:
            eps = torch.finfo(log_alpha.dtype).eps
            u = torch.rand_like(log_alpha).clamp(eps, 1.0 - eps)
            log_alpha = (u.logit() + log_alpha) / BETA
        return (log_alpha.sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)


class RowLoop(nn.Module):
    """One row: every sub-network through its matrix, if there is one, and its switch."""

    def __init__(self, matrices: Iterable[nn.Module]) -> None:
        super().__init__()
        self.connections = nn.ModuleList(matrices)

    def forward(self, switches: Tensor, values: list[Tensor]) -> Tensor:
        """``[B, H]``."""
        total: Tensor | None = None
        for connection, switch, value in zip(self.connections, switches.unbind(), values, strict=True):
            term = connection(value)
            total = switch * term if total is None else torch.addcmul(total, switch, term)
        assert total is not None
        return total


def _connections(routing: Routing) -> list[RowLoop]:
    if routing.weight is None:
        rows, sources = routing.switches.log_alpha.shape
        return [RowLoop(nn.Identity() for _ in range(sources)) for _ in range(rows)]
    return [RowLoop(linear(matrix, None) for matrix in row) for row in routing.weight]
