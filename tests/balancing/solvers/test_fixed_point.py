"""``M a = a^(-p)``: the equation itself is the test."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from polytask.balancing.solvers import fixed_point as module
from polytask.balancing.solvers.fixed_point import fixed_point
from polytask.balancing.solvers.min_norm import min_norm_weights
from polytask.balancing.solvers.scaled import scaled
from polytask.errors import UserError


def residual(matrix, weights, power):
    return np.abs(matrix @ weights * weights**power - 1.0).max()


@settings(deadline=None, max_examples=100)
@given(
    tasks=st.integers(1, 12),
    rank=st.integers(1, 14),
    power_of_ten=st.integers(-15, 15),
    spread=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 10_000),
    drift=st.sampled_from([0.0, 0.3, 3.0]),
    power=st.sampled_from([0.1, 0.5, 1.0, 2.0]),
)
def test_the_equation(tasks, rank, power_of_ten, spread, seed, drift, power):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(tasks, rank)) + drift
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    nearest = min_norm_weights(unit @ unit.T) @ unit
    assume(not 1e-11 < nearest @ nearest < 1e-4)  # what is neither stationary nor well-conditioned is told apart below
    rows = rows * 10.0 ** (power_of_ten + spread * random.uniform(-1, 1, (tasks, 1)))
    matrix = rows @ rows.T
    weights = fixed_point(scaled(matrix), power)
    if nearest @ nearest <= 1e-11:
        assert weights.tolist() == [0.0] * tasks
    else:
        assert weights.min() > 0.0
        assert residual(matrix, weights, power) <= 1e-5


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("tasks", [2, 40, 200])
def test_the_last_digits(power, tasks):
    rows = np.random.default_rng(0).normal(size=(tasks, 3 * tasks))
    assert residual(rows @ rows.T, fixed_point(scaled(rows @ rows.T), power), power) <= 1e-10


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_orthogonal_gradients_by_hand(power):
    squares = np.array([1e-8, 1.0, 1e8])
    expected = squares ** (-1.0 / (1.0 + power))  # m a = a^(-p)
    np.testing.assert_allclose(fixed_point(scaled(np.diag(squares)), power), expected, rtol=1e-9)


def test_two_tasks_at_an_angle_by_hand():
    # a (1 + c) = 1 / a for two gradients of length 1
    for cosine in (-0.9, 0.0, 0.9):
        matrix = np.array([[1.0, cosine], [cosine, 1.0]])
        np.testing.assert_allclose(fixed_point(scaled(matrix), 1.0), [(1 + cosine) ** -0.5] * 2, rtol=1e-9)


@pytest.mark.parametrize("length", [1.0, 10.0, 1e3])
@pytest.mark.parametrize("apart", [10.0**-k for k in range(2, 14)])
def test_gradients_that_oppose_each_other_almost(apart, length):
    """a (1 + c) = 1 / a, down to where the two count as opposed and nothing moves; on the way there no failure."""
    matrix = np.array([[1.0, (apart - 1.0) * length], [(apart - 1.0) * length, length**2]])
    weights = fixed_point(scaled(matrix), 1.0)
    if apart <= 1e-9:
        assert weights.tolist() == [0.0, 0.0]
    else:
        np.testing.assert_allclose(weights, [apart**-0.5, apart**-0.5 / length], rtol=1e-6)


def test_gradients_of_zero_and_stationary_ones_get_nothing():
    assert fixed_point(scaled(np.zeros((2, 2))), 1.0).tolist() == [0.0, 0.0]
    assert fixed_point(scaled(np.diag([4.0, 0.0])), 1.0).tolist() == pytest.approx([0.5, 0.0])
    assert fixed_point(scaled(np.array([[1.0, -2.0], [-2.0, 4.0]])), 1.0).tolist() == [0.0, 0.0]


def test_a_failure_is_an_error_and_no_equal_weights(monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 1)
    rows = np.random.default_rng(0).normal(size=(5, 8))
    with pytest.raises(UserError, match=r"balancer: no solution of M a = a\^\(-1\) after 1 steps"):
        fixed_point(scaled(rows @ rows.T), 1.0)
