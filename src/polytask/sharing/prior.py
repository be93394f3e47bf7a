"""Prior features: the columns of the input that gates of a person or a group read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.errors import Problem, raise_errors, suggest


class Prior(nn.Module):
    """The part of the input that some columns make, or all of it.

    Args:
        columns: Names of columns; none: the whole input.
        slices: Which part of the input every column makes; None where that is not known.
        in_features: Width of the input, D.

    Attributes:
        out_features: Width of the part, P.

    Shape:
        ``[B, D] -> [B, P]``

    Raises:
        UserError: If a column makes no part of the input.

    Example:
        >>> Prior(["tab"], {"user": slice(0, 2), "tab": slice(2, 3)}, 3)(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[3.0]]
    """

    index: Int[Tensor, "part"] | None

    def __init__(self, columns: Sequence[str], slices: Mapping[str, slice] | None, in_features: int) -> None:
        super().__init__()
        known = slices or {}
        if columns and not known:
            what = f"{list(columns)} given, but nothing says which part of the input they make"
            raise_errors([Problem("columns", what, "use an encoder that has `slices`, as `table` has, or pass them")])
        raise_errors(
            Problem("columns", f"no column of the input is named '{name}'", suggest(name, list(known)))
            for name in columns
            if name not in known
        )
        every = torch.arange(in_features)
        index = torch.cat([every[known[name]] for name in columns]) if columns else None
        self.register_buffer("index", index, persistent=False)
        self.out_features = in_features if index is None else len(index)

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch part"]:
        """The part; the input itself if it is all of it."""
        return x if self.index is None else x.index_select(1, self.index)
