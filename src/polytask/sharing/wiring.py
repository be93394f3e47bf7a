"""Who reads whom in a gated layer, and hence what belongs to one task alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

SHARED = -1
"""The owner of what more than one task reads, or none."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The reading relations of one layer.

    Attributes:
        visible: Which row takes from which expert.
        expert_streams: Which input stream each expert reads.
        gate_streams: Which input stream each row's gate reads; empty if nothing is gated, or if all gates read the
            input of the whole stack.
    """

    visible: Bool[Tensor, "rows experts"]
    expert_streams: tuple[int, ...]
    gate_streams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Owners:
    """For the rows, experts and input streams of one layer, the only task that uses each of them, else `SHARED`."""

    rows: tuple[int, ...]
    experts: tuple[int, ...]
    streams: tuple[int, ...]


def only_reader(sources: int, reads: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """For every source the owner that all its readers have in common, else `SHARED`.

    Args:
        sources: How many sources there are.
        reads: Pairs of (source, owner of the reader).

    Example:
        >>> only_reader(3, [(0, 0), (0, 0), (1, 0), (1, 1)])
        (0, -1, -1)
    """
    owners: list[set[int]] = [set() for _ in range(sources)]
    for source, owner in reads:
        owners[source].add(owner)
    return tuple(next(iter(found)) if len(found) == 1 else SHARED for found in owners)


def trace_owners(wirings: Sequence[Wiring], streams: Sequence[int], task_rows: Sequence[int]) -> list[Owners]:
    """The owners in every layer of a stack, found from the tasks down.

    Args:
        wirings: From the input upwards.
        streams: Number of input streams of each layer.
        task_rows: Which row of the last layer each task reads.

    Returns:
        One entry per layer. The streams of the first one are the common input, shared by definition.
    """
    rows = only_reader(wirings[-1].visible.shape[0], [(row, task) for task, row in enumerate(task_rows)])
    found = []
    for wiring, count in zip(reversed(wirings), reversed(streams), strict=True):
        seen = wiring.visible.nonzero().tolist()
        experts = only_reader(wiring.visible.shape[1], [(expert, rows[row]) for row, expert in seen])
        reads = [*zip(wiring.expert_streams, experts, strict=True), *zip(wiring.gate_streams, rows, strict=False)]
        below = only_reader(count, reads)
        found.append(Owners(rows, experts, below))
        rows = below
    found.reverse()
    found[0] = Owners(found[0].rows, found[0].experts, (SHARED,) * streams[0])
    return found
