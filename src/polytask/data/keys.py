"""Raw values to 64-bit keys that stay the same whatever the width, the encoding or the unit in which they arrive."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Keys = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_LARGEST = "9223372036854775807"  # int64


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text, plain or dictionary-encoded."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_keyed(kind: pa.DataType) -> bool:
    """Whether values of this type have an integer key: whole numbers, floats, booleans, dates and times."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_temporal(kind)
    )


def integer_keys(array: pa.Array) -> tuple[Keys, Mask | None]:
    """A 64-bit key per value, and which values are not missing (``None``: all).

    Integers are their own keys, whatever their width (``uint64`` from 2^63 wraps around). A whole float is the integer
    that it equals, because a column of ints with gaps arrives as floats from some readers; other floats go by their bit
    pattern, and NaN is missing. Booleans are 0 and 1. Dates and times are microseconds since 1970, so that a file in
    milliseconds and a frame in nanoseconds agree; what is finer than a microsecond is cut off.

    Args:
        array: Of a type that `is_keyed`, or null; no dictionary.

    Example:
        >>> keys, known = integer_keys(pa.array([16777217, None, 16777216]))
        >>> keys.tolist(), known.tolist()
        ([16777217, 0, 16777216], [True, False, True])
        >>> integer_keys(pa.array([16777217.0, 0.5]))[0].tolist()
        [16777217, 4602678819172646912]
    """
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64), np.zeros(len(array), np.bool_)
    if pa.types.is_floating(kind):
        return _float_keys(array)
    known = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
    if pa.types.is_temporal(kind):
        return microseconds(array), known
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    values = (pc.fill_null(array, 0) if array.null_count else array).to_numpy(zero_copy_only=False)
    return (values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64, copy=False)), known


def microseconds(array: pa.Array) -> Keys:
    """Dates and timestamps as microseconds since 1970-01-01 UTC; 0 where missing."""
    kind = array.type
    counts = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
    values = pc.fill_null(counts, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_date32(kind):
        return values * (86_400 * 1_000_000)
    if pa.types.is_date64(kind):
        return values * 1_000
    if kind.unit == "ns":
        return values // 1_000
    return values * _MICROSECONDS[kind.unit]


def keys_of_text(array: pa.Array) -> tuple[Keys, Mask]:
    """The keys of text that reads as integers, and which text does: for text that arrives where numbers were expected.

    Example:
        >>> keys, reads = keys_of_text(pa.array(["17", "-3", "seven", None, "9223372036854775808"]))
        >>> keys[reads].tolist(), reads.tolist()
        ([17, -3], [True, True, False, False, False])
    """
    text = array.cast(pa.string())
    short = pc.match_substring_regex(text, r"^-?[0-9]{1,18}$")
    # 19 digits may fit into 64 bits or not: of equal length, text compares like numbers
    long = pc.and_(
        pc.match_substring_regex(text, r"^-?[1-9][0-9]{18}$"),
        pc.less_equal(pc.utf8_ltrim(text, characters="-"), _LARGEST),
    )
    reads = pc.fill_null(pc.or_(short, long), False)
    keys = pc.fill_null(pc.if_else(reads, text, None).cast(pa.int64()), 0)
    return keys.to_numpy(zero_copy_only=False), reads.to_numpy(zero_copy_only=False)


def as_text(array: pa.Array) -> pa.Array:
    """The values as text, for numbers that arrive where text was expected; whole floats read as integers.

    Example:
        >>> as_text(pa.array([7.0, 0.5, float("nan"), None])).to_pylist()
        ['7', '0.5', None, None]
    """
    if not pa.types.is_floating(array.type):
        return array if pa.types.is_string(array.type) else array.cast(pa.string())
    values = pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    whole = _whole(values)
    integers = pa.array(np.where(whole, values, 0.0).astype(np.int64)).cast(pa.string())
    return pc.if_else(pa.array(whole), integers, pc.if_else(pa.array(np.isnan(values)), None, array.cast(pa.string())))


def _float_keys(array: pa.Array) -> tuple[Keys, Mask | None]:
    floats = pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    whole, missing = _whole(floats), np.isnan(floats)
    keys = np.where(whole, np.where(whole, floats, 0.0).astype(np.int64), floats.view(np.int64))
    return keys, ~missing if missing.any() else None


def _whole(floats: npt.NDArray[np.float64]) -> Mask:
    whole: Mask = (np.abs(floats) < 2.0**63) & (np.floor(floats) == floats)
    return whole
