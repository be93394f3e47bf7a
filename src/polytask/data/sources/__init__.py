"""Raw tables: Parquet, CSV and in-memory data behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.data.sources.base import BATCH_ROWS, Fragment, TableSource
from polytask.data.sources.csv import CsvOptions, open_csv
from polytask.data.sources.files import find_files, hive_columns
from polytask.data.sources.memory import MemorySource, table_of
from polytask.data.sources.parquet import ParquetSource
from polytask.errors import Problem, UserError

__all__ = ["BATCH_ROWS", "CsvOptions", "Fragment", "MemorySource", "ParquetSource", "TableSource", "open_source"]


def open_source(data: Any, *, cache: Path | None = None, csv: CsvOptions | None = None) -> TableSource:
    """Opens a table, whatever it is.

    Args:
        data: A path, a folder, a glob, a list of these (Parquet or CSV), or a table in memory: Arrow, pandas, polars,
            or a mapping from column names to arrays. A `TableSource` is passed through.
        cache: Where CSV files are kept as Parquet; by default ``$POLYTASK_CACHE/csv`` or ``~/.cache/polytask/csv``.
        csv: How CSV files are written; see `CsvOptions`.

    Raises:
        UserError: The data cannot be read; the message names files, columns and lines.

    Example:
        >>> source = open_source({"user": ["a", "b", "a"], "click": [1, 0, 1]})
        >>> source.rows, source.schema.names
        (3, ['user', 'click'])
    """
    if isinstance(data, TableSource):
        return data
    if (found := table_of(data)) is not None:
        table, name = found
        return MemorySource(table, name=name)
    if not _is_paths(data):
        what = f"cannot be read: it is of type {type(data).__module__}.{type(data).__qualname__}"
        remedy = "pass a path, a list of paths, a pandas, polars or Arrow table, or a mapping of columns"
        raise UserError(Problem("data", what, remedy))
    kind, files = find_files(data)
    label = str(data) if isinstance(data, str | Path) else None
    problems = hive_columns(data, files)
    if kind == "csv":
        return open_csv(files, name=label, options=csv or CsvOptions(), cache=cache, problems=problems)
    return ParquetSource(files, name=label, problems=problems)


def _is_paths(data: Any) -> bool:
    if isinstance(data, str | Path):
        return True
    return isinstance(data, Sequence) and all(isinstance(item, str | Path) for item in data)
