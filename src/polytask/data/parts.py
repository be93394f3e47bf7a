"""The training, validation and test part of the data: a table and the rule that says which rows belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.sources import TableSource
from polytask.data.splits import Split, assign_split

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
READ_ROWS = 32_768


@dataclass(frozen=True)
class Part:
    """Some rows of a table.

    Attributes:
        source: The table.
        split: Which rows belong; ``None`` means all of them.
        code: The part's number in the split: 0 train, 1 validation, 2 test.
    """

    source: TableSource
    split: Split | None = None
    code: int = TRAIN

    @cached_property
    def _first_rows(self) -> npt.NDArray[np.int64]:
        return np.cumsum([0, *(fragment.rows for fragment in self.source.fragments)])

    def read(self, fragment: int, columns: Sequence[str], *, batch_rows: int = READ_ROWS) -> Iterator[pa.RecordBatch]:
        """The part's rows of one fragment, in the order of the table; empty batches are left out.

        Args:
            fragment: Its number among the fragments of the source.
            columns: What to read; the columns of the split come besides.
            batch_rows: At most so many rows a batch.

        Raises:
            UserError: A column does not exist, the file is damaged, or a row belongs to no part.
        """
        first = int(self._first_rows[fragment])
        extra = self.split.columns if self.split else ()
        names = tuple(dict.fromkeys((*columns, *extra)))
        for batch in self.source.read(self.source.fragments[fragment], names, batch_rows=batch_rows):
            rows = len(batch)
            if self.split is not None:
                inside = assign_split(self.split, batch, first) == self.code
                if not inside.all():
                    batch = batch.filter(pa.array(inside))
            first += rows
            if len(batch):
                yield batch

    def scan(self, columns: Sequence[str], *, batch_rows: int = READ_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows of the part, in the order of the table."""
        for fragment in range(len(self.source.fragments)):
            yield from self.read(fragment, columns, batch_rows=batch_rows)
