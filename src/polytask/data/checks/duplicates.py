"""Rows that stand in two parts: found by a stable hash of whole rows, on a sample chosen by that hash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.checks.parts import PARTS, PartBatch, PartName
from polytask.data.hashing import hash_array, splitmix64
from polytask.errors import Problem

MANY = 0.01  # share of repeated rows below which it hardly matters
MOST = 0.5  # share from which even a coarse table explains nothing
EXCESS = 1.5  # how much more often than train rows among themselves, for a warning
_KEPT = 400_000  # hashes kept per part; beyond, only every second, fourth, ... hash is


class DuplicateScan:
    """Counts rows of validation and test that occur, equal in all columns, in an earlier part.

    Args:
        columns: The columns that make a row: features and labels, without keys.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._names = tuple(sorted(columns))
        self._hashes: dict[PartName, list[npt.NDArray[np.uint64]]] = {}
        self._rows: dict[PartName, int] = {}
        self._bits = 0

    @property
    def columns(self) -> frozenset[str]:
        """The columns that make a row."""
        return frozenset(self._names)

    def update(self, piece: PartBatch) -> None:
        """Hashes the rows of one batch."""
        if not self.columns <= set(piece.batch.schema.names):
            return
        total = np.zeros(piece.batch.num_rows, dtype=np.uint64)
        for name in self._names:
            total = splitmix64(total ^ _hash_column(piece.batch.column(name)))
        self._rows[piece.part] = self._rows.get(piece.part, 0) + len(total)
        self._hashes.setdefault(piece.part, []).append(self._kept(total))
        while sum(map(len, self._hashes[piece.part])) > _KEPT:
            self._bits += 1
            self._hashes = {
                part: [self._kept(part_hashes) for part_hashes in found] for part, found in self._hashes.items()
            }

    def problems(self) -> list[Problem]:
        """A warning per pair of parts with many common rows, a note where they are few."""
        found = {part: np.concatenate(self._hashes[part]) for part in PARTS if part in self._hashes}
        problems = []
        for later in PARTS[1:]:
            for earlier in PARTS[: PARTS.index(later)]:
                if later in found and earlier in found and len(found[later]):
                    problems += self._compare(earlier, later, found[earlier], found[later])
        return problems

    def _compare(
        self, earlier: PartName, later: PartName, known: npt.NDArray[np.uint64], seen: npt.NDArray[np.uint64]
    ) -> list[Problem]:
        repeated = int(np.isin(seen, known).sum())
        if not repeated:
            return []
        share = repeated / len(seen)
        _, inverse, counts = np.unique(known, return_inverse=True, return_counts=True)
        own = float((counts[inverse] > 1).mean())
        sampled = f" (in a sample of {len(seen):,})" if self._bits else ""
        what = (
            f"{repeated:,} of {len(seen):,} rows ({share:.2%}) also stand in the {earlier} part, equal in all columns"
        )
        if share >= MOST or (share >= MANY and share > EXCESS * own):
            remedy = "scores may flatter: remove duplicates, or split by hash of a key"
            return [Problem(f"the {later} part", what + sampled, remedy, "warning")]
        coarse = (
            f"so do {own:.2%} of the {earlier} rows among themselves: few columns, few values" if own >= share else ""
        )
        return [Problem(f"the {later} part", what + sampled, coarse, "note")]

    def _kept(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        # equal rows have equal hashes, so a choice by the hash keeps or drops all twins together
        return hashes[hashes & np.uint64((1 << self._bits) - 1) == 0] if self._bits else hashes


def _hash_column(column: pa.Array) -> npt.NDArray[np.uint64]:
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return hash_array(column)
    lengths = np.asarray(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    owners = np.repeat(np.arange(len(column)), lengths)
    position = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = splitmix64(hash_array(column.flatten()) + position.astype(np.uint64))
    total = lengths.astype(np.uint64)
    np.add.at(total, owners, items)
    return total
