"""What scikit-learn's users pass as ``y``: columns of values, some of them not observed, in classes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64, Int, Num
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array

from polytask.errors import Problem, suggest
from polytask.estimators.inputs import InputError, frame_table, is_frame, is_series

Classes = tuple[str | int | bool, ...]


@dataclass(frozen=True)
class Target:
    """One column of ``y``.

    Attributes:
        name: Its name, and the task's.
        values: One a row.
        observed: Which rows have one: all but NaN and None.
    """

    name: str
    values: Num[np.ndarray, "rows"] | np.ndarray
    observed: Bool[np.ndarray, "rows"]

    def numbers(self) -> pa.Array:
        """The values as floats, null where not observed.

        Raises:
            InputError: They are no numbers.
        """
        where = f"y, column '{self.name}'"
        if not self.observed.any():
            raise InputError(Problem(where, "no label is observed", "give it labels, or leave the column out"))
        try:
            known = self.values[self.observed].astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                Problem(where, f"holds no numbers ({error})", "convert it, or fit a classifier")
            ) from error
        filled = np.full(len(self.values), np.nan)
        filled[self.observed] = known
        return pa.array(filled, mask=~self.observed)

    @cached_property
    def classes(self) -> np.ndarray:
        """The distinct values in order.

        Raises:
            InputError: They are of mixed types, or there is only one.
            ValueError: They are no classes.
        """
        where, known = f"y, column '{self.name}'", self.values[self.observed]
        if known.dtype == object:
            kinds = sorted({type(value).__name__ for value in known})
            if len(kinds) > 1:
                raise InputError(Problem(where, f"mixes {' and '.join(kinds)}", "convert the labels to one type"))
            known = np.array(known.tolist())
        check_classification_targets(known)
        found = np.unique(known)
        if len(found) < 2:
            what = f"has 1 class, {found[0]!r}" if len(found) else "has no class: no label is observed"
            raise InputError(Problem(where, what, "a classifier needs rows of at least 2"))
        return found

    def codes(self, classes: np.ndarray) -> Int[np.ndarray, "rows"]:
        """Positions among the classes; -1 where not observed or of no class."""
        codes = np.full(len(self.values), -1)
        for code, value in enumerate(classes):
            codes[self.observed & (self.values == value)] = code
        return codes


def class_labels(codes: Int[np.ndarray, "rows"], classes: np.ndarray) -> pa.Array:
    """The class of every row as a bundle keeps it, null where it has none.

    Example:
        >>> class_labels(np.array([1, -1, 0]), np.array(["no", "yes"])).to_pylist()
        ['yes', None, 'no']
    """
    return pa.array(own_values(classes)).take(pa.array(codes, mask=codes < 0))


def own_values(classes: np.ndarray) -> Classes:
    """Classes as plain values; whole floats, which arrays with NaN make of integers, are integers again.

    Example:
        >>> own_values(np.array([0.0, 2.0])), own_values(np.array(["no", "yes"]))
        ((0, 2), ('no', 'yes'))
    """
    return tuple(int(value) if isinstance(value, float) else value for value in classes.tolist())


def read_targets(y: Any, names: Sequence[str] | None = None) -> tuple[list[Target], bool, bool]:
    """The columns of ``y``.

    Args:
        y: A DataFrame, a Series, or an array ``[rows]`` or ``[rows, tasks]``.
        names: Which columns of a DataFrame, or how those of an array are called; all, and "y" or "y0", "y1", ...

    Returns:
        The columns, whether ``y`` has two dimensions, and whether the names are the user's.

    Raises:
        InputError: Columns are missing, or there are too many.
        ValueError: What scikit-learn says of arrays that are none.
    """
    if y is None:
        raise InputError("requires y to be passed, but the target y is None")
    if is_frame(y) or (is_series(y) and y.name not in (None, "")):
        table = frame_table(y if is_frame(y) else y.to_frame(y.name))
        found = table.column_names
        wanted = list(names or found)
        missing = [name for name in wanted if name not in found]
        if missing:
            raise InputError(Problem(f"y, column '{name}'", "is missing", suggest(name, found)) for name in missing)
        return [_target(name, _values(table.column(name))) for name in wanted], is_frame(y), True
    array = check_array(y, dtype=None, ensure_2d=False, ensure_all_finite="allow-nan", input_name="y")
    columns = array[:, None] if array.ndim == 1 else array
    several = array.ndim == 2
    if names is None:
        names = [f"y{number}" for number in range(columns.shape[1])] if columns.shape[1] > 1 else ["y"]
    if len(names) != columns.shape[1]:
        raise InputError(Problem("y", f"has {columns.shape[1]} columns for {len(names)} tasks: {', '.join(names)}"))
    return [_target(name, column) for name, column in zip(names, columns.T, strict=True)], several, False


def read_weights(sample_weight: Any, rows: int) -> Float64[np.ndarray, "rows"]:
    """Weights, one a row.

    Raises:
        InputError: There are negative ones, or fewer than two rows have any.
        ValueError: What scikit-learn says of arrays that are none.
    """
    weights = check_array(sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight")
    where, used = "sample_weight", np.count_nonzero(weights)
    if weights.shape != (rows,):
        raise InputError(Problem(where, f"has the shape {weights.shape}", f"give one weight to each of {rows} rows"))
    if (weights < 0).any():
        raise InputError(Problem(where, f"{(weights < 0).sum()} of {rows} are negative", "clip or drop them"))
    if used < 2:
        raise InputError(Problem(where, f"{rows - used} of {rows} are zero", "give weight to at least 2 rows"))
    return weights


def _values(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.to_numpy()


def _target(name: str, values: np.ndarray) -> Target:
    if values.dtype.kind == "f":
        return Target(name, values, ~np.isnan(values))
    if values.dtype != object:
        return Target(name, values, np.ones(len(values), np.bool_))
    return Target(name, values, np.array([value is not None and value == value for value in values], np.bool_))
