"""Tables that are already in memory: Arrow, pandas, polars, or a mapping from names to arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, final

import numpy as np
import pyarrow as pa

from polytask.data.hashing import hash_array
from polytask.data.sources.base import BATCH_ROWS, Fragment, TableSource
from polytask.data.sources.normal import normal_batch, normal_schema
from polytask.errors import Problem, UserError


@final
class MemorySource(TableSource):
    """An Arrow table, cut into fragments of 65,536 rows.

    Args:
        table: The table; its buffers are shared, not copied.
        name: What messages call it.
    """

    def __init__(self, table: pa.Table, *, name: str = "table") -> None:
        schema, problems = normal_schema(table.schema, name)
        self._table = table.select(schema.names)
        starts = range(0, table.num_rows, BATCH_ROWS)
        fragments = [Fragment(0, group, min(BATCH_ROWS, table.num_rows - start)) for group, start in enumerate(starts)]
        super().__init__(name, schema, fragments, problems=problems)

    def fingerprint(self) -> str:
        """A hash of all values; it does not depend on chunks or dictionaries."""
        found = sha256(f"{self.schema.to_string()}\n{self.rows}".encode())
        for batch in self.scan():
            for array in batch.columns:
                if pa.types.is_list(array.type):
                    found.update(hash_array(array.value_lengths()).tobytes())
                    array = array.flatten()
                found.update(hash_array(array).tobytes())
        return found.hexdigest()[:32]

    def _read(self, fragment: Fragment, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        table = self._table.select(list(dict.fromkeys(columns)))
        start = fragment.group * BATCH_ROWS
        for first in range(0, fragment.rows, batch_rows):
            rows = min(batch_rows, fragment.rows - first)
            part = table.slice(start + first, rows).combine_chunks().to_batches()[0]
            yield normal_batch(part, columns, self.schema, self.name)


def table_of(data: Any) -> tuple[pa.Table, str] | None:
    """An Arrow table of an object in memory and what to call it, or None where ``data`` is nothing of that kind.

    pandas and polars are recognised by the module of their types, so neither is imported here.

    Raises:
        UserError: Columns cannot be converted (mixed types, different lengths, repeated names).
    """
    module = type(data).__module__.partition(".")[0]
    if isinstance(data, pa.Table):
        return data, "table"
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data]), "record batch"
    if module == "pandas" and type(data).__name__ == "DataFrame":
        return _from_pandas(data), "DataFrame"
    if module == "polars" and type(data).__name__ in ("DataFrame", "LazyFrame"):
        frame = data.collect() if type(data).__name__ == "LazyFrame" else data
        return frame.to_arrow(), type(data).__name__
    if isinstance(data, Mapping):
        return _from_columns({str(name): values for name, values in data.items()}, "mapping"), "mapping"
    if hasattr(data, "__arrow_c_stream__"):
        try:
            return pa.table(data), type(data).__name__
        except pa.ArrowException as error:  # one column is such a stream as well
            what = f"cannot be read as a table ({str(error).splitlines()[0]})"
            raise UserError(Problem(type(data).__name__, what, "pass a table with named columns")) from error
    return None


def _from_pandas(frame: Any) -> pa.Table:
    """Column by column, so that all columns that cannot be converted are named at once; a named index is a column."""
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    if named:
        frame = frame.reset_index(level=named)
    names = [str(name) for name in frame.columns]
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise UserError(
            Problem(f"column '{name}'", f"exists {names.count(name)} times in the DataFrame", "rename one of them")
            for name in repeated
        )
    return _from_columns({name: frame.iloc[:, number] for number, name in enumerate(names)}, "DataFrame")


def _from_columns(columns: Mapping[str, Any], name: str) -> pa.Table:
    if not columns:
        raise UserError(Problem(name, "has no columns", "pass at least one"))
    arrays: dict[str, pa.ChunkedArray] = {}
    problems: list[Problem] = []
    for column, values in columns.items():
        try:
            arrays[column] = _to_arrow(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            problems.append(_not_a_column(column, values, error))
    lengths = {column: len(array) for column, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{column}' {length}" for column, length in lengths.items())
        problems.append(Problem(name, f"columns differ in length: {listed}", "give every column one value a row"))
    if problems:
        raise UserError(problems)
    return pa.table(arrays)


def _to_arrow(values: Any) -> pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise TypeError(f"found one {type(values).__name__} instead of one value a row")
    if not isinstance(values, pa.Array | list | tuple) and not hasattr(values, "__arrow_array__"):
        own = type(values).__module__.partition(".")[0]
        if own == "polars":
            values = values.to_arrow()
        elif own != "pandas":
            values = np.asarray(values)
            if values.ndim != 1:
                raise TypeError(f"found an array of shape {values.shape} instead of one value a row")
    array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _not_a_column(column: str, values: Any, error: Exception) -> Problem:
    """Says which Python types are mixed, with their counts; without a mixture, what Arrow said."""
    where = f"column '{column}'"
    elements = values.tolist() if hasattr(values, "tolist") else values
    kinds: Counter[str] = Counter()
    if isinstance(elements, list | tuple):
        kinds = Counter(type(value).__name__ for value in elements if value is not None and value == value)
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
        return Problem(
            where, f"mixed types: {listed}", f"convert the column to one type, for example {column!r} to str"
        )
    return Problem(where, f"cannot be read ({str(error).splitlines()[0]})", "convert it to numbers or text")
