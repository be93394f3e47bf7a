"""Hashes that never change: for splits by key, hashed vocabularies and fingerprints.

Every number here is fixed for good (tests pin values), because a split or a trained embedding row depends on it. The
hashes of libraries are not promised to stay the same between their versions, hence our own:

    mix(x)       = splitmix64 (Steele, Lea & Flood 2014): a bijection of 64-bit integers
    key(seed)    = mix(seed)
    integer v    : mix(v ^ key)
    float v      : like the integer where v is a whole number below 2^63, otherwise mix(bits(v) ^ mix(key + 1))
    bytes s      : mix(mix(key + 2) + len(s) + sum_i mix(w_i ^ mix(key + 3 + i))), w_i the i-th little-endian 64-bit
                   word of s, padded with zero bytes
    missing      : mix(key - 1)

All sums are modulo 2^64. Booleans hash as 0 and 1, dates and times as their integer in the unit of the column.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UInt64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_WORDS_AT_ONCE = 1 << 20
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)


def splitmix64(values: UInt64) -> UInt64:
    """Mixes every 64-bit integer: adding the golden ratio, then two rounds of shift and multiply.

    Example:
        >>> hex(int(splitmix64(np.array([0], dtype=np.uint64))[0]))
        '0xe220a8397b1dcdaf'
    """
    mixed = np.asarray(values, dtype=np.uint64) + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MULTIPLY_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MULTIPLY_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


def unit_interval(hashes: UInt64) -> npt.NDArray[np.float64]:
    """Maps hashes to [0, 1) by their upper 53 bits, evenly and exactly representable."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hash_rows(first: int, count: int, seed: int) -> UInt64:
    """One hash per global row number ``first .. first + count - 1``, whatever the chunking."""
    rows = np.arange(first, first + count, dtype=np.uint64)
    return splitmix64(rows ^ _key(seed))


def hash_array(array: pa.Array, seed: int = 0) -> UInt64:
    """A stable 64-bit hash of every value; equal keys hash equally on any machine and with any version.

    Integers of any width agree, and so do whole floats (``5`` and ``5.0`` are one key); text and its dictionary-encoded
    form agree, and only the distinct values of a dictionary are hashed. Missing values get one fixed hash.

    Args:
        array: Integers, booleans, floats, dates, times, text, binary, all-null, or a dictionary of these.
        seed: Gives independent hash functions.

    Returns:
        UInt64[rows].

    Raises:
        TypeError: For nested or decimal columns.

    Example:
        >>> hash_array(pa.array(["u1", None, "u1"])).tolist() == hash_array(pa.array(["u1", None, "u1"])).tolist()
        True
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        return _hash_dictionary(array, seed)
    hashes = _hash_values(array, seed)
    if array.null_count:
        hashes[array.is_null().to_numpy(zero_copy_only=False)] = _null_hash(seed)
    return hashes


def _key(seed: int) -> np.uint64:
    return np.uint64(splitmix64(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))[0])


def _null_hash(seed: int) -> np.uint64:
    return np.uint64(splitmix64(_offset_key(seed, -1))[0])


def _offset_key(seed: int, offset: int) -> UInt64:
    return np.array([(int(_key(seed)) + offset) & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)


def _hash_dictionary(array: pa.DictionaryArray, seed: int) -> UInt64:
    hashes = np.append(hash_array(array.dictionary, seed), _null_hash(seed))
    indices = pc.fill_null(array.indices.cast(pa.int64()), len(hashes) - 1)
    return hashes[indices.to_numpy(zero_copy_only=False)]


def _hash_values(array: pa.Array, seed: int) -> UInt64:
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), dtype=np.uint64)
    if pa.types.is_floating(kind):
        return _hash_floats(pc.fill_null(array.cast(pa.float64()), 0.0).to_numpy(), seed)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _hash_bytes(array, seed)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _hash_bytes(array.cast(pa.string()), seed)
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return _hash_bytes(array.cast(pa.binary()), seed)
    return splitmix64(_as_integers(array) ^ _key(seed))


def _as_integers(array: pa.Array) -> UInt64:
    kind = array.type
    if pa.types.is_uint64(kind):
        return pc.fill_null(array, 0).to_numpy()
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int64())
    elif pa.types.is_date32(kind) or pa.types.is_time32(kind):
        array = array.cast(pa.int32()).cast(pa.int64())
    elif pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        array = array.cast(pa.int64())
    else:
        raise TypeError(f"no stable hash for values of type {kind}")
    return pc.fill_null(array, 0).to_numpy().view(np.uint64)


def _hash_floats(values: npt.NDArray[np.float64], seed: int) -> UInt64:
    whole = (np.abs(values) < 2.0**63) & (np.trunc(values) == values)
    integers = np.where(whole, values, 0.0).astype(np.int64).view(np.uint64)
    bits = np.where(np.isnan(values), np.nan, values).view(np.uint64)  # one NaN among its many bit patterns
    fractional_key = splitmix64(_offset_key(seed, 1))
    return np.where(whole, splitmix64(integers ^ _key(seed)), splitmix64(bits ^ fractional_key))


def _hash_bytes(array: pa.Array, seed: int) -> UInt64:
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[array.offset : array.offset + len(array) + 1].astype(
        np.int64
    )
    if not len(array):
        return np.zeros(0, dtype=np.uint64)
    padded = np.zeros(offsets[-1] - offsets[0] + 8, dtype=np.uint8)
    if data is not None:
        padded[:-8] = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]
    starts = offsets[:-1] - offsets[0]
    lengths = np.diff(offsets)
    total = np.empty(len(array), dtype=np.uint64)
    word_ends = np.cumsum((lengths + 7) // 8)
    first = 0
    while first < len(array):  # bounded memory: about a million words at a time
        budget = _WORDS_AT_ONCE + (word_ends[first - 1] if first else 0)
        last = max(first + 1, int(np.searchsorted(word_ends, budget, side="right")))
        total[first:last] = _word_sums(padded, starts[first:last], lengths[first:last], seed)
        first = last
    return splitmix64(splitmix64(_offset_key(seed, 2)) + lengths.astype(np.uint64) + total)


def _word_sums(
    padded: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], seed: int
) -> UInt64:
    """Per text, the sum over its 64-bit words of their mixed value."""
    counts = (lengths + 7) // 8
    owners = np.repeat(np.arange(len(starts)), counts)
    position = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    # one 64-bit word may start at any byte: a view with a stride of one byte
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    word = words[starts[owners] + 8 * position] & _MASKS[np.minimum(lengths[owners] - 8 * position, 8)]
    position_keys = splitmix64(position.astype(np.uint64) + _offset_key(seed, 3))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(splitmix64(word ^ position_keys), dtype=np.uint64)])
    ends = np.cumsum(counts)
    return sums[ends] - sums[ends - counts]
