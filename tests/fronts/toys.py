"""Problems with known fronts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Point(nn.Module):
    """The parameters are the point."""

    def __init__(self, start: list[float]) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start, dtype=torch.float64))


def concave(x: Tensor) -> list[Tensor]:
    """``1 - exp(-||x -+ 1 / sqrt(n)||^2)``: a concave front (Fonseca and Fleming 1995; Lin et al. 2019)."""
    shift = 1.0 / len(x) ** 0.5
    return [1.0 - (-(x - shift).square().sum()).exp(), 1.0 - (-(x + shift).square().sum()).exp()]


def concave_front(count: int) -> Tensor:
    """Points of it: on the line between the centres, which are 2 apart."""
    distance = torch.linspace(0.0, 2.0, count, dtype=torch.float64)
    return torch.stack([1 - (-(distance**2)).exp(), 1 - (-((2 - distance) ** 2)).exp()], 1)


def convex(x: Tensor) -> list[Tensor]:
    """``||x - e_t||^2`` for as many tasks as x has numbers; linear weights p end at x = p."""
    return [(x - corner).square().sum() for corner in torch.eye(len(x), dtype=x.dtype)]


def convex_at(points: Tensor) -> Tensor:
    """Its losses where x = p: the front, for all p of the simplex."""
    return torch.stack(
        [(points - corner).square().sum(1) for corner in torch.eye(points.shape[1], dtype=points.dtype)], 1
    )
