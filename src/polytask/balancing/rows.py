"""Every task's gradient at the shared parameters, task by task: what exact comparisons and aggregators need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.graph import accumulate
from polytask.balancing.ranks import Ranks

Matrix = tuple[Float[Tensor, "present width"], Callable[[Tensor], Tensor]]
Column = Float[Tensor, "present *leaf"] | list[Tensor | None] | None
"""The gradients of all present tasks at one leaf: one block, or a list of sparse ones; None: all are zero."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Gradients of single tasks.

    Attributes:
        sources: The leaves.
        own: What each leaf receives from private paths, of all tasks together; None: nothing.
        shared: What each leaf receives from every present task through what is shared.
    """

    sources: list[Tensor]
    own: list[Tensor | None]
    shared: list[Column]

    def __add__(self, other: Rows) -> Rows:
        """The rows of two micro-batches as of one batch."""
        places = {id(leaf): number for number, leaf in enumerate(self.sources)}
        sources, own, shared = list(self.sources), list(self.own), list(self.shared)
        for leaf, private, column in zip(other.sources, other.own, other.shared, strict=True):
            place = places.get(id(leaf))
            if place is None:
                sources.append(leaf)
                own.append(private)
                shared.append(column)
            else:
                own[place], shared[place] = plus(own[place], private), _join(shared[place], column)
        return Rows(sources, own, shared)

    def over(self, ranks: Ranks, present: int) -> Rows:
        """The shared part summed over processes; the own part of this process alone."""
        if ranks.size == 1:
            return self
        total: list[Column] = []
        for leaf, column in zip(self.sources, self.shared, strict=True):
            if isinstance(column, list):
                column = next(grad for grad in column if grad is not None)  # refused there
            total.append(ranks.sum(leaf.new_zeros(present, *leaf.shape) if column is None else column))
        return Rows(self.sources, self.own, total)

    def gramian(self) -> Float[Tensor, "present present"] | None:
        """``G[i, j] = sum over leaves of <shared[i], shared[j]>``; None if nothing is shared."""
        total: Tensor | None = None
        for column in self.shared:
            made = as_matrix(column)
            if made is not None:
                matrix = precise(made[0])
                total = plus(total, matrix @ matrix.T)
        return total

    def finite(self, present: int) -> Bool[Tensor, "present"]:
        """Of which tasks no shared gradient is NaN or infinite."""
        found = torch.ones(present, dtype=torch.bool, device=self.sources[0].device)
        for column in self.shared:
            if isinstance(column, Tensor):
                found &= column.flatten(1).isfinite().all(1)
            elif column is not None:
                known = [grad is None or bool(grad._values().isfinite().all()) for grad in column]
                found &= torch.tensor(known, device=found.device)
        return found

    def weighted(self, weights: Float[Tensor, "present"]) -> list[Tensor | None]:
        """``sum_i weights[i] shared[i]`` at every leaf."""
        found = []
        for column in self.shared:
            made = as_matrix(column)
            found.append(None if made is None else made[1](weights.to(made[0]) @ made[0]))
        return found

    def directions(
        self,
        aggregate: Callable[[Float[Tensor, "present width"]], Float[Tensor, "width"]],
        present: int,
        row_weights: Callable[[], Float[Tensor, "present"]] | None = None,
    ) -> list[Tensor | None]:
        """What ``aggregate`` makes of the shared gradients of all leaves side by side.

        Args:
            aggregate: From the Jacobian to one row.
            present: How many tasks there are.
            row_weights: With it the Jacobian has the same columns in every step: dense leaves in full, also where all
                gradients are zero, and no sparse ones; these are summed with the weights that it gives afterwards.
        """
        apart = [row_weights is not None and isinstance(column, list) for column in self.shared]
        made: list[Matrix | None] = []
        for leaf, column, left_out in zip(self.sources, self.shared, apart, strict=True):
            if row_weights is not None and column is None:
                column = leaf.new_zeros(present, *leaf.shape)
            made.append(None if left_out else as_matrix(column))
        joined = [one for one in made if one is not None]
        if not joined and not any(apart):
            return [None] * len(self.sources)
        # where all is apart the history has no columns, but its balancer still weighs the tasks
        columns = [matrix for matrix, _ in joined] or [self.sources[0].new_zeros(present, 0)]
        direction = aggregate(torch.cat(columns, 1))
        parts = iter(torch.split(direction, [matrix.shape[1] for matrix, _ in joined]))
        found = [None if one is None else one[1](next(parts)) for one in made]
        if row_weights is not None and any(apart):
            weighted = self.weighted(row_weights())
            found = [weighted[number] if apart[number] else one for number, one in enumerate(found)]
        return found

    def add(self, directions: Sequence[Tensor | None]) -> None:
        """Adds the own gradients and the directions to ``.grad``."""
        for leaf, own, direction in zip(self.sources, self.own, directions, strict=True):
            accumulate(leaf, plus(own, direction))


class Collector:
    """Takes the gradients of one task after the other, and holds each number once.

    Args:
        leaves: How many leaves there are.
        present: How many tasks there are.
    """

    def __init__(self, leaves: int, present: int) -> None:
        self.columns: list[Column] = [None] * leaves
        self._present, self._task = present, 0

    def take(self, gradients: Sequence[Tensor | None]) -> None:
        """The gradients of the next task."""
        for number, grad in enumerate(gradients):
            if grad is None:
                continue
            column = self.columns[number]
            if column is None:
                column = [None] * self._present if grad.is_sparse else grad.new_zeros(self._present, *grad.shape)
                self.columns[number] = column
            column[self._task] = grad
        self._task += 1


def _join(one: Column, other: Column) -> Column:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one + other
    return [plus(first, second) for first, second in zip(one, other, strict=True)]


def precise(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """In float32 at least: sums of products over all of a layer are too much for narrower types."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Their sum, where None is zero."""
    return other if one is None else one if other is None else one + other


def as_matrix(column: Column) -> Matrix | None:
    """The tasks' gradients at one leaf as a matrix, and the way back from one row; None if all are zero.

    Of sparse gradients only the rows that some task touches become columns.
    """
    if column is None:
        return None
    if isinstance(column, Tensor):
        shape = column.shape[1:]
        return column.flatten(1), lambda row: row.view(shape)
    parts = [None if grad is None else grad.coalesce() for grad in column]
    known = [grad for grad in parts if grad is not None]
    shape, touched = known[0].shape, torch.unique(torch.cat([grad.indices()[0] for grad in known]))
    blocks = known[0].values().new_zeros(len(parts), len(touched), *shape[1:])
    for block, grad in zip(blocks, parts, strict=True):
        if grad is not None:
            block[torch.searchsorted(touched, grad.indices()[0])] = grad.values()

    def back(row: Tensor) -> Tensor:
        return torch.sparse_coo_tensor(
            touched.unsqueeze(0), row.view(blocks.shape[1:]), shape, is_coalesced=True, check_invariants=False
        )

    return blocks.flatten(1), back
