"""Dominance and hypervolume against definitions, counted cells and random points."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polytask.fronts.dominance import dominated_volume, non_dominated

points = st.integers(1, 5).flatmap(
    lambda tasks: arrays(np.float64, st.tuples(st.integers(0, 9), st.just(tasks)), elements=st.integers(0, 6))
)
"""Small whole numbers: ties and equal points are frequent, and volumes are exact."""


def by_definition(values):
    return [not any(np.all(other <= one) and np.any(other < one) for other in values) for one in values]


def by_counting(values, reference):
    """How many unit cells below the reference some point dominates."""
    cells = itertools.product(*(range(int(edge)) for edge in reference))
    return sum(any(np.all(one <= cell) for one in values) for cell in cells)


@given(points)
@settings(deadline=None)
def test_non_dominated_is_its_definition(values):
    assert non_dominated(values).tolist() == by_definition(values)


def test_non_dominated_in_chunks(monkeypatch):
    values = np.random.default_rng(0).integers(0, 30, size=(300, 3)).astype(float)
    whole = non_dominated(values)
    monkeypatch.setattr("polytask.fronts.dominance.CHUNK", 5000)
    assert non_dominated(values).tolist() == whole.tolist() == by_definition(values)


def test_non_dominated_where_sums_round():
    values = np.array([[1e16, 1.0], [1e16, 0.0], [np.nextafter(1e16, 0), 2.0]])
    assert non_dominated(values).tolist() == [False, True, True]


@given(points, st.integers(1, 4))
@settings(deadline=None)
def test_the_volume_is_the_number_of_cells(values, edge):
    reference = np.full(values.shape[1], float(edge))
    assert dominated_volume(values, reference) == by_counting(values, reference)


@given(points, st.integers(0, 99))
@settings(deadline=None)
def test_order_and_dominated_points_do_not_matter(values, seed):
    reference = np.full(values.shape[1], 7.0)
    random = np.random.default_rng(seed)
    whole = dominated_volume(values, reference)
    assert dominated_volume(random.permutation(values), reference) == pytest.approx(whole)
    assert dominated_volume(values[:, random.permutation(values.shape[1])], reference) == pytest.approx(whole)
    assert dominated_volume(values[non_dominated(values)], reference) == pytest.approx(whole)


@given(points)
@settings(deadline=None)
def test_more_points_dominate_more(values):
    reference = np.full(values.shape[1], 7.0)
    volumes = [dominated_volume(values[:number], reference) for number in range(len(values) + 1)]
    assert volumes[0] == 0.0
    assert (np.diff(volumes) >= 0).all()
    assert volumes[-1] <= np.prod(reference)


@pytest.mark.parametrize(("tasks", "count"), [(3, 200), (4, 80), (5, 40), (6, 25)])
def test_the_volume_against_random_points(tasks, count):
    random = np.random.default_rng(tasks)
    directions = random.dirichlet(np.ones(tasks), size=count)
    values = 1.0 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    reference = np.full(tasks, 1.0)
    drawn = random.uniform(size=(40_000, tasks))
    inside = np.zeros(len(drawn), dtype=bool)
    for value in values:
        inside |= (drawn >= value).all(axis=1)
    share = inside.mean()
    assert dominated_volume(values, reference) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / 40_000))


def test_two_tasks_take_one_sort():
    first = np.sort(np.random.default_rng(0).uniform(size=200_000))
    values = np.stack([first, 1.0 - first], axis=1)
    assert dominated_volume(values, np.ones(2)) == pytest.approx(0.5, abs=1e-4)
