"""Table rows to one vector: one fused embedding table for all columns, beside the scaled numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from polytask.encoders.numeric import Periodic, PiecewiseLinear
from polytask.encoders.sequence import TargetAttention, pool
from polytask.errors import Problem, UserError, raise_errors
from polytask.options import in_range, one_of
from polytask.types import Features, FeatureSpec, Ragged


class TableEncoder(nn.Module):
    """Concatenates the embeddings of all id columns, the numeric inputs, and one pooled vector per sequence.

    All id columns live in one table, each at its own offset, so that a batch is one gather. Its gradient is sparse:
    only the rows of the batch move (see `polytask.training.rowwise`).

    Args:
        spec: The columns.
        embedding: Width of every embedding.
        numeric_embedding: Width of periodic embeddings.
        init: Standard deviation of the initial embeddings.
        norm: ``"layer"`` normalises the concatenated vector, ``"none"`` leaves it.
        dropout: Share of the inputs that are zeroed in training.
        id_dropout: Share of the ids that training replaces by their column's unseen row.
        streams: Vectors that stand side by side, S, each with embeddings of its own and the same numeric inputs.

    Attributes:
        out_features: Width of all vectors together, S * D.
        table: The fused embedding table ``[rows, S * embedding]``.
        slices: Which part of a vector every column makes.

    Shape:
        ids ``[B, C]``, numeric ``[B, K]`` -> ``[B, S * D]``
    """

    unseen: Tensor

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        embedding: int,
        numeric_embedding: int,
        init: float,
        norm: str,
        dropout: float,
        id_dropout: float,
        streams: int = 1,
    ) -> None:
        super().__init__()
        self.spec, self.streams = spec, streams
        self.id_dropout = id_dropout
        self.register_buffer("unseen", torch.tensor(spec.unseen, dtype=torch.int32), persistent=False)
        self.table = nn.Parameter(torch.randn(spec.rows, streams * embedding) * init)
        self.numeric = nn.ModuleDict()
        self.slices: dict[str, slice] = {}
        width = self._place(spec.columns, embedding, 0)
        for index, kind in enumerate(spec.embeddings or ("linear",) * len(spec.numerics)):
            part: PiecewiseLinear | Periodic | None = None
            if kind == "piecewise" and len(spec.knots[index]) > 1:
                part = PiecewiseLinear(spec.knots[index])
            elif kind == "periodic":
                part = Periodic(numeric_embedding)
            if part is not None:
                self.numeric[str(index)] = part
            width = self._place([spec.numerics[index]], 1 if part is None else part.out_features, width)
        attended = [spec_.name for spec_ in spec.sequences if spec_.pooling == "attention"]
        self.attention = nn.ModuleDict({str(index): TargetAttention(embedding) for index, _ in enumerate(attended)})
        self._attended = {name: str(index) for index, name in enumerate(attended)}
        width = self._place([spec_.name for spec_ in spec.sequences], embedding, width)
        if not width:
            raise UserError(Problem("features", "no column is left to learn from", "check data.drop and the labels"))
        self.out_features = streams * width
        self.norm = nn.LayerNorm(width) if norm == "layer" else nn.Identity()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def _place(self, names: Sequence[str], width: int, start: int) -> int:
        """Notes the slices of columns of one width that lie side by side; where they end."""
        for name in names:
            self.slices[name] = slice(start, start + width)
            start += width
        return start

    def forward(self, features: Features) -> Float[Tensor, "batch width"]:
        """The vector of every row."""
        ids = features.ids
        if self.training and self.id_dropout:
            # rare ids cannot be learnt by heart, and the row that new ids will get learns what an unknown one means
            ids = torch.where(torch.rand(ids.shape, device=ids.device) < self.id_dropout, self.unseen, ids)
        streams = self.streams
        embedded = torch.unflatten(F.embedding(ids, self.table, sparse=self._sparse), 2, (streams, -1))
        parts = [embedded.transpose(1, 2).flatten(2)]
        parts += [part.unsqueeze(1).expand(-1, streams, -1) for part in self._numeric(features.numeric)]
        for sequence in self.spec.sequences:
            ragged = features.sequences[sequence.name]
            if sequence.pooling == "attention" and sequence.target is not None:
                parts.append(self._attend(sequence.name, ragged, embedded[:, sequence.target]))
            else:
                pooled = pool(self.table, ragged, mode=sequence.pooling, sparse=self._sparse)
                parts.append(torch.unflatten(pooled, 1, (streams, -1)))
        side_by_side: Tensor = self.dropout(self.norm(torch.cat(parts, 2)))
        return side_by_side.flatten(1)

    @property
    def _sparse(self) -> bool:
        return torch.is_grad_enabled() and self.table.requires_grad

    def _numeric(self, numeric: Float[Tensor, "batch numerics"]) -> list[Tensor]:
        if not self.numeric:
            return [numeric]
        return [
            self.numeric[str(index)](column) if str(index) in self.numeric else column.unsqueeze(1)
            for index, column in enumerate(numeric.unbind(1))
        ]

    def _attend(
        self, name: str, ragged: Ragged, target: Float[Tensor, "batch streams width"]
    ) -> Float[Tensor, "batch streams width"]:
        items = torch.unflatten(F.embedding(ragged.values, self.table, sparse=self._sparse), 1, (self.streams, -1))
        rows = torch.repeat_interleave(torch.arange(len(target), device=target.device), ragged.offsets.diff())
        # every stream's items and targets, one stream after the other
        numbers = rows + len(target) * torch.arange(self.streams, device=rows.device).unsqueeze(1)
        streams = items.transpose(0, 1).flatten(0, 1), numbers.flatten(), target.transpose(0, 1).flatten(0, 1)
        pooled: Tensor = self.attention[self._attended[name]](*streams)
        return pooled.view(self.streams, *target.shape[::2]).transpose(0, 1)


def table(
    spec: FeatureSpec,
    *,
    embedding: int = 16,
    numeric_embedding: int = 8,
    init: float = 0.05,
    norm: str = "layer",
    dropout: float = 0.0,
    id_dropout: float = 0.0,
    streams: int = 1,
) -> TableEncoder:
    """The encoder of table rows: fused embeddings, scaled numbers, pooled sequences.

    Args:
        spec: The columns, from the fitted preprocessing.
        embedding: Width of every embedding.
        numeric_embedding: Width of a periodic embedding of a number.
        init: Standard deviation of the initial embeddings.
        norm: ``"layer"`` or ``"none"``: normalisation of the concatenated vector.
        dropout: Share of its components that are zeroed in training.
        id_dropout: Share of the ids that training replaces by their column's unseen row.
        streams: Vectors side by side, each with embeddings of its own; `polytask.model` fills in what sharing asks for.

    Returns:
        A map from `Features` to ``[B, D]``, or ``[B, streams * D]``.

    Raises:
        UserError: A number or a name is out of range.

    Example:
        >>> encoder = table(FeatureSpec(("user", "item"), rows=10, numerics=("age",)), embedding=4)
        >>> encoder(Features(torch.tensor([[0, 7]]), torch.tensor([[0.5]]))).shape
        torch.Size([1, 9])
    """
    problems = in_range(embedding, least=1, where="encoder.embedding")
    problems += in_range(numeric_embedding, least=1, where="encoder.numeric_embedding")
    problems += one_of(norm, ("layer", "none"), where="encoder.norm")
    problems += in_range(dropout, least=0, below=1, where="encoder.dropout")
    problems += in_range(id_dropout, least=0, below=1, where="encoder.id_dropout")
    raise_errors(problems)
    return TableEncoder(
        spec,
        embedding=embedding,
        numeric_embedding=numeric_embedding,
        init=init,
        norm=norm,
        dropout=dropout,
        id_dropout=id_dropout,
        streams=streams,
    )
