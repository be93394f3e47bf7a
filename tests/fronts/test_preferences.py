"""Preferences lie on the simplex, evenly or as drawn."""

from math import comb

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.fronts import preferences


@given(st.integers(2, 5), st.integers(1, 6))
@settings(deadline=None)
def test_a_lattice_has_all_points_once(tasks, parts):
    count = comb(parts + tasks - 1, tasks - 1)
    points = preferences(tasks, count)
    assert points.shape == (count, tasks)
    assert len(torch.unique((points * parts).round(), dim=0)) == count
    torch.testing.assert_close(points * parts, (points * parts).round())
    torch.testing.assert_close(points.sum(1), torch.ones(count, dtype=torch.float64))


def test_two_tasks_have_a_lattice_of_any_size():
    for count in range(2, 12):
        torch.testing.assert_close(preferences(2, count)[:, 0], torch.linspace(0, 1, count, dtype=torch.float64))


def test_one_point_is_the_middle():
    assert preferences(4, 1).tolist() == [[0.25] * 4]
    assert preferences(1, 1).tolist() == [[1.0]]


@given(st.integers(1, 6), st.integers(1, 30), st.floats(0.01, 5.0), st.floats(0, 0.99), st.integers(0, 99))
@settings(deadline=None)
def test_draws_lie_on_the_simplex_and_follow_the_seed(tasks, count, concentration, share, seed):
    options = {"draw": "dirichlet", "concentration": concentration, "least": share / tasks, "seed": seed}
    points = preferences(tasks, count, **options)
    assert points.shape == (count, tasks)
    assert points.min() >= share / tasks - 1e-12
    torch.testing.assert_close(points.sum(1), torch.ones(count, dtype=torch.float64))
    assert torch.equal(points, preferences(tasks, count, **options))


def test_draws_have_the_moments_of_dirichlet():
    drawn = preferences(3, 40_000, draw="dirichlet", concentration=2.0, seed=1)
    assert drawn.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.005)
    assert drawn.var(0).tolist() == pytest.approx([(1 / 3) * (2 / 3) / 7] * 3, rel=0.03)


def test_least_moves_the_corners_inside():
    points = preferences(3, 6, least=0.05)
    assert points.min().item() == pytest.approx(0.05)
    assert points.max().item() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preferences(3, 11), "count: no lattice of 3 tasks has 11 points; choose 10 or 15, or draw"),
        (lambda: preferences(1, 2), "count: one task has one preference, 2 are asked for; choose 1"),
        (lambda: preferences(0, 2), "tasks: is 0; give a number at least 1"),
        (lambda: preferences(2, 0), "count: is 0; give a number at least 1"),
        (lambda: preferences(2, 3, least=0.5), "least: is 0.5; give a number at least 0 and below 0.5"),
        (lambda: preferences(2, 3, draw="dirichlet", concentration=0.0), "concentration: is 0.0; give a number above"),
        (lambda: preferences(2, 3, draw="latice"), "draw: 'latice' is unknown; did you mean 'lattice'"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()
