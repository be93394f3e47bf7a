"""Projections onto the dual cone: ``v >= u``, ``M v >= 0``, and equality in one of both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.balancing.solvers.dual_cone import project, project_each
from polytask.balancing.solvers.scaled import scaled


def assert_projection(rows, combination, weights, tolerance=1e-7):
    norms = np.linalg.norm(rows, axis=1)
    divisors = np.where(norms > 0, norms, 1.0)
    raised, slopes = (weights - combination) * norms, rows @ (weights @ rows) / divisors
    size = max((weights * norms).max(), 1e-300)
    assert (raised / size).min() >= -1e-12
    assert (slopes / size).min() >= -tolerance
    assert np.abs(np.minimum(raised, np.abs(slopes)) / size).max() <= tolerance


@settings(deadline=None, max_examples=100)
@given(
    tasks=st.integers(1, 12),
    rank=st.integers(1, 14),
    power=st.integers(-15, 15),
    spread=st.sampled_from([0.0, 4.0]),
    seed=st.integers(0, 10_000),
    drift=st.sampled_from([0.0, 0.3, 3.0]),
)
def test_optimality(tasks, rank, power, spread, seed, drift):
    random = np.random.default_rng(seed)
    rows = (random.normal(size=(tasks, rank)) + drift) * 10.0 ** (power + spread * random.uniform(-1, 1, (tasks, 1)))
    combination = random.uniform(size=tasks)
    assert_projection(rows, combination, project(scaled(rows @ rows.T), combination))


def test_all_at_once_is_the_sum_of_each():
    rows = np.random.default_rng(0).normal(size=(9, 12))
    problem, preferences = scaled(rows @ rows.T), np.linspace(0.1, 1.0, 9)
    alone = sum(project(problem, preferences * unit) for unit in np.eye(9))
    np.testing.assert_allclose(project_each(problem, preferences), alone, rtol=1e-7)


def test_a_gradient_of_zero_keeps_its_weight():
    problem = scaled(np.diag([1.0, 0.0]))
    assert project(problem, np.array([0.5, 0.5])).tolist() == [0.5, 0.5]
    assert project_each(problem, np.array([0.5, 0.5])).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("first", "second"), [([1.0, 0.0], [1.0, 1.0]), ([1.0, 0.0], [0.0, 5.0])])
def test_nothing_moves_without_conflict(first, second):
    rows = np.array([first, second])
    assert project(scaled(rows @ rows.T), np.ones(2)).tolist() == [1.0, 1.0]


def test_two_conflicting_tasks_by_hand():
    rows = np.array([[1.0, 0.0], [-3.0, 4.0]])  # g1'g2 = -3, lengths 1 and 5: g2 loses its part along g1, all 3 of it
    np.testing.assert_allclose(project(scaled(rows @ rows.T), np.array([0.0, 1.0])), [3.0, 1.0], rtol=1e-7)
