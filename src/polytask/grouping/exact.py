"""The best groupings of few tasks, by dynamic programming over all subsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from polytask.grouping.objective import Group, Groups, Matrix, help_within, ordered

Masks = Int[np.ndarray, "masks"]
Values = Float[np.ndarray, "masks"]
TIE = 1e-12


def exact_groupings(affinity: Matrix, units: Sequence[Sequence[int]], most: int, *, overlap: bool) -> list[Groups]:
    """The best grouping with exactly 1, 2, ... groups.

    ``value(S)`` is what the tasks of S receive in one group: the group S itself or, with ``overlap``, the best group
    that contains S. Then ``best(k, S) = max over parts P of S of value(P) + best(k - 1, S without P)``, where P holds
    the first unit of S. Both are 3^n steps for n units; n = 12 takes about a second.

    Args:
        affinity: ``[from, to]``.
        units: Tasks that stay together.
        most: Largest number of groups.
        overlap: Whether a group may hold tasks that another one serves.
    """
    count = len(units)
    everything = (1 << count) - 1
    value, chosen = _values(affinity, units, overlap=overlap)
    best = [value, *(np.full(1 << count, -np.inf) for _ in range(min(most, count) - 1))]
    parts = [np.zeros(1 << count, dtype=np.int64) for _ in best]
    for whole in range(1, 1 << count):
        first = whole & -whole
        inner = _subsets(whole ^ first)[:-1] | first  # the first unit's part, never all
        for level in range(1, len(best)):
            if inner.size:
                sums = value[inner] + best[level - 1][whole ^ inner]
                place = int(sums.argmax())
                best[level][whole], parts[level][whole] = sums[place], inner[place]
    found = []
    for level in range(len(best)):
        served = list(_unfold(everything, level, parts))
        groups = [Group(_tasks(int(chosen[mask]), units), _tasks(mask, units)) for mask in served]
        found.append(ordered(groups))
    return found


def _unfold(whole: int, level: int, parts: Sequence[Masks]) -> Iterator[int]:
    while level:
        part = int(parts[level][whole])
        yield part
        whole, level = whole ^ part, level - 1
    yield whole


def _values(affinity: Matrix, units: Sequence[Sequence[int]], *, overlap: bool) -> tuple[Values, Masks]:
    """Per set of units what its tasks receive, and the group in which they do."""
    masks = np.arange(1 << len(units))
    holds: Bool[np.ndarray, "masks units"] = (masks[:, None] >> np.arange(len(units)) & 1).astype(bool)
    owner = np.zeros((len(units), len(affinity)), dtype=bool)
    for number, unit in enumerate(units):
        owner[number, list(unit)] = True
    per_unit = help_within(affinity, holds @ owner) @ owner.T  # [masks, units]
    alone = np.where(holds, per_unit, 0.0).sum(1)
    if not overlap:
        return alone, masks
    value, chosen = np.full(len(masks), -np.inf), masks.copy()
    for group in sorted(map(int, masks[1:]), key=int.bit_count):  # of equal ones, the smallest
        served, sums = _subsets(group), _subset_sums(group, per_unit[group])
        better = sums > value[served] + TIE
        value[served[better]], chosen[served[better]] = sums[better], group
    return value, chosen


def _subsets(mask: int) -> Masks:
    """All subsets of a set of bits, the set itself last."""
    found = np.zeros(1, dtype=np.int64)
    for bit in _bits(mask):
        found = np.concatenate([found, found | (1 << bit)])
    return found


def _subset_sums(mask: int, values: Float[np.ndarray, "units"]) -> Values:
    """The sums of values over the same subsets."""
    found = np.zeros(1)
    for bit in _bits(mask):
        found = np.concatenate([found, found + values[bit]])
    return found


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def _tasks(mask: int, units: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sorted(task for bit in _bits(mask) for task in units[bit]))
