"""How often every value occurs, counted while the training rows stream by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.keys import Keys, as_text, integer_keys, is_text
from polytask.data.vocabulary import Vocabulary

_PENDING = 1 << 16  # entries that wait at least before they are merged
_DENSE = 8  # keys are counted in an array while their range stays below eight times their number


class VocabularyCounter:
    """Counts distinct values; memory grows with distinct values only.

    Args:
        text: Whether the values are text; otherwise they have integer keys.

    Example:
        >>> counter = VocabularyCounter(text=False)
        >>> counter.update(pa.array([5, 7, 5, None]))
        >>> counter.finish(min_count=2).values.to_pylist()
        [5]
    """

    def __init__(self, *, text: bool) -> None:
        self._text = text
        self._pending: list[tuple[pa.Array, Keys]] = []
        self._waiting = self._merged = 0

    def update(self, array: pa.Array) -> None:
        """Counts the values of one array; nulls and NaN are not counted."""
        values, counts = _count_text(array) if self._text else _count_keys(array)
        self._pending.append((values, counts))
        self._waiting += len(values)
        if self._waiting > max(_PENDING, 2 * self._merged):  # memory follows the distinct values, not the rows
            self._merge()

    def finish(self, *, min_count: int = 1, max_vocabulary: int | None = None) -> Vocabulary:
        """The values seen at least ``min_count`` times, the most frequent ``max_vocabulary`` of them, in value order.

        Of values that are equally frequent, the smaller ones are kept.
        """
        if not self._pending:
            return Vocabulary(pa.array([], pa.string() if self._text else pa.int64()))
        self._merge()
        values, counts = self._pending[0]
        keep = np.flatnonzero(counts >= min_count)
        if max_vocabulary is not None and len(keep) > max_vocabulary:
            keep = np.sort(keep[np.argsort(-counts[keep], kind="stable")[:max_vocabulary]])
        return Vocabulary(values.take(pa.array(keep)))

    def _merge(self) -> None:
        table = pa.table(
            {
                "value": pa.chunked_array([values for values, _ in self._pending]),
                "count": pa.chunked_array([pa.array(counts) for _, counts in self._pending]),
            }
        )
        merged = table.group_by("value").aggregate([("count", "sum")]).sort_by("value")
        self._pending = [(merged.column("value").combine_chunks(), merged.column("count_sum").to_numpy())]
        self._waiting, self._merged = 0, len(merged)


def _count_keys(array: pa.Array) -> tuple[pa.Array, Keys]:
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    keys, known = integer_keys(array)
    values, counts = count_integers(keys if known is None else keys[known])
    return pa.array(values), counts


def count_integers(keys: Keys) -> tuple[Keys, Keys]:
    """Distinct integers in ascending order and how often each occurs; without sorting where they lie close together."""
    if not len(keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = int(keys.min()), int(keys.max())
    if high - low > _DENSE * len(keys):
        values, counts = np.unique(keys, return_counts=True)
        return values, counts.astype(np.int64)
    counted = np.bincount(keys - low, minlength=1)
    seen = np.flatnonzero(counted)
    return seen + low, counted[seen].astype(np.int64)


def _count_text(array: pa.Array) -> tuple[pa.Array, Keys]:
    if not isinstance(array, pa.DictionaryArray):
        array = as_text(array).dictionary_encode()
    elif not is_text(array.type):
        array = as_text(array.dictionary_decode()).dictionary_encode()
    indices = array.indices.drop_null().to_numpy(zero_copy_only=False)
    counts: npt.NDArray[np.int64] = np.bincount(indices, minlength=len(array.dictionary)).astype(np.int64)
    words = array.dictionary.cast(pa.string())
    seen = np.flatnonzero((counts > 0) & words.is_valid().to_numpy(zero_copy_only=False))
    return words.take(pa.array(seen)), counts[seen]
