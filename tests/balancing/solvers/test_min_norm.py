"""The solver of MGDA is right if the conditions of optimality hold, whatever the numbers are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.balancing.solvers.min_norm import min_norm_weights


def assert_optimal(gramian, weights, tolerance=1e-7):
    scale = max(np.diag(gramian).max(), 1e-300)
    assert weights.min() >= 0.0
    assert weights.sum() == pytest.approx(1.0)
    slopes = gramian @ weights / scale
    norm = weights @ slopes
    assert slopes.min() >= norm - tolerance  # no vertex lies nearer to the origin than the supporting plane
    assert np.abs(slopes[weights > 1e-6] - norm).max() <= np.sqrt(tolerance)  # those that are used lie on it


def test_small_gradients_among_large_ones():
    # at the scale of the large one the two small ones look alike; between them the smaller combination counts
    rows = np.diag([1.0, 1e-7, 2e-7])
    assert min_norm_weights(rows @ rows.T).tolist() == pytest.approx([0.8e-14, 0.8, 0.2], rel=1e-6)


@settings(deadline=None, max_examples=150)
@given(
    tasks=st.integers(1, 12),
    rank=st.integers(0, 14),
    power=st.integers(-15, 15),
    seed=st.integers(0, 10_000),
    drift=st.floats(0.0, 3.0),
)
def test_optimality(tasks, rank, power, seed, drift):
    random = np.random.default_rng(seed)
    gradients = (random.normal(size=(tasks, rank)) + drift) * 10.0**power
    gramian = gradients @ gradients.T
    assert_optimal(gramian, min_norm_weights(gramian))


def test_forty_tasks_of_very_different_size():
    random = np.random.default_rng(0)
    gradients = random.normal(size=(40, 100)) * np.logspace(-6, 6, 40)[:, None]
    gramian = gradients @ gradients.T
    assert_optimal(gramian, min_norm_weights(gramian))


def test_rounded_to_float32():
    random = np.random.default_rng(1)
    gradients = random.normal(size=(30, 8)).astype(np.float32)
    gramian = (gradients @ gradients.T).astype(np.float64)
    assert_optimal(gramian, min_norm_weights(gramian), tolerance=1e-5)


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [
        ([[1.0, 0.0], [0.0, 2.0]], [0.8, 0.2]),  # g1'g2 = 0: weights in inverse proportion to the squared norms
        ([[1.0, 0.0], [3.0, 0.0]], [1.0, 0.0]),  # g1'g2 >= g1'g1: the smaller one alone
        ([[1.0, 0.0], [-1.0, 0.0]], [0.5, 0.5]),  # opposed: Pareto-stationary
        ([[0.0, 0.0], [1.0, 0.0]], [1.0, 0.0]),  # one is zero already
        ([[0.0, 0.0], [0.0, 0.0]], [0.5, 0.5]),
    ],
)
def test_two_tasks(gradients, expected):
    rows = np.array(gradients)
    assert min_norm_weights(rows @ rows.T).tolist() == pytest.approx(expected, abs=1e-9)


def test_two_tasks_against_the_formula_of_the_paper():
    random = np.random.default_rng(2)
    for _ in range(50):
        one, two = random.normal(size=(2, 3)) + random.normal()
        gamma = np.clip((two - one) @ two / ((one - two) @ (one - two)), 0.0, 1.0)
        rows = np.stack([one, two])
        assert min_norm_weights(rows @ rows.T)[0] == pytest.approx(gamma, abs=1e-6)
