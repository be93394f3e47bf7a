"""Exact order statistics of one column of any length in constant memory: radix selection over streamed passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.sources.base import TableSource

_SIGN = np.uint64(1 << 63)
_BITS = 16


def to_ordered(array: pa.Array) -> npt.NDArray[np.uint64] | None:
    """The values that are not missing (null, NaN) as unsigned integers of the same order.

    Returns:
        UInt64[values], or None for types without an order in time (text, lists, booleans).

    Example:
        >>> ordered = to_ordered(pa.array([-2.5, 0.0, 1e300]))
        >>> bool((ordered[:-1] < ordered[1:]).all())
        True
    """
    kind = array.type
    array = array.drop_null()
    if pa.types.is_uint64(kind):
        return array.to_numpy()
    if pa.types.is_floating(kind):
        values = array.cast(pa.float64()).to_numpy()
        bits = (values[~np.isnan(values)] + 0.0).view(np.uint64)  # adding 0.0 makes -0.0 and 0.0 one value
        return np.where(bits & _SIGN, ~bits, bits | _SIGN)
    if pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    elif not (pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date64(kind)):
        return None
    return array.cast(pa.int64()).to_numpy().view(np.uint64) ^ _SIGN


def from_ordered(value: int, kind: pa.DataType) -> int | float:
    """The inverse of `to_ordered` for one value of a column of type ``kind``."""
    bits = np.uint64(value)
    if pa.types.is_uint64(kind):
        return value
    if pa.types.is_floating(kind):
        bits = bits & ~_SIGN if bits & _SIGN else ~bits
        return float(np.array([bits]).view(np.float64)[0])
    return int(np.array([bits ^ _SIGN]).view(np.int64)[0])


def select_ordered(source: TableSource, column: str, ranks: Sequence[int]) -> tuple[list[int], int]:
    """The values that would stand at ``ranks`` (from 0) if the column were sorted, as `to_ordered` integers.

    Four passes over the column, each fixing 16 more bits by counting; missing values are not ranked.

    Returns:
        The values (0 for ranks beyond the last), and how many values are not missing.
    """
    prefixes = [0] * len(ranks)
    remaining = list(ranks)
    valid = 0
    for step in range(64 // _BITS):
        shift = np.uint64(64 - _BITS * (step + 1))
        counts = {prefix: np.zeros(1 << _BITS, dtype=np.int64) for prefix in prefixes}
        valid = 0
        for batch in source.scan([column]):
            ordered = to_ordered(batch.column(0))
            if ordered is None:
                raise TypeError(f"column '{column}' has no order")
            valid += len(ordered)
            heads = ordered >> shift
            digits = (heads & np.uint64((1 << _BITS) - 1)).astype(np.int64)
            for prefix, count in counts.items():
                inside = digits if step == 0 else digits[(heads >> np.uint64(_BITS)) == np.uint64(prefix)]
                count += np.bincount(inside, minlength=1 << _BITS)
        for number, prefix in enumerate(prefixes):
            ends = np.cumsum(counts[prefix])
            digit = min(int(np.searchsorted(ends, remaining[number], side="right")), (1 << _BITS) - 1)
            remaining[number] -= int(ends[digit - 1]) if digit else 0
            prefixes[number] = (prefix << _BITS) | digit
    return prefixes, valid
