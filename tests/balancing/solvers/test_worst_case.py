"""CAGrad's problem: the direction is feasible, and its value is that of the dual: no gap, so both are optimal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.balancing.solvers.scaled import scaled
from polytask.balancing.solvers.worst_case import worst_case_weights


def assert_no_gap(rows, radius, weights, tolerance=1e-6):
    mean = rows.mean(axis=0)
    ball = radius * np.linalg.norm(mean)
    excess = weights - 1.0 / len(rows)
    direction = weights @ rows
    assert excess.min() >= -1e-12
    size = np.linalg.norm(mean) * np.linalg.norm(rows, axis=1).max() + 1e-300
    assert np.linalg.norm(direction - mean) <= ball * (1 + 1e-6) + 1e-12
    value = (rows @ direction).min()
    if excess.sum() > 0.0:
        w = excess / excess.sum()
        dual = (w @ rows) @ mean + ball * np.linalg.norm(w @ rows)
        assert value <= dual + tolerance * size
        assert value >= dual - tolerance * size
    else:
        assert ball <= 1e-6 * np.linalg.norm(rows, axis=1).max() or radius == 0.0


@settings(deadline=None, max_examples=100)
@given(
    tasks=st.integers(1, 12),
    rank=st.integers(1, 14),
    power=st.integers(-12, 12),
    spread=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 10_000),
    drift=st.sampled_from([0.0, 0.3, 3.0]),
    radius=st.sampled_from([0.0, 0.2, 0.4, 0.9]),
)
def test_optimality(tasks, rank, power, spread, seed, drift, radius):
    random = np.random.default_rng(seed)
    rows = (random.normal(size=(tasks, rank)) + drift) * 10.0 ** (spread * random.uniform(-1, 1, (tasks, 1)))
    weights = worst_case_weights(scaled(rows @ rows.T * 10.0 ** (2 * power)), radius)
    assert_no_gap(rows, radius, weights)


@pytest.mark.parametrize("rank", [10, 20, 60])
def test_forty_tasks(rank):
    rows = np.random.default_rng(0).normal(size=(40, rank))
    assert_no_gap(rows, 0.4, worst_case_weights(scaled(rows @ rows.T), 0.4))


def test_one_task():
    assert worst_case_weights(scaled(np.array([[4.0]])), 0.4).tolist() == pytest.approx([1.4])


def test_a_zero_mean_and_zero_gradients():
    rows = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert worst_case_weights(scaled(rows @ rows.T), 0.4).tolist() == pytest.approx([0.5, 0.5])
    assert worst_case_weights(scaled(np.zeros((2, 2))), 0.4).tolist() == [0.5, 0.5]
    one = worst_case_weights(scaled(np.diag([1.0, 0.0])), 0.4)
    assert one.tolist() == pytest.approx([0.5 * 1.4, 0.5])  # the mean is half of the first: 40 % more of it


def test_where_a_combination_vanishes_the_nearest_direction_without_conflict_is_taken():
    rows = np.array([[1.0, 0.0], [-1.0, 0.0], [0.1, 2.0]])  # only straight up hurts nobody
    direction = worst_case_weights(scaled(rows @ rows.T), 0.9) @ rows
    np.testing.assert_allclose(direction, [0.0, 2.0 / 3.0], atol=1e-6)
