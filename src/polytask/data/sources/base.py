"""What every table is to the rest of polytask: named columns of Arrow types, in fragments that can be read alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from polytask.errors import Problem, UserError, suggest

BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Fragment:
    """A run of rows that can be read on its own.

    Attributes:
        file: Index into `TableSource.files`; 0 for tables in memory.
        group: The row group of that file, or the slice of a table in memory.
        rows: How many rows it has; never 0.
    """

    file: int
    group: int
    rows: int


class TableSource(ABC):
    """A table that is read in record batches.

    The columns come in few types, whatever the file says: integers, floats (32 or 64 bits), booleans, dates,
    timestamps, ``dictionary<int32, string>`` for all text, lists of integers or text, and null (no value at all).
    What cannot be brought to one of them is left out, with a note in `problems`.

    Attributes:
        name: What messages call the table: its path, or ``"DataFrame"``.
        schema: The columns as they will arrive.
        fragments: All rows, in order.
        files: The files that fragments point into; empty for tables in memory.
        problems: Warnings and notes from opening it.
    """

    name: str
    schema: pa.Schema
    fragments: tuple[Fragment, ...]
    files: tuple[str, ...]
    problems: tuple[Problem, ...]

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        fragments: Sequence[Fragment],
        *,
        files: Sequence[str] = (),
        problems: Sequence[Problem] = (),
    ) -> None:
        self.name = name
        self.schema = schema
        self.fragments = tuple(fragment for fragment in fragments if fragment.rows)
        self.files = tuple(files)
        self.problems = tuple(problems)
        if not self.fragments:
            raise UserError(Problem(name, "has no rows", "check how the table was written or filtered"))
        if not schema.names:
            raise UserError(Problem(name, "has no column that can be used", "see the supported column types"))

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        return sum(fragment.rows for fragment in self.fragments)

    def read(
        self, fragment: Fragment, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Streams one fragment; memory is bounded by ``batch_rows`` and one compressed row group.

        Args:
            fragment: One of `fragments`.
            columns: Which columns, in the order they should arrive; all by default.
            batch_rows: At most so many rows a batch.

        Raises:
            UserError: A column does not exist, or the file is damaged or was changed.
        """
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, found {batch_rows}")
        return self._read(fragment, self._checked(columns), batch_rows)

    def scan(self, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Streams all fragments in order; see `read`."""
        names = self._checked(columns)
        for fragment in self.fragments:
            yield from self.read(fragment, names, batch_rows=batch_rows)

    def head(self, rows: int = 10) -> pa.Table:
        """The first rows as one table (fewer where the source has fewer)."""
        batches: list[pa.RecordBatch] = []
        missing = rows
        for batch in self.scan(batch_rows=max(1, min(rows, BATCH_ROWS))):
            if missing <= 0:
                break
            batches.append(batch.slice(0, missing))
            missing -= len(batches[-1])
        return pa.Table.from_batches(batches, schema=self.schema)

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash that changes with the columns, the number of rows, or the content (sampled for files)."""

    @abstractmethod
    def _read(self, fragment: Fragment, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """`read` with checked columns."""

    def _checked(self, columns: Sequence[str] | None) -> Sequence[str]:
        if columns is None:
            return self.schema.names
        names = set(self.schema.names)
        problems = [
            Problem(f"column '{column}'", f"does not exist in {self.name}", suggest(column, self.schema.names))
            for column in columns
            if column not in names
        ]
        if problems:
            raise UserError(problems)
        return columns

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.rows:,} rows, {len(self.schema.names)} columns)"
