"""Embeddings of numeric inputs: what stands in for a lone scaled value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PiecewiseLinear(nn.Module):
    """Piecewise-linear encoding: one component per interval between knots, growing from 0 to 1 inside it.

    ``e_k(x) = clamp((x - b_{k-1}) / (b_k - b_{k-1}), 0, 1)``, without the clamp at the outer ends.

    Paper: Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022, equation 1,
    https://arxiv.org/abs/2203.05556

    Args:
        knots: Ascending knots, at least two, in the unit of the input.

    Shape:
        ``[B] -> [B, len(knots) - 1]``

    Example:
        >>> PiecewiseLinear([0.0, 1.0, 3.0])(torch.tensor([0.5, 2.0])).tolist()
        [[0.5, 0.0], [1.0, 0.5]]
    """

    low: Tensor
    width: Tensor

    def __init__(self, knots: Sequence[float]) -> None:
        super().__init__()
        edges = torch.tensor(knots, dtype=torch.float32)
        self.register_buffer("low", edges[:-1], persistent=False)
        self.register_buffer("width", edges.diff(), persistent=False)
        self.out_features = len(knots) - 1

    def forward(self, x: Float[Tensor, "batch"]) -> Float[Tensor, "batch intervals"]:
        """The components."""
        share = (x.unsqueeze(1) - self.low) / self.width
        inner = share.clamp(0.0, 1.0)
        if self.out_features == 1:
            return share
        first, last = share[:, :1].clamp(max=1.0), share[:, -1:].clamp(min=0.0)
        return torch.cat([first, inner[:, 1:-1], last], 1)


class Periodic(nn.Module):
    """Periodic embedding: ``relu(W [sin(2 pi c x), cos(2 pi c x)] + b)`` with learnt frequencies ``c``.

    Paper: Gorishniy et al., NeurIPS 2022, section 3.3, https://arxiv.org/abs/2203.05556

    Args:
        out_features: Width of the embedding.
        frequencies: Number of frequencies.
        scale: Standard deviation of the initial frequencies.

    Shape:
        ``[B] -> [B, out_features]``

    Example:
        >>> Periodic(8)(torch.zeros(5)).shape
        torch.Size([5, 8])
    """

    def __init__(self, out_features: int, *, frequencies: int = 16, scale: float = 0.1) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(frequencies) * scale)
        self.linear = nn.Linear(2 * frequencies, out_features)
        self.out_features = out_features

    def forward(self, x: Float[Tensor, "batch"]) -> Float[Tensor, "batch width"]:
        """The embedding."""
        phase = 2.0 * math.pi * x.unsqueeze(1) * self.frequencies
        return torch.relu(self.linear(torch.cat([phase.sin(), phase.cos()], 1)))
