"""Encoded rows in memory: row-major arrays, so that picking a shuffled batch is one copy per array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Sequences = Mapping[str, tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]]


@dataclass(frozen=True, slots=True)
class Block:
    """Some encoded rows.

    Attributes:
        ids: Rows of the fused embedding table, ``[rows, id columns]``.
        numeric: Scaled inputs, ``[rows, numerics]``.
        labels: ``[tasks, rows]``; 0 where unobserved.
        observed: ``[tasks, rows]``.
        sequences: Per sequence column its items and where each row starts.
        weights: Per task with a weight column, ``[rows]``.
        groups: Per group column, ``[rows]``.
    """

    ids: npt.NDArray[np.int32]
    numeric: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    observed: npt.NDArray[np.bool_]
    sequences: Sequences = field(default_factory=dict)
    weights: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    groups: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> Block:
        """The rows from ``start`` up to ``stop``; shares memory with this block."""
        return Block(
            self.ids[start:stop],
            self.numeric[start:stop],
            self.labels[:, start:stop],
            self.observed[:, start:stop],
            {name: _slice_lists(items, offsets, start, stop) for name, (items, offsets) in self.sequences.items()},
            {name: values[start:stop] for name, values in self.weights.items()},
            {name: values[start:stop] for name, values in self.groups.items()},
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Block:
        """The given rows, in that order."""
        return Block(
            self.ids[rows],
            self.numeric[rows],
            self.labels[:, rows],
            self.observed[:, rows],
            {name: _take_lists(items, offsets, rows) for name, (items, offsets) in self.sequences.items()},
            {name: values[rows] for name, values in self.weights.items()},
            {name: values[rows] for name, values in self.groups.items()},
        )


def concatenate(blocks: Sequence[Block]) -> Block:
    """The rows of all blocks behind one another; a single block is returned as it is."""
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    return Block(
        np.concatenate([block.ids for block in blocks]),
        np.concatenate([block.numeric for block in blocks]),
        np.concatenate([block.labels for block in blocks], axis=1),
        np.concatenate([block.observed for block in blocks], axis=1),
        {name: _join_lists([block.sequences[name] for block in blocks]) for name in first.sequences},
        {name: np.concatenate([block.weights[name] for block in blocks]) for name in first.weights},
        {name: np.concatenate([block.groups[name] for block in blocks]) for name in first.groups},
    )


def _slice_lists(
    items: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], start: int, stop: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    window = offsets[start : stop + 1]
    return items[window[0] : window[-1]], window - window[0]


def _take_lists(
    items: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    lengths = np.diff(offsets)[rows]
    taken = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=taken[1:])
    at = np.repeat(offsets[:-1][rows] - taken[:-1], lengths) + np.arange(taken[-1])
    return items[at], taken


def _join_lists(
    parts: Sequence[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    lengths = np.concatenate([np.diff(offsets) for _, offsets in parts])
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return np.concatenate([items for items, _ in parts]), offsets
