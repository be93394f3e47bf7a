"""A uniform sample of a stream in bounded memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from polytask.data.hashing import hash_rows

Floats = npt.NDArray[np.float64]


class StreamSample:
    """Keeps the values whose hashed number in the stream is smallest: uniform, and the same however it is chunked.

    Args:
        size: Values kept; a shorter stream is kept whole.
        seed: Decides which.

    Example:
        >>> sample = StreamSample(3, seed=0)
        >>> sample.update(np.array([2.0, 1.0]))
        >>> sample.ordered().tolist()
        [1.0, 2.0]
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self._size, self._seed = size, seed
        self._values: list[Floats] = []
        self._hashes: list[npt.NDArray[np.uint64]] = []
        self._held = 0
        self._limit: np.uint64 | None = None
        self.seen = 0

    def update(self, values: Floats) -> None:
        """Takes in the next values of the stream."""
        hashes = hash_rows(self.seen, len(values), seed=self._seed)
        self.seen += len(values)
        if self._limit is not None:
            below = hashes < self._limit
            values, hashes = values[below], hashes[below]
        self._values.append(values)
        self._hashes.append(hashes)
        self._held += len(values)
        if self._held > 2 * self._size:
            self._shrink()

    def ordered(self) -> Floats:
        """The sample in ascending order."""
        self._shrink()
        return np.sort(self._values[0])

    def _shrink(self) -> None:
        values = np.concatenate(self._values) if self._values else np.empty(0)
        hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, np.uint64)
        if len(values) > self._size:
            keep = np.argpartition(hashes, self._size - 1)[: self._size]
            values, hashes = values[keep], hashes[keep]
            self._limit = hashes.max()
        self._values, self._hashes, self._held = [values], [hashes], len(values)
