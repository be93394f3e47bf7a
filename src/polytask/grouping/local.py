"""Good groupings of many tasks: from several starts, one unit moves at a time, as long as that helps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from polytask.grouping.objective import Group, Groups, Matrix, help_within, off_diagonal, ordered, score

Places = Int[np.ndarray, "units"]
Owner = Bool[np.ndarray, "units tasks"]
Members = Bool[np.ndarray, "groups tasks"]
STARTS = 16
TIE = 1e-12


def local_groupings(affinity: Matrix, units: Sequence[Sequence[int]], most: int, *, overlap: bool) -> list[Groups]:
    """Groupings with 1, 2, ... groups that no move of one unit makes better.

    From each of 16 starts (fixed seeds) the best single move is taken until none helps; the best end is kept. With
    ``overlap`` each end goes on: every group takes and drops helpers as long as what it serves receives more, and every
    unit goes to the group that serves it best, in turn, until neither changes.

    Args:
        affinity: ``[from, to]``.
        units: Tasks that stay together.
        most: Largest number of groups.
        overlap: Whether a group may hold tasks that another one serves.
    """
    owner = np.zeros((len(units), len(affinity)), dtype=bool)
    for number, unit in enumerate(units):
        owner[number, list(unit)] = True
    found = []
    for groups in range(1, min(most, len(units)) + 1):
        ends = [_climb(affinity, owner, start, groups) for start in _starts(len(units), groups)]
        finish = _with_helpers if overlap else _disjoint
        found.append(max((finish(affinity, owner, end, groups) for end in ends), key=lambda one: score(affinity, one)))
    return found


def _starts(units: int, groups: int) -> Iterator[Places]:
    for seed in range(STARTS if groups > 1 else 1):
        yield np.random.default_rng(seed).permutation(np.arange(units) % groups)  # no group is empty


def _climb(affinity: Matrix, owner: Owner, places: Places, groups: int) -> Places:
    """Makes the move that helps most until none does."""
    known, values = off_diagonal(affinity)
    give, number = owner @ values, owner @ known  # what a unit adds to every task's sum and count
    units = np.arange(len(owner))
    while True:
        holds = places == np.arange(groups)[:, None]  # [groups, units]
        sums, counts, members = holds @ give, holds @ number, holds @ owner
        now = (_ratio(sums, counts) * members).sum(1)
        left = places  # the group that a unit leaves, and what that receives without it
        without = (_ratio(sums[left] - give, counts[left] - number) * (members[left] & ~owner)).sum(1)
        joined = _ratio(sums + give[:, None], counts + number[:, None])  # [units, groups, tasks]
        gains = (joined * (members | owner[:, None])).sum(2) - now + (without - now[left])[:, None]
        gains[units, left] = -np.inf
        gains[holds.sum(1)[left] == 1] = -np.inf  # nobody would be left in its group
        unit, group = np.unravel_index(int(gains.argmax()), gains.shape)
        if gains[unit, group] <= TIE:
            return places
        places = np.where(units == unit, group, places)


def _ratio(sums: Float[np.ndarray, "*shape"], counts: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), 0.0)


def _disjoint(affinity: Matrix, owner: Owner, places: Places, groups: int) -> Groups:
    members = (places == np.arange(groups)[:, None]) @ owner
    return _grouping(members, members)


def _with_helpers(affinity: Matrix, owner: Owner, places: Places, groups: int) -> Groups:
    """Lets groups take helpers and units go where they are served best."""
    members = (places == np.arange(groups)[:, None]) @ owner
    before = -np.inf
    while True:
        members = np.stack([_helped(affinity, owner, own, places == group) for group, own in enumerate(members)])
        received = np.where(members @ owner.T, help_within(affinity, members) @ owner.T, -np.inf)  # [groups, units]
        value = float(received.max(0).sum())
        if value <= before + TIE:
            serves = (places == np.arange(groups)[:, None]) @ owner
            return _grouping(members[serves.any(1)], serves[serves.any(1)])
        places, before = received.argmax(0), value


def _helped(
    affinity: Matrix, owner: Owner, members: Bool[np.ndarray, "tasks"], serves: Bool[np.ndarray, "units"]
) -> Bool[np.ndarray, "tasks"]:
    """The group after adding or removing helpers, one at a time, while the served units receive more."""
    served, free = serves @ owner, owner[~serves]
    while True:
        options = np.concatenate([members[None], members ^ free])
        values = (help_within(affinity, options) * served).sum(1)
        best = int(values.argmax())
        if values[best] <= values[0] + TIE:
            return members
        members = options[best]


def _grouping(members: Members, serves: Members) -> Groups:
    pairs = zip(members.tolist(), serves.tolist(), strict=True)
    return ordered([Group(_numbers(group), _numbers(own)) for group, own in pairs])


def _numbers(held: Sequence[bool]) -> tuple[int, ...]:
    return tuple(number for number, is_in in enumerate(held) if is_in)
