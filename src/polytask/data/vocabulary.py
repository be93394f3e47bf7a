"""Values to row numbers, looked up without a Python object per row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.hashing import hash_array
from polytask.data.keys import Keys, as_text, integer_keys, is_text, keys_of_text

Ids = npt.NDArray[np.int32]

UNSEEN = 0  # a value that the training rows did not have, or not often enough
MISSING = 1
RESERVED = 2
_TABLE_SLACK = 65_536  # a look-up table is used while it stays below four entries per value plus this
_HASHED_FACTOR = 2  # text is looked up by hash in a vocabulary that is this much longer than the batch


class IdSpace(Protocol):
    """A set of row numbers that columns share: a vocabulary or a hash."""

    @property
    def rows(self) -> int:
        """How many rows of the embedding table it takes."""

    def encode(self, array: pa.Array) -> Ids:
        """Local row numbers of all values; `MISSING` for nulls and NaN, `UNSEEN` for values that it does not know."""


@dataclass(frozen=True)
class Vocabulary:
    """The values that training has seen, in the order of their rows.

    Numbers that arrive for a vocabulary of text are read as text, and text that arrives for one of numbers as integers.

    Attributes:
        values: ``int64`` keys or ``string``; value ``i`` has row ``2 + i``; each occurs once, none is null.

    Example:
        >>> vocabulary = Vocabulary(pa.array([16777216, 16777217]))
        >>> vocabulary.encode(pa.array([16777217, 16777216, None, 5])).tolist()
        [3, 2, 1, 0]
        >>> vocabulary.encode(pa.array(["16777217", "x"])).tolist()
        [3, 0]
    """

    values: pa.Array

    @property
    def rows(self) -> int:
        """Known values, the unseen row and the missing row."""
        return RESERVED + len(self.values)

    @property
    def is_text(self) -> bool:
        """Whether the values are strings."""
        return bool(pa.types.is_string(self.values.type))

    def encode(self, array: pa.Array) -> Ids:
        """Local row numbers of all values of ``array``."""
        if isinstance(array, pa.DictionaryArray):
            return _encode_dictionary(self, array)
        if self.is_text:
            return self._rows_of_text(as_text(array))
        if is_text(array.type):
            keys, reads = keys_of_text(array)
            rows = np.where(reads, self._rows_of_keys(keys), np.int32(UNSEEN))
            return _with_missing(rows, array)
        if pa.types.is_int32(array.type) and not array.null_count:
            return self._rows_of_keys(array.to_numpy())  # most id columns: no copy to 64 bits
        keys, known = integer_keys(array)
        rows = self._rows_of_keys(keys)
        if known is not None:
            rows[~known] = MISSING
        return rows

    def extended(self, others: Vocabulary) -> Vocabulary:
        """This vocabulary with the values of ``others`` that it lacks appended: old rows keep their numbers."""
        fresh = others.values.filter(pc.invert(pc.is_in(others.values, value_set=self.values)))
        return Vocabulary(pa.concat_arrays([self.values, fresh]))

    def _rows_of_text(self, array: pa.Array) -> Ids:
        if len(self.values) > _HASHED_FACTOR * len(array) and self._hashed is not None:
            return _with_missing(self._rows_by_hash(array), array)
        index = pc.fill_null(pc.index_in(array, value_set=self.values), UNSEEN - RESERVED)
        return _with_missing(index.to_numpy(zero_copy_only=False) + np.int32(RESERVED), array)

    def _rows_by_hash(self, array: pa.Array) -> Ids:
        # index_in builds its hash table over the whole vocabulary in every call; this one is built once
        assert self._hashed is not None
        ordered, rows = self._hashed
        at = rows[np.minimum(np.searchsorted(ordered, hash_array(array)), len(ordered) - 1)]
        same = pc.fill_null(pc.equal(self.values.take(pa.array(at - RESERVED)), array), False)
        return np.where(same.to_numpy(zero_copy_only=False), at, np.int32(UNSEEN))

    def _rows_of_keys(self, keys: Keys | Ids) -> Ids:
        if not len(self.values):
            return np.full(len(keys), UNSEEN, dtype=np.int32)
        if self._table is None:
            return self._rows_by_search(keys.astype(np.int64, copy=False))
        table, low = self._table
        if keys.dtype == np.int32 and (low < -(2**31) or low + len(table) > 2**31):
            keys = keys.astype(np.int64)
        # below the lowest key the difference wraps around to a large unsigned number: outside as well
        place = (keys - keys.dtype.type(low)).view(np.uint32 if keys.dtype == np.int32 else np.uint64)
        np.minimum(place, place.dtype.type(len(table) - 1), out=place)
        return table.take(place.view(keys.dtype))

    def _rows_by_search(self, keys: Keys) -> Ids:
        ordered, rows = self._ordered
        # look-ups in ascending order walk the table once, which random ones over millions of keys do not
        unique, inverse = np.unique(keys, return_inverse=True)
        at = np.minimum(np.searchsorted(ordered, unique), len(ordered) - 1)
        return np.where(ordered[at] == unique, rows[at], np.int32(UNSEEN))[inverse]

    @cached_property
    def _ordered(self) -> tuple[Keys, Ids]:
        keys = self.values.to_numpy()
        order = np.argsort(keys, kind="stable")
        return keys[order], (order + RESERVED).astype(np.int32)

    @cached_property
    def _hashed(self) -> tuple[npt.NDArray[np.uint64], Ids] | None:
        """Ascending hashes and their rows; None in the rare case that two values have one hash."""
        hashes = hash_array(self.values)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        return None if bool((ordered[1:] == ordered[:-1]).any()) else (ordered, (order + RESERVED).astype(np.int32))

    @cached_property
    def _table(self) -> tuple[Ids, int] | None:
        keys = self.values.to_numpy()
        low, high = int(keys.min()), int(keys.max())
        if high - low > 4 * len(keys) + _TABLE_SLACK:
            return None
        table = np.full(high - low + 2, UNSEEN, dtype=np.int32)  # the last entry stands for "outside"
        table[keys - low] = np.arange(RESERVED, RESERVED + len(keys), dtype=np.int32)
        return table, low


@dataclass(frozen=True)
class HashBuckets:
    """Row numbers by a stable hash: no vocabulary to fit or store, at the price of collisions.

    Attributes:
        buckets: Rows that values share.
        text: Whether training hashed text; numbers that arrive later are then read as text, and the reverse. ``None``
            hashes values as they come.

    Example:
        >>> bool((HashBuckets(8).encode(pa.array(["a", "b", None])) < 10).all())
        True
        >>> space = HashBuckets(1000, text=False)
        >>> space.encode(pa.array(["17"])).tolist() == space.encode(pa.array([17])).tolist()
        True
    """

    buckets: int
    text: bool | None = None

    @property
    def rows(self) -> int:
        """Buckets, the unseen row (for text where numbers were hashed) and the missing row."""
        return RESERVED + self.buckets

    def encode(self, array: pa.Array) -> Ids:
        """Local row numbers of all values of ``array``."""
        if isinstance(array, pa.DictionaryArray):
            return _encode_dictionary(self, array)
        if self.text:
            array = as_text(array)
        if is_text(array.type):
            if self.text is not False:
                return _with_missing(self._buckets_of(array), array)
            keys, reads = keys_of_text(array)
            return _with_missing(np.where(reads, self._buckets_of(pa.array(keys)), np.int32(UNSEEN)), array)
        keys, known = integer_keys(array)
        rows = self._buckets_of(pa.array(keys))
        if known is not None:
            rows[~known] = MISSING
        return rows

    def _buckets_of(self, array: pa.Array) -> Ids:
        return (hash_array(array) % np.uint64(self.buckets)).astype(np.int32) + np.int32(RESERVED)


def _encode_dictionary(space: IdSpace, array: pa.DictionaryArray) -> Ids:
    """Looks up each distinct value once; of a dictionary that is longer than the batch, only the values that occur."""
    dictionary, size = array.dictionary, len(array.dictionary)
    indices = pc.fill_null(array.indices.cast(pa.int64()), size).to_numpy(zero_copy_only=False)
    if size <= len(array):
        return np.append(space.encode(dictionary), np.int32(MISSING))[indices]
    occurs = np.zeros(size + 1, dtype=np.bool_)
    occurs[indices] = True
    used = np.flatnonzero(occurs[:size])
    rows = np.full(size + 1, MISSING, dtype=np.int32)
    rows[used] = space.encode(dictionary.take(pa.array(used)))
    return rows[indices]


def _with_missing(rows: Ids, array: pa.Array) -> Ids:
    if array.null_count:
        rows[array.is_null().to_numpy(zero_copy_only=False)] = MISSING
    return rows
