"""Parts to batches: streaming, shuffled by fragment and buffer, and resumable at any batch.

The order of an epoch is a function of ``(seed, epoch)`` alone. Fragments (row groups) are permuted; their rows, read in
that order, are cut into buffers; each buffer is permuted. A part that fits into one buffer is encoded once and kept.
Batch sizes differ by at most one row, so that no epoch ends in a batch of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from polytask.data.block import Block, concatenate
from polytask.data.parts import Part
from polytask.data.preprocessor import Counts, Preprocessor
from polytask.types import Batch, Features, Ragged

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands: the next batch to give.

    Attributes:
        epoch: Passes begun before this one.
        batch: Batches already given in this pass.
    """

    epoch: int = 0
    batch: int = 0


class Reader:
    """Encoded batches of one part. Their tensors may share memory with the reader: do not write to them.

    Args:
        part: The rows.
        preprocessor: The fitted preprocessing.
        fragment_rows: Rows of the part per fragment.
        buffer: Rows that are shuffled together. Memory is bounded by twice as many encoded rows (the buffer, and the
            next one while it fills), or by two batches where those are larger.
    """

    def __init__(self, part: Part, preprocessor: Preprocessor, fragment_rows: Rows, *, buffer: int = 262_144) -> None:
        self._part = part
        self._preprocessor = preprocessor
        self._fragment_rows = fragment_rows
        self._buffer = buffer
        self._kept: Block | None = None
        self._columns = preprocessor.columns_read()
        self.rows = int(fragment_rows.sum())

    def batches_per_epoch(self, size: int) -> int:
        """How many batches an epoch has."""
        return -(-self.rows // size)

    def shuffled(self, size: int, *, seed: int, start: Position | None = None) -> Iterator[tuple[Position, Batch]]:
        """Endless epochs of shuffled batches, each with the position after it.

        Args:
            size: Rows a batch, at most.
            seed: Decides every order.
            start: Where to go on; from a reader of the same rows, with the same size, seed and buffer.

        Raises:
            ValueError: There is no such position.
        """
        position, count = start or Position(), self.batches_per_epoch(size)
        if not 0 <= position.batch < max(count, 1) or position.epoch < 0:
            raise ValueError(f"{position} does not exist: an epoch has {count} batches of {size} rows")
        return self._epochs(size, seed, position)

    def ordered(self, size: int, *, labels: bool = True, counts: Counts | None = None) -> Iterator[Batch]:
        """All rows once, in the order of the table.

        Args:
            size: Rows a batch, at most.
            labels: Whether labels are read as well; without, the table need not have them.
            counts: Where unseen and missing values are counted.
        """
        fragments = range(len(self._fragment_rows))
        kept = labels and counts is None and self.rows <= self._buffer
        for block in [self._whole()] if kept else self._blocks(fragments, labels=labels, counts=counts):
            for start in range(0, len(block), size):
                yield to_batch(block.slice(start, start + size), self._preprocessor)

    def _epochs(self, size: int, seed: int, position: Position) -> Iterator[tuple[Position, Batch]]:
        count, epoch, first = self.batches_per_epoch(size), position.epoch, position.batch
        while count:
            for number, batch in enumerate(self._epoch(size, seed, epoch, first), first + 1):
                yield (Position(epoch, number) if number < count else Position(epoch + 1, 0)), batch
            epoch, first = epoch + 1, 0

    def _epoch(self, size: int, seed: int, epoch: int, first: int) -> Iterator[Batch]:
        """The batches of one epoch from batch ``first`` on."""
        count = self.batches_per_epoch(size)
        bounds = np.arange(count + 1) * self.rows // count
        per_buffer = count if self.rows <= self._buffer else max(1, self._buffer // size)
        number = first // per_buffer
        # the third number keeps the orders of fragments and of buffers apart
        order = np.random.default_rng([seed, epoch, 1]).permutation(len(self._fragment_rows))
        cuts = np.append(bounds[:-1:per_buffer], self.rows)
        for block in self._buffers(order, cuts[number:]):
            shuffle = np.random.default_rng([seed, epoch, 2, number]).permutation(len(block))
            inside = bounds[number * per_buffer : (number + 1) * per_buffer + 1] - cuts[number]
            for index in range(max(0, first - number * per_buffer), len(inside) - 1):
                yield to_batch(block.take(shuffle[inside[index] : inside[index + 1]]), self._preprocessor)
            number += 1
            del block  # its memory is needed for the next one

    def _buffers(self, order: Rows, cuts: Rows) -> Iterator[Block]:
        """The rows between consecutive ``cuts`` of the table with permuted fragments."""
        if self.rows <= self._buffer:
            yield self._whole()
            return
        sizes = iter(np.diff(cuts).tolist())
        pending: list[Block] = []
        wanted = next(sizes)
        for block in self._blocks(*self._skip_fragments(order, int(cuts[0]))):
            start = 0
            while len(block) - start >= wanted:
                pending.append(block.slice(start, start + wanted))
                start += wanted
                whole, pending = [concatenate(pending)], []
                yield whole.pop()
                wanted = next(sizes, self.rows + 1)
            if start < len(block):
                pending.append(block.slice(start, len(block)))
                wanted -= len(block) - start

    def _skip_fragments(self, order: Rows, skip: int) -> tuple[Rows, int]:
        """The fragments that are left after ``skip`` rows, and how many rows of the first one to skip."""
        ends = np.cumsum(self._fragment_rows[order])
        done = int(np.searchsorted(ends, skip, side="right"))
        return order[done:], skip - (int(ends[done - 1]) if done else 0)

    def _whole(self) -> Block:
        if self._kept is None:
            self._kept = concatenate(list(self._blocks(range(len(self._fragment_rows)))))
        return self._kept

    def _blocks(
        self,
        fragments: Sequence[int] | Rows,
        skip: int = 0,
        *,
        labels: bool = True,
        counts: Counts | None = None,
    ) -> Iterator[Block]:
        columns = self._columns if labels else self._preprocessor.feature_columns()
        for fragment in fragments:
            if not self._fragment_rows[fragment]:
                continue
            for batch in self._part.read(int(fragment), columns):
                if skip >= len(batch):
                    skip -= len(batch)
                    continue
                yield self._preprocessor.encode(batch.slice(skip), labels=labels, counts=counts)
                skip = 0


def to_batch(block: Block, preprocessor: Preprocessor) -> Batch:
    """A block as tensors that share its memory."""
    sequences = {
        name: Ragged(torch.from_numpy(items), torch.from_numpy(offsets))
        for name, (items, offsets) in block.sequences.items()
    }
    features = Features(torch.from_numpy(block.ids), torch.from_numpy(block.numeric), sequences)
    if not len(block.labels):
        return Batch(features, {}, {})
    labels, observed = torch.from_numpy(block.labels), torch.from_numpy(block.observed)
    return Batch(
        features,
        dict(zip(preprocessor.tasks, labels, strict=True)),
        dict(zip(preprocessor.tasks, observed, strict=True)),
        {name: torch.from_numpy(values) for name, values in block.weights.items()},
        {name: torch.from_numpy(values) for name, values in block.groups.items()},
    )
