"""Where every feature stands: its id columns, its rows of the fused embedding table, its numeric inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polytask.data.columns import CategoricalColumn, Column, SequenceColumn, id_rows, number_of
from polytask.data.vocabulary import UNSEEN, IdSpace
from polytask.specs import FeatureSpec, SequenceSpec


@dataclass(frozen=True, slots=True)
class Place:
    """Where one raw column's encoded values go.

    Attributes:
        id_column: Its first id column.
        starts: Per id column, its first row in the fused table; for a sequence, the first row of its items.
        numeric: Its first numeric input.
    """

    id_column: int
    starts: tuple[int, ...]
    numeric: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of all columns.

    Attributes:
        places: One per raw column.
        spans: Per own id column, and per vocabulary, its first row in the fused table and how many rows it has.
        id_names: The id columns.
        id_starts: Their first rows.
        numerics: Names of the numeric inputs.
        rows: Rows of the fused table.
    """

    places: tuple[Place, ...]
    spans: Mapping[str, tuple[int, int]]
    id_names: tuple[str, ...]
    id_starts: tuple[int, ...]
    numerics: tuple[str, ...]
    rows: int

    def spec(self, columns: Sequence[Column]) -> FeatureSpec:
        """What an encoder must know."""
        embeddings: list[str] = []
        knots: list[tuple[float, ...]] = []
        for encoder in filter(None, map(number_of, columns)):
            flags = len(encoder.numerics) - 1
            embeddings += [encoder.encoding if encoder.encoding in ("piecewise", "periodic") else "linear"]
            embeddings += ["linear"] * flags
            knots += [encoder.knots, *[()] * flags]
        sequences = tuple(
            SequenceSpec(column.name, column.pooling, self.id_names.index(column.target) if column.target else None)
            for column in columns
            if isinstance(column, SequenceColumn)
        )
        unseen = tuple(start + UNSEEN for start in self.id_starts)
        return FeatureSpec(
            self.id_names, self.rows, self.numerics, tuple(embeddings), tuple(knots), sequences, unseen=unseen
        )


def lay_out(columns: Sequence[Column], spaces: Mapping[str, IdSpace]) -> Layout:
    """First the columns' own id rows, one behind the other, then the (possibly shared) vocabularies and hashes."""
    spans: dict[str, tuple[int, int]] = {}
    own_starts: list[tuple[int, ...]] = []
    start = 0
    for column in columns:
        starts: tuple[int, ...] = ()
        for name, rows in id_rows(column).items():
            spans[name] = (start, rows)
            starts += (start,)
            start += rows
        own_starts.append(starts)
    space_start: dict[int, int] = {}
    for name, space in spaces.items():
        spans[f"vocabulary {name}"] = (start, space.rows)
        space_start[id(space)] = start
        start += space.rows
    places: list[Place] = []
    id_names: list[str] = []
    id_starts: list[int] = []
    numerics: list[str] = []
    for column, starts in zip(columns, own_starts, strict=True):
        if isinstance(column, CategoricalColumn | SequenceColumn):
            starts = (space_start[id(column.space)],)
        places.append(Place(len(id_names), starts, len(numerics)))
        if not isinstance(column, SequenceColumn):
            id_names += [column.name] if isinstance(column, CategoricalColumn) else id_rows(column)
            id_starts += starts
        encoder = number_of(column)
        numerics += encoder.numerics if encoder else ()
    return Layout(tuple(places), spans, tuple(id_names), tuple(id_starts), tuple(numerics), start)
