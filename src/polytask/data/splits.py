"""Which rows train, validate and test: by chance, by the hash of a key, in time order, or as a column says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.hashing import hash_array, hash_rows, unit_interval
from polytask.data.quantiles import from_ordered, select_ordered, to_ordered
from polytask.data.sources.base import TableSource
from polytask.errors import Problem, UserError, suggest

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLIT_NAMES = ("train", "validation", "test")

SplitKind = Literal["random", "hash", "time", "column", "none"]
Value = str | int | bool

_SHOWN = 8
_SALT = int.from_bytes(b"split", "little")  # else a sample drawn with the same seed would follow the split


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How the rows are divided.

    Attributes:
        by: ``random`` (every row on its own), ``hash`` (all rows of one key together), ``time`` (the newest rows test,
            those before them validate), ``column`` (a column names the split), or ``none`` (all rows train).
        validation: Share of the rows; not used by ``column`` and ``none``.
        test: Share of the rows; not used by ``column`` and ``none``.
        column: The key, time or split column.
        seed: For ``random`` and ``hash``.
        train_values: For ``column``: its values that mean training.
        validation_values: The same for validation.
        test_values: The same for test.

    Raises:
        UserError: Shares outside of [0, 1), an unknown kind, a missing column, a value in two splits.
    """

    by: SplitKind = "random"
    validation: float = 0.1
    test: float = 0.1
    column: str | None = None
    seed: int = 0
    train_values: tuple[Value, ...] = ("train",)
    validation_values: tuple[Value, ...] = ("validation", "valid", "val", "dev")
    test_values: tuple[Value, ...] = ("test",)

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        if self.by not in get_args(SplitKind):
            problems.append(Problem("split.by", f"'{self.by}' is unknown", suggest(self.by, get_args(SplitKind))))
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0.0 <= share < 1.0:
                problems.append(
                    Problem(f"split.{name}", f"must be a share in [0, 1), found {share}", "for example 0.1")
                )
        if not problems and self.validation + self.test >= 1.0:
            what = f"validation {self.validation} + test {self.test} leave no rows for training"
            problems.append(Problem("split", what, "choose shares with a sum below 1"))
        if self.by in ("hash", "time", "column") and not self.column:
            problems.append(Problem("split.column", f"is needed for a split by {self.by}", "name the column"))
        if self.by in ("random", "none") and self.column:
            what = f"is given ('{self.column}'), but a split by {self.by} reads no column"
            problems.append(Problem("split.column", what, "remove it, or split by hash, time or column"))
        problems.extend(self._shared_values())
        if problems:
            raise UserError(problems)

    def _shared_values(self) -> Iterator[Problem]:
        values = [*map(str, self.train_values), *map(str, self.validation_values), *map(str, self.test_values)]
        for value, count in Counter(values).items():
            if count > 1:
                yield Problem("split", f"value '{value}' is named {count} times", "give every value to one split")


@dataclass(frozen=True, slots=True)
class Split:
    """A `SplitSpec` that has seen the table; it can be stored as plain data.

    Attributes:
        spec: What was asked for.
        validation_from: For ``time``: validation begins here (inclusive); None where there is none.
        test_from: For ``time``: test begins here (inclusive); None where there is none. Integers in the unit of the
            column for dates and timestamps.
        counts: Rows per split (train, validation, test), for ``time`` and ``column``; None where they were not counted.
    """

    spec: SplitSpec
    validation_from: int | float | None = None
    test_from: int | float | None = None
    counts: tuple[int, int, int] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """What `assign_split` reads of a batch."""
        return (self.spec.column,) if self.spec.column else ()


def fit_split(spec: SplitSpec, source: TableSource) -> Split:
    """Looks at what the split needs to know: thresholds for ``time``, all values for ``column``; memory is constant.

    Raises:
        UserError: The column is missing, of a wrong type or has missing values; values belong to no split; a split that
            was asked for stays empty.
    """
    if spec.column is not None and spec.column not in source.schema.names:
        remedy = suggest(spec.column, source.schema.names)
        raise UserError(Problem("split.column", f"'{spec.column}' does not exist in {source.name}", remedy))
    if spec.by == "hash" and spec.column is not None:
        kind = source.schema.field(spec.column).type
        if pa.types.is_list(kind):
            raise UserError(
                Problem("split.column", f"'{spec.column}' is a list ({kind})", "use a column with one key a row")
            )
    if spec.by == "time" and spec.column is not None:
        return _fit_time(spec, spec.column, source)
    if spec.by == "column" and spec.column is not None:
        return _fit_column(spec, spec.column, source)
    return Split(spec)


def assign_split(split: Split, batch: pa.RecordBatch, first_row: int) -> npt.NDArray[np.uint8]:
    """The split of every row: 0 train, 1 validation, 2 test.

    A row's place depends on nothing but its global number (``random``) or its own key, time or value, so neither batch
    sizes nor the order of reading matter. With shares ``v`` and ``t``, a row whose hash in [0, 1) is below ``t`` tests,
    below ``t + v`` validates: growing the validation share does not touch the test rows.

    Args:
        split: From `fit_split`.
        batch: Holds at least `Split.columns`.
        first_row: The global number of the batch's first row.

    Returns:
        UInt8[rows].

    Raises:
        UserError: A value of a ``column`` split belongs to no split, or a time is missing.
    """
    spec = split.spec
    if spec.by == "none":
        return np.zeros(len(batch), dtype=np.uint8)
    if spec.by == "random":
        return _by_hash(spec, hash_rows(first_row, len(batch), spec.seed ^ _SALT))
    column = batch.column(batch.schema.get_field_index(spec.column))
    if spec.by == "hash":
        return _by_hash(spec, hash_array(column, spec.seed ^ _SALT))
    if spec.by == "time":
        return _by_time(split, column)
    counts: Counter[str] = Counter()
    splits = _by_value(spec, column, counts)
    _check_values(spec, counts)
    return splits


