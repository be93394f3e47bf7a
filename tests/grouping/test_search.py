from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.grouping.exact import exact_groupings
from polytask.grouping.local import local_groupings
from polytask.grouping.objective import Group, Groups, help_within, score

SEARCHES = (exact_groupings, local_groupings)


def alone(tasks: int) -> list[list[int]]:
    return [[task] for task in range(tasks)]


def random_affinity(tasks: int, seed: int, *, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(tasks, tasks))
    found[rng.random(found.shape) < missing] = np.nan
    return found


def slow_score(affinity: np.ndarray, groups: Sequence[Group]) -> float:
    """The definition, word by word."""
    total = 0.0
    for group in groups:
        for task in group.serves:
            known = [affinity[j, task] for j in group.tasks if j != task and not np.isnan(affinity[j, task])]
            total += sum(known) / len(known) if known else 0.0
    return total / len(affinity)


def partitions(items: Sequence[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for found in partitions(rest):
        yield [[first], *found]
        for place in range(len(found)):
            yield [*found[:place], [first, *found[place]], *found[place + 1 :]]


def best_by_hand(affinity: np.ndarray, units: Sequence[Sequence[int]], groups: int, *, overlap: bool) -> float:
    """All ways to serve every unit from one of so many groups; with overlap, TAG's: each from the best group."""
    values = []
    if overlap:
        sets = [one for size in range(1, len(units) + 1) for one in combinations(range(len(units)), size)]
        for chosen in combinations(sets, groups):
            if set().union(*chosen) == set(range(len(units))):
                members = np.array([[any(t in units[u] for u in one) for t in range(len(affinity))] for one in chosen])
                within = help_within(affinity, members)
                total = 0.0
                for number, unit in enumerate(units):
                    rows = [row for row, one in enumerate(chosen) if number in one]
                    total += max(within[row, list(unit)].sum() for row in rows)
                values.append(total / len(affinity))
        return max(values)
    for partition in partitions(range(len(units))):
        if len(partition) == groups:
            tasks = [tuple(sorted(t for unit in part for t in units[unit])) for part in partition]
            values.append(slow_score(affinity, [Group(one, one) for one in tasks]))
    return max(values)


@given(st.integers(2, 7), st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
@settings(max_examples=40, deadline=None)
def test_the_score_is_its_definition(tasks: int, seed: int, missing: float) -> None:
    affinity = random_affinity(tasks, seed, missing=missing)
    places = np.random.default_rng(seed).integers(0, 3, tasks)
    members = [tuple(np.flatnonzero(places == group).tolist()) for group in set(places.tolist())]
    groups = [Group(one, one) for one in members]
    assert score(affinity, groups) == pytest.approx(slow_score(affinity, groups))


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("units", [alone(4), [[0, 3], [1], [2], [4]]])
@pytest.mark.parametrize("seed", range(4))
def test_the_exact_search_finds_the_best_of_all(units: list[list[int]], seed: int, overlap: bool) -> None:
    affinity = random_affinity(sum(map(len, units)), seed, missing=0.1)
    found = exact_groupings(affinity, units, 3, overlap=overlap)
    for count, groups in enumerate(found, 1):
        best = best_by_hand(affinity, units, count, overlap=overlap)
        # with overlap, a second group may be of no use: then the same groups with one fewer are as good
        assert score(affinity, groups) == pytest.approx(best)


@pytest.mark.parametrize("search", SEARCHES)
@given(st.integers(2, 8), st.integers(0, 10_000), st.booleans())
@settings(max_examples=25, deadline=None)
def test_groupings_are_whole(search: object, tasks: int, seed: int, overlap: bool) -> None:
    """Every task is served once, by a group that holds it; units stay together; groups are as many as asked for."""
    assert callable(search)
    rng = np.random.default_rng(seed)
    places = rng.integers(0, max(2, tasks - 1), tasks)
    units = [np.flatnonzero(places == place).tolist() for place in dict.fromkeys(places.tolist())]
    affinity = random_affinity(tasks, seed)
    found: list[Groups] = search(affinity, units, 4, overlap=overlap)
    assert len(found) == min(4, len(units))
    for count, groups in enumerate(found, 1):
        assert sorted(task for group in groups for task in group.serves) == list(range(tasks))
        assert all(set(group.serves) <= set(group.tasks) for group in groups)
        assert len(groups) == count or (overlap and len(groups) <= count)
        for unit in units:
            for group in groups:
                assert len(set(unit) & set(group.tasks)) in (0, len(unit))
                assert len(set(unit) & set(group.serves)) in (0, len(unit))


def test_the_search_does_not_depend_on_the_order_of_tasks() -> None:
    affinity, order = random_affinity(6, 1), np.random.default_rng(0).permutation(6)
    turned = affinity[np.ix_(order, order)]
    for one, other in zip(
        exact_groupings(affinity, alone(6), 4, overlap=False),
        exact_groupings(turned, alone(6), 4, overlap=False),
        strict=True,
    ):
        back = [tuple(sorted(order[list(group.tasks)].tolist())) for group in other]
        assert sorted(back) == sorted(group.tasks for group in one)


@pytest.mark.parametrize("seed", range(6))
def test_local_search_is_nearly_exact_where_both_can_be_done(seed: int) -> None:
    affinity = random_affinity(9, seed)
    exact = [score(affinity, groups) for groups in exact_groupings(affinity, alone(9), 4, overlap=False)]
    local = [score(affinity, groups) for groups in local_groupings(affinity, alone(9), 4, overlap=False)]
    assert local == pytest.approx(exact, rel=0.01)


def test_a_hundred_tasks_of_four_kinds_are_told_apart() -> None:
    kinds = np.arange(60) % 4
    affinity = random_affinity(60, 0) * 0.2 + np.where(kinds[:, None] == kinds, 1.0, -1.0)
    groups = local_groupings(affinity, alone(60), 4, overlap=False)[-1]
    assert [{int(kinds[task]) for task in group.tasks} for group in groups] == [{0}, {1}, {2}, {3}]


def test_overlapping_groups_take_helpers() -> None:
    """Task 0 helps all and is harmed by all: it goes alone, and helps in both other groups."""
    affinity = np.full((5, 5), -1.0)
    affinity[0, 1:] = 2.0
    for pair in ((1, 2), (3, 4)):
        affinity[np.ix_(pair, pair)] = 1.0
    affinity[1:, 0] = -3.0
    for search in SEARCHES:
        groups = search(affinity, alone(5), 3, overlap=True)[-1]
        assert [group.serves for group in groups] == [(0,), (1, 2), (3, 4)]
        assert [group.tasks for group in groups] == [(0,), (0, 1, 2), (0, 3, 4)]
        assert score(affinity, groups) == pytest.approx(4 * 1.5 / 5)
