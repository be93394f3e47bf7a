"""Rows of a part in memory, given to the training loop as batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polytask.data.preprocessor import Counts
from polytask.data.reader import Reader
from polytask.types import Batch, Features, TaskName


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows with the labels of all tasks.

    Attributes:
        ids: Rows of the embedding table.
        numeric: Numbers.
        labels: Finite where unobserved.
        observed: Which labels are known.
        tasks: Names of the tasks.
    """

    ids: Int[Tensor, "rows columns"]
    numeric: Float[Tensor, "rows numerics"]
    labels: Float[Tensor, "tasks rows"]
    observed: Bool[Tensor, "tasks rows"]
    tasks: tuple[TaskName, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Int[Tensor, "some"]) -> Rows:
        """The given rows, in that order."""
        return replace(
            self,
            ids=self.ids[rows],
            numeric=self.numeric[rows],
            labels=self.labels[:, rows],
            observed=self.observed[:, rows],
        )

    def some(self, most: int | None, seed: int) -> Rows:
        """At most so many, drawn; in the old order."""
        if most is None or len(self) <= most:
            return self
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self))[:most])
        return self.take(torch.from_numpy(chosen))

    def batch(self) -> Batch:
        """All of them."""
        return Batch(
            Features(self.ids, self.numeric),
            dict(zip(self.tasks, self.labels, strict=True)),
            dict(zip(self.tasks, self.observed, strict=True)),
        )


class MemoryReader(Reader):
    """Batches of rows in memory.

    Args:
        rows: What it gives.
    """

    def __init__(self, rows: Rows) -> None:
        # the parts that read and encode files stay unmade: the two methods that use them are replaced
        self._all, self.rows = rows, len(rows)

    def ordered(self, size: int, *, labels: bool = True, counts: Counts | None = None) -> Iterator[Batch]:
        """All rows once, in their own order."""
        whole = self._all.batch()
        return (whole.slice(start, start + size) for start in range(0, self.rows, size))

    def _epoch(self, size: int, seed: int, epoch: int, first: int) -> Iterator[Batch]:
        count = self.batches_per_epoch(size)
        bounds = np.arange(count + 1) * self.rows // count
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(self.rows))
        for number in range(first, count):
            yield self._all.take(order[bounds[number] : bounds[number + 1]]).batch()