def _by_hash(spec: SplitSpec, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    place = unit_interval(hashes)
    splits = np.where(place < spec.test + spec.validation, np.uint8(VALIDATION), np.uint8(TRAIN))
    splits[place < spec.test] = TEST
    return splits


def _by_time(split: Split, column: pa.Array) -> npt.NDArray[np.uint8]:
    ordered = to_ordered(column)
    if ordered is None or len(ordered) < len(column):
        raise UserError(_missing_times(split.spec.column or "", len(column) - (0 if ordered is None else len(ordered))))
    splits = np.zeros(len(column), dtype=np.uint8)
    for number, start in ((VALIDATION, split.validation_from), (TEST, split.test_from)):
        if start is not None:
            threshold = to_ordered(
                pa.array([start], pa.float64() if isinstance(start, float) else _integer_type(column))
            )
            splits[ordered >= (threshold if threshold is not None else 0)] = number
    return splits


def _integer_type(column: pa.Array) -> pa.DataType:
    return pa.uint64() if pa.types.is_unsigned_integer(column.type) else pa.int64()


def _missing_times(column: str, rows: int) -> Problem:
    return Problem(f"split column '{column}'", f"{rows:,} rows have no time", "fill them, or split by random or hash")


def _fit_time(spec: SplitSpec, column: str, source: TableSource) -> Split:
    kind = source.schema.field(column).type
    if to_ordered(pa.nulls(0, kind)) is None:
        remedy = "convert it to a date, a timestamp or a number"
        raise UserError(Problem(f"split column '{column}'", f"is {_plain(kind)}, which has no order in time", remedy))
    rows = source.rows
    ranks = [rows - round(rows * (spec.test + spec.validation)), rows - round(rows * spec.test)]
    wanted = sorted({rank for rank in ranks if rank < rows})
    found, valid = select_ordered(source, column, wanted)
    if valid < rows:
        raise UserError(_missing_times(column, rows - valid))
    starts = {rank: from_ordered(value, kind) for rank, value in zip(wanted, found, strict=True)}
    validation = starts.get(ranks[0]) if spec.validation else None
    split = Split(spec, validation, starts.get(ranks[1]) if spec.test else None)
    counts = np.zeros(3, dtype=np.int64)
    for batch in source.scan([column]):
        counts += np.bincount(_by_time(split, batch.column(0)), minlength=3)
    asked = (1.0, spec.validation, spec.test)
    if empty := [SPLIT_NAMES[number] for number in range(3) if asked[number] and not counts[number]]:
        what = f"no rows are left for {' and '.join(empty)}: too many rows share one time"
        raise UserError(Problem(f"split column '{column}'", what, "use a finer time, other shares, or another split"))
    return Split(spec, split.validation_from, split.test_from, (int(counts[0]), int(counts[1]), int(counts[2])))


def _fit_column(spec: SplitSpec, column: str, source: TableSource) -> Split:
    kind = source.schema.field(column).type
    distinct = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(distinct) or pa.types.is_integer(distinct) or pa.types.is_boolean(distinct)):
        what = f"is {_plain(kind)}, but must hold text, integers or booleans"
        raise UserError(Problem(f"split column '{column}'", what, "write the names of the splits into it"))
    values: Counter[str] = Counter()
    counts = np.zeros(3, dtype=np.int64)
    for batch in source.scan([column]):
        counts += np.bincount(_by_value(spec, batch.column(0), values), minlength=3)
    _check_values(spec, values)
    if not counts[TRAIN]:
        what = f"no row has one of the training values {', '.join(map(repr, spec.train_values))}"
        raise UserError(Problem(f"split column '{column}'", what, f"found {_listed(values)}"))
    return Split(spec, counts=(int(counts[0]), int(counts[1]), int(counts[2])))


def _by_value(spec: SplitSpec, column: pa.Array, found: Counter[str]) -> npt.NDArray[np.uint8]:
    """Splits by value, and counts all values; only distinct values are looked at in Python."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = [*map(str, encoded.dictionary.to_pylist()), "(missing)"]
    groups = (spec.train_values, spec.validation_values, spec.test_values)
    place = {str(value): number for number, values in enumerate(groups) for value in values}
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(names) - 1).to_numpy(zero_copy_only=False)
    for name, count in zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True):
        if count:
            found[name] += count
    return np.array([place.get(name, TRAIN) for name in names], dtype=np.uint8)[codes]


def _check_values(spec: SplitSpec, found: Counter[str]) -> None:
    known = {str(value) for value in (*spec.train_values, *spec.validation_values, *spec.test_values)}
    others = Counter({value: count for value, count in found.items() if value not in known})
    if others:
        what = f"{sum(others.values()):,} rows have values that belong to no split: {_listed(others)}"
        remedy = "add them to data.split.values.train, .validation or .test"
        raise UserError(Problem(f"split column '{spec.column}'", what, remedy))


def _listed(values: Counter[str]) -> str:
    shown = ", ".join(f"'{value}' {count:,}" for value, count in values.most_common(_SHOWN))
    return shown + (f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else "")


def _plain(kind: pa.DataType) -> str:
    return "text" if pa.types.is_dictionary(kind) else str(kind)
