"""The features of the networks as one matrix for trees: the same columns, with the codes of the same vocabularies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polytask.data.columns import BooleanColumn, CategoricalColumn, Column, DatetimeColumn, NumericColumn
from polytask.training.prepared import Prepared

Ids = Literal["category", "none"]
Floats = NDArray[np.float64]
Named = Iterator[tuple[str, Floats, bool]]

MANY = 2_000
"""A categorical column with at least so many values is an id (user, video, author, music)."""
LIST_ITEMS = 3


@dataclass(frozen=True)
class Matrix:
    """All rows of one part.

    Attributes:
        names: The columns.
        values: ``[rows, columns]``; codes of categories are exact in float64, NaN is missing.
        categorical: Columns whose values only name a category.
        ids: Those of them with `MANY` values or more.
    """

    names: tuple[str, ...]
    values: Floats
    categorical: tuple[str, ...]
    ids: tuple[str, ...]

    def with_ids(self, how: Ids) -> tuple[Floats, list[int]]:
        """The matrix, and the numbers of its categorical columns, with ids as categories or left out."""
        if how == "category" or not self.ids:
            return self.values, [self.names.index(name) for name in self.categorical]
        kept = [name for name in self.names if name not in self.ids]
        values = self.values[:, [self.names.index(name) for name in kept]]
        return values, [kept.index(name) for name in self.categorical if name not in self.ids]


def read_matrix(prepared: Prepared, part: str) -> Matrix:
    """Reads the features of a part, in the order of the table."""
    columns = prepared.preprocessor.columns
    pieces: list[Floats] = []
    names: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    for batch in prepared.parts[part].scan(prepared.preprocessor.feature_columns()):
        found = [entry for column in columns for entry in _columns(column, batch.column(column.name))]
        names = tuple(name for name, _, _ in found)
        categorical = tuple(name for name, _, is_category in found if is_category)
        pieces.append(np.stack([values for _, values, _ in found], axis=1))
    many = tuple(
        column.name for column in columns if isinstance(column, CategoricalColumn) and column.space.rows >= MANY
    )
    return Matrix(names, np.concatenate(pieces), categorical, many)


def _columns(column: Column, array: pa.Array) -> Named:
    """Name, values, and whether they name categories, of what one raw column gives."""
    if isinstance(column, NumericColumn):
        values = pc.fill_null(array.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
        yield column.name, values, False
        return
    encoded = column.encode(array)
    if isinstance(column, CategoricalColumn | BooleanColumn):
        yield column.name, encoded.ids[0].astype(np.float64), True
    elif isinstance(column, DatetimeColumn):
        for part, ids in zip(column.parts, encoded.ids, strict=True):
            yield f"{column.name}:{part}", ids.astype(np.float64), True
        yield f"{column.name}:age", encoded.numerics[0].astype(np.float64), False
    else:
        assert encoded.sequence is not None
        items, offsets = encoded.sequence
        lengths = np.diff(offsets)
        for number in range(LIST_ITEMS):
            values = np.full(len(lengths), np.nan)
            values[lengths > number] = items[offsets[:-1][lengths > number] + number]
            yield f"{column.name}:{number + 1}", values, True
        yield f"{column.name}:length", lengths.astype(np.float64), False
