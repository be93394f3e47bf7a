"""Raw arrays read as what their role says: numbers, truth values, times, lists."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.keys import is_text, microseconds
from polytask.errors import Problem, UserError

Unit = Literal["s", "ms", "us", "ns"]


def numbers(name: str, array: pa.Array) -> pa.Array:
    """The column as numbers: as they are, text that reads as numbers, dates and times as microseconds since 1970.

    Raises:
        UserError: The column holds text that is no number, or something else altogether.
    """
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        return array
    if pa.types.is_boolean(array.type):
        return array.cast(pa.int8())
    if pa.types.is_null(array.type):
        return array.cast(pa.float64())
    if pa.types.is_temporal(array.type):
        return pa.array(microseconds(array), mask=array.is_null().to_numpy(zero_copy_only=False))
    if not is_text(array.type):
        raise UserError(Problem(f"column '{name}'", f"is numeric, but holds {array.type}", "drop it, or give numbers"))
    remedy = 'clean the values, or say kind = "categorical"'
    return _of_text(name, array, pa.float64(), f"is numeric, but holds text that is no number; {remedy}")


def truths(name: str, array: pa.Array) -> pa.Array:
    """The column as true and false: booleans, numbers (all but 0 are true), or text such as ``true`` and ``0``.

    Raises:
        UserError: The column holds other text.
    """
    if pa.types.is_boolean(array.type):
        return array
    if is_text(array.type):
        remedy = 'write true and false, or say kind = "categorical"'
        return _of_text(name, array, pa.bool_(), f"is boolean, but holds text that is neither true nor false; {remedy}")
    values = numbers(name, array)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    return pc.not_equal(values, pa.scalar(0, values.type))


def timestamps(name: str, array: pa.Array, unit: Unit | None) -> pa.Array:
    """The column as timestamps in UTC: dates and times as they are, numbers as counts of ``unit`` since 1970.

    Raises:
        UserError: The column holds something else.
    """
    kind = array.type
    if pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp(kind.unit))
    if pa.types.is_date(kind):
        return array.cast(pa.timestamp("s"), safe=False)
    if pa.types.is_null(kind):
        return array.cast(pa.timestamp("s"))
    if pa.types.is_floating(kind):  # integers with gaps, from readers that have no missing integers
        inside = pc.less(pc.abs(array), pa.scalar(2.0**62, kind))
        array = pc.floor(pc.if_else(pc.fill_null(inside, False), array, None)).cast(pa.int64())
    elif pa.types.is_uint64(kind):
        array = pc.if_else(pc.less(array, pa.scalar(2**62, kind)), array, None)
    elif not pa.types.is_integer(kind):
        found = "text" if is_text(kind) else str(kind)
        remedy = "give timestamps, dates, or integers since 1970"
        raise UserError(Problem(f"column '{name}'", f"is a date-time, but holds {found}", remedy))
    return array.cast(pa.int64()).cast(pa.timestamp(unit or "s"))


def days(times: pa.Array) -> pa.Array:
    """Days since 1970-01-01 as floats; null where the time is."""
    per_day = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[times.type.unit] * 86_400.0
    return pc.divide(times.cast(pa.int64()).cast(pa.float64(), safe=False), per_day)


def epoch_unit(column: pa.Array | pa.ChunkedArray) -> Unit:
    """What integers since 1970 most likely count, by their size: seconds stay below 10^11 until the year 5138.

    Example:
        >>> epoch_unit(pa.array([1650841230000, None]))
        'ms'
    """
    values = np.abs(pc.drop_null(column).to_numpy().astype(np.float64))
    middle = float(np.nanmedian(values)) if len(values) else 0.0
    limits: tuple[tuple[Unit, float], ...] = (("s", 1e11), ("ms", 1e14), ("us", 1e17))
    return next((unit for unit, limit in limits if not middle >= limit), "ns")


def list_items(name: str, array: pa.Array, separator: str | None) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The items of all rows behind one another, and where each row starts (one more than rows).

    A missing list is an empty one; so is empty text. A missing item stays, as a null.

    Raises:
        UserError: The column holds neither lists nor text with a separator.
    """
    kind = array.type
    if pa.types.is_null(kind):
        return pa.array([], pa.int64()), np.zeros(len(array) + 1, np.int64)
    if separator is not None and is_text(kind):
        array = _split(array, separator)
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        found = "text" if is_text(kind) else str(kind)
        raise UserError(
            Problem(f"column '{name}'", f"is a sequence, but holds {found}", "give lists, or text with a separator")
        )
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(array) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return array.flatten(), offsets  # flatten skips null lists, as the lengths above do


def _split(array: pa.Array, separator: str) -> pa.Array:
    if isinstance(array, pa.DictionaryArray):
        return _split(array.dictionary, separator).take(array.indices)
    text = array.cast(pa.string())
    lists = pc.split_pattern(text, separator)
    return pc.if_else(pc.equal(text, ""), pa.scalar([], lists.type), lists)


def _of_text(name: str, array: pa.Array, target: pa.DataType, message: str) -> pa.Array:
    """Text cast to ``target``; of a dictionary each distinct value once. Blank text is missing."""
    words = array.dictionary if isinstance(array, pa.DictionaryArray) else array
    words = pc.utf8_trim_whitespace(words.cast(pa.string()))
    words = pc.if_else(pc.equal(words, ""), None, words)
    try:
        values = words.cast(target)
    except pa.ArrowInvalid as error:
        wrong = pa.array(_unreadable(words, target), pa.string())
        text = pc.utf8_trim_whitespace(array.cast(pa.string()))
        found = text.filter(pc.fill_null(pc.is_in(text, value_set=wrong), False))
        if len(found):
            what, _, remedy = message.partition("; ")
            count = f"{len(found):,} of {len(array):,} rows read, first {found[0].as_py()!r}"
            raise UserError(Problem(f"column '{name}'", f"{what} ({count})", remedy)) from error
        # words of a dictionary that no row uses do no harm
        values = pc.if_else(pc.is_in(words, value_set=wrong), None, words).cast(target)
    return values.take(array.indices) if isinstance(array, pa.DictionaryArray) else values


def _unreadable(words: pa.Array, target: pa.DataType) -> list[str]:
    wrong = []
    for word in pc.unique(words).drop_null():
        try:
            word.cast(target)
        except pa.ArrowInvalid:
            wrong.append(word.as_py())
    return wrong
