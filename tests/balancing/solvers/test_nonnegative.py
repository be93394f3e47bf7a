"""The core of the solvers is right if the conditions of optimality hold, whatever the numbers are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.balancing.solvers import nonnegative as module
from polytask.balancing.solvers.nonnegative import nonnegative
from polytask.balancing.solvers.scaled import scaled


def cosines_of(tasks, rank, seed, drift, dtype=np.float64):
    random = np.random.default_rng(seed)
    rows = (random.normal(size=(tasks, rank)) + drift).astype(dtype)
    rows = rows if drift >= 0 else rows - rows.mean(axis=0)
    return scaled((rows @ rows.T).astype(np.float64), float(np.finfo(dtype).eps))


def assert_optimal(matrix, linear, x, tolerance=1e-8):
    """``x >= 0``, ``C x + q >= 0`` and one of both zero, relative to the size of the column."""
    assert np.isfinite(x).all() and x.min() >= 0.0
    y = matrix @ x + linear
    size = np.maximum(np.abs(linear).max(axis=0), np.abs(x).max(axis=0)) + 1e-300
    assert (y / size).min() >= -tolerance
    assert np.abs(np.minimum(x, np.abs(y)) / size).max() <= tolerance


@settings(deadline=None, max_examples=100)
@given(
    tasks=st.integers(1, 14),
    rank=st.integers(1, 16),
    power=st.integers(-30, 30),
    seed=st.integers(0, 10_000),
    drift=st.sampled_from([-1.0, 0.0, 0.3, 3.0]),
)
def test_optimality(tasks, rank, power, seed, drift):
    problem = cosines_of(tasks, rank, seed, drift)
    linear = problem.cosines @ np.random.default_rng(seed).uniform(size=(tasks, 5)) * 10.0**power
    assert_optimal(problem.cosines, linear, nonnegative(problem.cosines, linear))


@pytest.mark.parametrize("rank", [10, 20, 39, 40])
@pytest.mark.parametrize("drift", [-1.0, 0.0, 0.3])
def test_singular_systems_of_forty(rank, drift):
    problem = cosines_of(40, rank, 0, drift)
    assert_optimal(problem.cosines, problem.cosines, nonnegative(problem.cosines, problem.cosines))


def test_where_blocks_never_settle(monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 1)
    problem = cosines_of(12, 5, 3, 0.0)
    linear = problem.cosines[:, :4]
    assert_optimal(problem.cosines, linear, nonnegative(problem.cosines, linear))


def test_rounded_to_single_precision():
    problem = cosines_of(30, 8, 1, 0.0, np.float32)
    x = nonnegative(problem.cosines, problem.cosines, problem.noise)
    assert_optimal(problem.cosines, problem.cosines, x, tolerance=1e-4)


def test_columns_do_not_touch_each_other():
    problem = cosines_of(20, 15, 2, 0.0)
    together = nonnegative(problem.cosines, problem.cosines)
    for column in range(20):
        alone = nonnegative(problem.cosines, problem.cosines[:, [column]])
        np.testing.assert_allclose(problem.cosines @ together[:, [column]], problem.cosines @ alone, atol=1e-7)


def test_no_columns_with_a_slope_and_zero_columns():
    assert nonnegative(np.eye(3), np.ones((3, 2))).tolist() == [[0.0, 0.0]] * 3
    assert nonnegative(np.eye(2), np.zeros((2, 1))).tolist() == [[0.0], [0.0]]
