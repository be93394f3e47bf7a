"""One pass over the rows of all parts, whether they share a table or have a file each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.parts import Part
from polytask.data.sources import Fragment, TableSource
from polytask.data.splits import Split, assign_split

PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")
BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class PartBatch:
    """Rows of one part.

    Attributes:
        part: Which part.
        table: The name of the table that they come from.
        rows: Their row numbers in that table, from 0.
        batch: The columns asked for, as far as the table has them.
    """

    part: PartName
    table: str
    rows: npt.NDArray[np.int64]
    batch: pa.RecordBatch


class Parts:
    """The rows of a run by part; a table that holds several parts is read once for all of them.

    Args:
        parts: ``train``, and ``validation`` and ``test`` where they exist.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._tables: list[tuple[TableSource, Split | None, dict[int, PartName]]] = []
        for name in PARTS:
            if name not in parts:
                continue
            part = parts[name]
            known = next(
                (codes for source, split, codes in self._tables if source is part.source and split is part.split), None
            )
            if known is not None and part.split is not None:
                known[part.code] = name
            else:
                self._tables.append((part.source, part.split, {part.code: name}))

    @property
    def names(self) -> tuple[PartName, ...]:
        """Which parts there are."""
        return tuple(name for name in PARTS if any(name in codes.values() for _, _, codes in self._tables))

    @property
    def sources(self) -> tuple[TableSource, ...]:
        """The tables, the one with the training rows first."""
        return tuple(source for source, _, _ in self._tables)

    @property
    def split(self) -> str:
        """How the training rows were chosen: ``files``, ``random``, ``hash``, ``time`` or ``column``."""
        split = self._tables[0][1]
        return "files" if split is None else split.spec.by

    @property
    def schema(self) -> pa.Schema:
        """The columns of the table that holds the training rows."""
        return self.sources[0].schema

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(source.rows for source in self.sources)

    def scan(self, columns: Sequence[str], *, share: float = 1.0, seed: int = 0) -> Iterator[PartBatch]:
        """Streams rows of all parts.

        Args:
            columns: What to read; tables that lack one of them give batches without it.
            share: Below 1, only some row groups from all over each table, and of these some rows at random.
            seed: Decides which.
        """
        generator = np.random.default_rng(seed)
        for source, split, codes in self._tables:
            known = [column for column in columns if column in source.schema.names]
            for batch, first, rate in _read(source, split, known, share):
                part = np.zeros(len(batch), np.uint8) if split is None else assign_split(split, batch, first)
                kept = generator.random(len(batch)) < rate if rate < 1.0 else np.ones(len(batch), bool)
                rows = np.arange(first, first + len(batch))
                for code, name in codes.items():
                    mask = kept if split is None else kept & (part == code)
                    if mask.any():
                        some = batch.select(known)
                        some = some if mask.all() else some.filter(pa.array(mask))
                        yield PartBatch(name, source.name, rows[mask], some)

    def sample(self, columns: Sequence[str], rows: int, *, seed: int = 0) -> dict[PartName, pa.Table]:
        """About ``rows`` rows as one table per part; parts without a row in it are left out."""
        share = min(1.0, rows / max(self.rows, 1))
        found: dict[PartName, list[pa.Table]] = {}
        for piece in self.scan(columns, share=share, seed=seed):
            found.setdefault(piece.part, []).append(pa.Table.from_batches([piece.batch]))
        tables = {name: pa.concat_tables(found[name], promote_options="permissive") for name in PARTS if name in found}
        return {name: table.unify_dictionaries() for name, table in tables.items()}


def _read(
    source: TableSource, split: Split | None, columns: Sequence[str], share: float
) -> Iterator[tuple[pa.RecordBatch, int, float]]:
    """Batches of evenly spread fragments, each with its first row and the rate at which to keep rows."""
    extra = [column for column in (split.columns if split else ()) if column not in columns]
    # reading no column at all would lose the number of rows
    wanted = [*columns, *extra] or [source.schema.names[0]]
    starts = np.cumsum([0, *(fragment.rows for fragment in source.fragments)])
    chosen, rate = _choose(source.fragments, share)
    for number in chosen:
        first = int(starts[number])
        for batch in source.read(source.fragments[number], wanted, batch_rows=BATCH_ROWS):
            yield batch, first, rate
            first += len(batch)


def _choose(fragments: Sequence[Fragment], share: float) -> tuple[list[int], float]:
    """At least eight fragments, or four times the rows wanted, and the rate that is left for each row."""
    if share >= 1.0:
        return list(range(len(fragments))), 1.0
    count = min(len(fragments), max(8, int(np.ceil(len(fragments) * min(1.0, 4 * share)))))
    chosen = sorted({int(number) for number in np.linspace(0, len(fragments) - 1, count).round()})
    held = sum(fragments[number].rows for number in chosen)
    total = sum(fragment.rows for fragment in fragments)
    return chosen, min(1.0, share * total / held)
