"""What scikit-learn's users pass as ``X``: DataFrames keep their columns, arrays get names."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import pyarrow as pa

from polytask.data.sources.memory import table_of
from polytask.errors import UserError


@final
class InputError(UserError, ValueError):
    """Something in ``X``, ``y`` or the parameters is wrong; a `ValueError`, as scikit-learn's tools expect."""


@contextmanager
def input_errors() -> Iterator[None]:
    """What is wrong is a `ValueError` as well."""
    try:
        yield
    except UserError as error:
        raise InputError(error.problems) from error


def package(data: Any) -> str:
    """The package that an object's type comes from."""
    return type(data).__module__.partition(".")[0]


def is_frame(data: Any) -> bool:
    """Whether ``data`` has named columns: a pandas or polars DataFrame, or an Arrow table.

    Example:
        >>> is_frame(pa.table({"a": [1]})), is_frame(np.zeros((1, 1)))
        (True, False)
    """
    return isinstance(data, pa.Table) or (package(data) in ("pandas", "polars") and type(data).__name__ == "DataFrame")


def is_series(data: Any) -> bool:
    """Whether ``data`` is one column of pandas or polars."""
    return package(data) in ("pandas", "polars") and type(data).__name__ == "Series"


def frame_table(frame: Any) -> pa.Table:
    """A DataFrame as an Arrow table; the index is no column.

    Raises:
        InputError: With every column that cannot be converted.
    """
    if package(frame) == "pandas":
        frame = frame.reset_index(drop=True)
    with input_errors():
        found = table_of(frame)
    assert found is not None
    return found[0]


def array_table(array: np.ndarray, names: Sequence[str]) -> pa.Table:
    """An array ``[rows, columns]`` as an Arrow table: numbers become floats, objects what every column holds.

    Raises:
        InputError: With every column that cannot be converted.

    Example:
        >>> array_table(np.array([[1, "a"], [2, "b"]], dtype=object), ["n", "s"]).schema.types
        [DataType(int64), DataType(string)]
    """
    if array.dtype.kind in "biuf":
        array = array.astype(np.float64, copy=False)
    with input_errors():
        found = table_of({name: np.ascontiguousarray(array[:, at]) for at, name in enumerate(names)})
    assert found is not None
    return found[0]


def frame_like(columns: Mapping[str, Any], like: Any) -> Any:
    """Columns as a table of the same kind, and with the same index, as another one."""
    kind = package(like)
    if kind == "pyarrow":
        return pa.table(dict(columns))
    frame = importlib.import_module(kind).DataFrame
    return frame(dict(columns), index=like.index) if kind == "pandas" else frame(dict(columns))
