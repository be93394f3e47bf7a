"""Column roles guessed from the Arrow schema and a sample of rows: what each raw column should become as a feature."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ColumnKind = Literal["numeric", "categorical", "sequence", "boolean", "datetime", "drop"]
EpochUnit = Literal["s", "ms", "us", "ns"]

FEW_VALUES = 32  # integers with at most so many distinct values are read as categories
FEW_ROWS = 50  # a sample below this says nothing about constants and row keys
NEAR_UNIQUE = 0.9  # distinct values per row from which a vocabulary would mostly hold values seen once
LONG_TEXT = 48  # mean characters from which strings without repetition are taken for free text
HUGE_ROWS = 1 << 24  # rows from which near-unique ids of a sample are hashed
MOST_BUCKETS = 1 << 20
EXACT_FLOAT = 2.0**53  # integers up to here survive a float64

_ID_NAME = re.compile(
    r"(^|[_\-. ])(id|ids|uid|uuid|guid|key|code|codes|recode|zip|zipcode|postcode|hash|idx|ip|sku|isbn)(\d*$|[_\-. ])"
    r"|[a-z0-9](Id|ID|Key|Code|Uuid|UUID)\d*$",
)
_ROW_KEY_NAME = re.compile(
    r"^(id|index|idx|key|uuid|guid|row|rownum|unnamed: ?0|__index_level_0__)$"
    r"|(^|_)(row|record|event|request|impression|log|line|session|transaction|order|sample|trace)_?(id|key|no|nr|num|number|index|uuid)$"
)
_TIME_NAME = re.compile(
    r"(^|[_\-. ])(time|timestamp|ts|date|datetime|epoch)([_\-. ]|$|ms$|s$)|(_at|_ms|_ts)$|Time(stamp)?$|Date$"
)
_EPOCHS: tuple[tuple[EpochUnit, float], ...] = (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))
_EPOCH_RANGE = (631_152_000.0, 4_102_444_800.0)  # 1990 to 2100 in seconds


@dataclass(frozen=True, slots=True)
class RoleGuess:
    """What a column should become, and why.

    Attributes:
        kind: The role.
        reason: A short clause for tables and comments (``"12 distinct integers"``).
        hash_buckets: For ``categorical`` columns whose values hardly repeat: the number of hash buckets to use in place
            of a vocabulary.
        unit: For ``datetime`` columns that hold integers: what they count since 1970-01-01 UTC.
    """

    kind: ColumnKind
    reason: str
    hash_buckets: int | None = None
    unit: EpochUnit | None = None


def infer_roles(
    schema: pa.Schema, sample: pa.Table, *, rows: int | None = None, skip: Collection[str] = ()
) -> dict[str, RoleGuess]:
    """Guesses the role of every column.

    Strings become categories; integers become categories when few or named like ids, otherwise numbers; floats are
    numbers; timestamps, and integers that look like them, are date-times; lists of ids are sequences. A column without
    values, with a single value, or with another value in every row (a row key) is dropped.

    Args:
        schema: The columns to judge.
        sample: Some rows of them, ideally from all over the data; columns of ``schema`` that it lacks are judged by
            type alone.
        rows: Rows of the whole data, where ``sample`` is only a part. A column is taken for a row key by its values
            only when all rows are at hand, otherwise by its name as well.
        skip: Columns not to judge (labels, keys).

    Returns:
        A guess per column, in the order of the schema.

    Example:
        >>> table = pa.table({"user_id": [16777216, 16777217], "price": [1.5, None], "note": ["", ""]})
        >>> {name: guess.kind for name, guess in infer_roles(table.schema, table).items()}
        {'user_id': 'categorical', 'price': 'numeric', 'note': 'categorical'}
    """
    whole = rows is None or rows <= sample.num_rows
    total = sample.num_rows if rows is None else rows
    guesses: dict[str, RoleGuess] = {}
    for field in schema:
        if field.name in skip:
            continue
        column = sample.column(field.name) if field.name in sample.column_names else pa.chunked_array([], field.type)
        guesses[field.name] = _guess(field.name, column, whole=whole, total=total)
    return guesses


def looks_like_id(name: str) -> bool:
    """Whether a column is named like an identifier.

    Example:
        >>> [looks_like_id(name) for name in ("user_id", "videoId", "industry recode", "idle_hours", "paid")]
        [True, True, True, False, False]
    """
    return bool(_ID_NAME.search(name) or _ID_NAME.search(name.lower()) or _ROW_KEY_NAME.search(name.lower()))


def epoch_unit(name: str, column: pa.ChunkedArray) -> EpochUnit | None:
    """The unit of integers that count time since 1970, or ``None`` where name or values speak against it.

    Example:
        >>> epoch_unit("time_ms", pa.chunked_array([[1650841230000, 1650841299000]]))
        'ms'
        >>> epoch_unit("price", pa.chunked_array([[1650841230000, 1650841299000]])) is None
        True
    """
    if not _TIME_NAME.search(name) or not pa.types.is_integer(column.type):
        return None
    low, high = _bounds(column)
    for unit, scale in _EPOCHS:
        if low is not None and _EPOCH_RANGE[0] * scale <= low and high <= _EPOCH_RANGE[1] * scale:
            return unit
    return None


def _guess(name: str, column: pa.ChunkedArray, *, whole: bool, total: int) -> RoleGuess:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return RoleGuess("drop", "no value in any row")
    unusable = _unusable(kind)
    if unusable:
        return RoleGuess("drop", unusable)
    known = len(column) - column.null_count
    if len(column) >= FEW_ROWS and known == 0:
        return RoleGuess("drop", "no value in any row" if whole else f"no value in {len(column):,} sampled rows")
    if _is_list(kind):
        return RoleGuess("sequence", f"lists of {kind.value_type}")
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], kind)
    distinct = int(pc.count_distinct(column, mode="only_valid").as_py()) if known else 0
    if distinct == 1 and known == len(column) >= FEW_ROWS:
        value = column[0].as_py()
        return RoleGuess("drop", f"constant: {value!r}" + ("" if whole else f" in {known:,} sampled rows"))
    if pa.types.is_boolean(kind):
        return RoleGuess("boolean", "boolean")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return RoleGuess("datetime", str(kind))
    if pa.types.is_integer(kind):
        return _guess_integer(name, column, known, distinct, whole=whole, total=total)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _guess_float(name, column)
    return _guess_string(name, column, known, distinct, whole=whole, total=total)


def _guess_integer(
    name: str, column: pa.ChunkedArray, known: int, distinct: int, *, whole: bool, total: int
) -> RoleGuess:
    unit = epoch_unit(name, column)
    if unit:
        return RoleGuess("datetime", f"integers that count {unit} since 1970", unit=unit)
    named_id = looks_like_id(name)
    if _unique(known, distinct, len(column)) and (
        _is_row_number(column, distinct) or (named_id and _key(name, whole=whole))
    ):
        return RoleGuess("drop", "another value in every row: a row key")
    if named_id:
        return RoleGuess("categorical", "named like an id", _buckets(known, distinct, total, whole=whole))
    if distinct <= 2 or (distinct <= FEW_VALUES and distinct * 10 <= known):
        return RoleGuess("categorical", f"{distinct} distinct integers")
    return RoleGuess("numeric", f"{distinct:,} distinct integers")


def _guess_float(name: str, column: pa.ChunkedArray) -> RoleGuess:
    # pandas turns an integer column with a missing value into floats; an id is still an id then
    if looks_like_id(name) and pa.types.is_floating(column.type):
        values = column.drop_null().to_numpy()
        values = values[np.isfinite(values)]
        if len(values) and bool(np.all(values == np.trunc(values))) and float(np.abs(values).max()) < EXACT_FLOAT:
            return RoleGuess("categorical", "named like an id; integers stored as floats")
    return RoleGuess("numeric", str(column.type))


def _guess_string(
    name: str, column: pa.ChunkedArray, known: int, distinct: int, *, whole: bool, total: int
) -> RoleGuess:
    if _unique(known, distinct, len(column)):
        length = float(pc.mean(pc.utf8_length(column.cast(pa.large_string()))).as_py() or 0.0)
        if length >= LONG_TEXT:
            return RoleGuess("drop", f"free text: no value repeats, {length:.0f} characters on average")
        if _key(name, whole=whole):
            return RoleGuess("drop", "another value in every row: a row key")
    return RoleGuess("categorical", f"{distinct:,} distinct strings", _buckets(known, distinct, total, whole=whole))


def _unusable(kind: pa.DataType) -> str | None:
    """Why values of this type cannot be a feature, or ``None`` where they can."""
    if _is_list(kind):
        item = kind.value_type
        usable = pa.types.is_integer(item) or pa.types.is_string(item) or pa.types.is_large_string(item)
        return None if usable else f"lists of {item} are no sequence of ids"
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return f"{kind}: turn it into a number of seconds to use it"
    scalar = (
        pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_timestamp,
        pa.types.is_date, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
    )  # fmt: skip
    return None if any(test(kind) for test in scalar) else f"values of type {kind} are no feature"


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _unique(known: int, distinct: int, rows: int) -> bool:
    return rows >= FEW_ROWS and known == rows == distinct


def _key(name: str, *, whole: bool) -> bool:
    # in a part of the rows the ids of rare users are unique as well: then only the name can tell
    return whole or bool(_ROW_KEY_NAME.search(name.lower()))


def _is_row_number(column: pa.ChunkedArray, distinct: int) -> bool:
    low, high = _bounds(column)
    return low in (0.0, 1.0) and high - low + 1 == distinct


def _buckets(known: int, distinct: int, total: int, *, whole: bool) -> int | None:
    if known < 1000 or distinct < NEAR_UNIQUE * known:
        return None
    if not whole:
        # in a part of the rows ids look rarer than they are: only a vocabulary too large to count is hashed unseen
        return MOST_BUCKETS if total >= HUGE_ROWS else None
    return min(1 << max((distinct // 4).bit_length(), 10), MOST_BUCKETS)


def _bounds(column: pa.ChunkedArray) -> tuple[float | None, float]:
    bounds = pc.min_max(column).as_py()
    return (None, 0.0) if bounds["min"] is None else (float(bounds["min"]), float(bounds["max"]))
