"""Parquet files as a table: one fragment a row group, streamed in batches, text as dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq

from polytask.data.sources.base import Fragment, TableSource
from polytask.data.sources.files import Stamp, digest
from polytask.data.sources.normal import TEXT, normal_batch, normal_schema, unify
from polytask.errors import Problem, UserError

_READ_BUFFER = 1 << 20  # bytes per column: a column chunk is streamed, not loaded as a whole
_FOOTERS_KEPT = 64


@final
class ParquetSource(TableSource):
    """One or many Parquet files of one schema.

    Files are opened for the time of one `read` and closed again, so any number of files and of readers in other threads
    or processes is fine.

    Args:
        files: The files, in order.
        name: What messages call them.
        labels: What messages call each file, where that is not its path.
        digests: A content hash per file, where it is not that of the file itself.
        problems: Warnings and notes to pass on.

    Raises:
        UserError: A file is no Parquet file, is truncated, or the files do not agree in their columns.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        *,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        digests: Sequence[str] | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        self._paths = tuple(str(path) for path in files)
        self._labels = tuple(labels) if labels is not None else self._paths
        self._digests = tuple(digests) if digests is not None else None
        self._stamps = tuple(Stamp.of(path) for path in self._paths)
        footers = _open_footers(self._paths, self._stamps, self._labels)
        schemas: dict[str, pa.Schema] = {}
        notes: dict[Problem, None] = {}
        for label, (_, schema) in zip(self._labels, footers, strict=True):
            schemas[label], found = normal_schema(schema, label)
            notes |= dict.fromkeys(found)
        unified, more = unify(schemas)
        fragments = [
            Fragment(file, group, rows) for file, (groups, _) in enumerate(footers) for group, rows in enumerate(groups)
        ]
        super().__init__(
            name
            or (self._labels[0] if len(self._labels) == 1 else f"{self._labels[0]} ... ({len(self._labels)} files)"),
            unified,
            fragments,
            files=self._paths,
            problems=(*problems, *notes, *more, *_empty_files(self._labels, [groups for groups, _ in footers])),
        )

    def fingerprint(self) -> str:
        """A hash of the columns, the number of rows, and of every file's size, first and last 64 KiB."""
        digests = self._digests if self._digests is not None else [digest(path) for path in self._paths]
        found = sha256("\n".join([self.schema.to_string(), str(self.rows), *digests]).encode())
        return found.hexdigest()[:32]

    def _read(self, fragment: Fragment, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        path, label, stamp = self._paths[fragment.file], self._labels[fragment.file], self._stamps[fragment.file]
        text = [column for column in columns if self.schema.field(column).type == TEXT]
        try:
            if Stamp.of(path) != stamp:
                raise UserError(Problem(f"file '{label}'", "was changed while it was in use", "start again"))
            metadata = _footer(path, stamp)
            with pq.ParquetFile(
                path, metadata=metadata, read_dictionary=text, buffer_size=_READ_BUFFER, pre_buffer=False
            ) as file:
                for batch in file.iter_batches(
                    batch_rows, row_groups=[fragment.group], columns=list(columns), use_threads=False
                ):
                    yield normal_batch(batch, columns, self.schema, label)
        except (pa.ArrowException, OSError) as error:
            what = f"row group {fragment.group} cannot be read ({_first_line(error)})"
            raise UserError(Problem(f"file '{label}'", what, "the file is damaged or gone; write it again")) from error


@lru_cache(maxsize=_FOOTERS_KEPT)
def _footer(path: str, stamp: Stamp) -> pq.FileMetaData:
    """The parsed footer; ``stamp`` makes a changed file a new one."""
    return pq.read_metadata(path)


def _open_footers(
    paths: Sequence[str], stamps: Sequence[Stamp], labels: Sequence[str]
) -> list[tuple[list[int], pa.Schema]]:
    """Per file the rows of its row groups and its Arrow schema; all files that are no Parquet are named at once."""
    opened: list[tuple[list[int], pa.Schema]] = []
    problems: list[Problem] = []
    for path, stamp, label in zip(paths, stamps, labels, strict=True):
        if stamp.size == 0:
            problems.append(Problem(f"file '{label}'", "is empty (0 bytes)", "write it again, or remove it"))
            continue
        try:
            footer = _footer(path, stamp)
            groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
            opened.append((groups, footer.schema.to_arrow_schema()))
        except (pa.ArrowException, OSError) as error:
            problems.append(_damaged(path, label, error))
    if problems:
        raise UserError(problems)
    return opened


def _damaged(path: str, label: str, error: Exception) -> Problem:
    with Path(path).open("rb") as file:
        begins = file.read(4) == b"PAR1"
    if begins:
        what = (
            f"starts like Parquet but its end is missing or damaged, it was probably truncated ({_first_line(error)})"
        )
        return Problem(f"file '{label}'", what, "copy or write it again")
    what = f"is not a Parquet file ({_first_line(error)})"
    return Problem(f"file '{label}'", what, "convert it to Parquet, or name it .csv if it is a CSV file")


def _empty_files(labels: Sequence[str], groups: Sequence[Sequence[int]]) -> list[Problem]:
    """Notes on files without rows (when all are, the table itself is refused)."""
    empty = [label for label, rows in zip(labels, groups, strict=True) if not sum(rows)]
    return [Problem(f"file '{label}'", "has no rows", severity="note") for label in empty]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
