"""A list of embeddings per row to one vector: pooled, or weighed against what the row asks for."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.types import Ragged


def pool(
    table: Float[Tensor, "rows width"], ragged: Ragged, *, mode: str, sparse: bool
) -> Float[Tensor, "batch width"]:
    """Mean or sum of the embeddings of each row's items; zeros for an empty list.

    Example:
        >>> ragged = Ragged(torch.tensor([0, 1]), torch.tensor([0, 2, 2]))
        >>> pool(torch.tensor([[1.0], [3.0]]), ragged, mode="mean", sparse=False).tolist()
        [[2.0], [0.0]]
    """
    values, offsets = ragged.values.long(), ragged.offsets.long()
    return F.embedding_bag(values, table, offsets, mode=mode, sparse=sparse, include_last_offset=True)


class TargetAttention(nn.Module):
    """Weighs each item by how it relates to the row's target: the local activation unit of DIN.

    ``out_b = sum_i a(e_i, t_b) e_i`` with ``a = MLP([e, t, e - t, e * t])``; the weights are not normalised (as in the
    paper), so that the strength of an interest survives.

    Paper: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, equation 3,
    https://arxiv.org/abs/1706.06978

    Args:
        width: Width of items and target.
        hidden: Width of the hidden layer.

    Shape:
        items ``[N, width]`` with row numbers ``[N]``, target ``[B, width]`` -> ``[B, width]``

    Example:
        >>> unit = TargetAttention(4)
        >>> unit(torch.zeros(3, 4), torch.tensor([0, 0, 1]), torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, width: int, hidden: int = 36) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(4 * width, hidden), nn.PReLU(), nn.Linear(hidden, 1))

    def forward(
        self, items: Float[Tensor, "n width"], rows: Int[Tensor, "n"], target: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch width"]:
        """The weighted sum of each row's items."""
        asked = target[rows]
        weights = self.score(torch.cat([items, asked, items - asked, items * asked], 1))
        return torch.zeros_like(target).index_add(0, rows, weights * items)
