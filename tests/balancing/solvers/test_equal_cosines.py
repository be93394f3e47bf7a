"""``C z = 1`` in the least squares, by its normal equations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.balancing.solvers.equal_cosines import equal_cosines
from polytask.balancing.solvers.scaled import scaled


@settings(deadline=None, max_examples=100)
@given(
    tasks=st.integers(1, 12),
    rank=st.integers(1, 14),
    power=st.integers(-15, 15),
    seed=st.integers(0, 10_000),
    drift=st.sampled_from([-1.0, 0.0, 3.0]),
)
def test_least_squares(tasks, rank, power, seed, drift):
    rows = np.random.default_rng(seed).normal(size=(tasks, rank))
    rows = (rows + drift if drift >= 0 or tasks == 1 else rows - rows.mean(axis=0)) * 10.0**power
    problem = scaled(rows @ rows.T)
    z, missing = equal_cosines(problem)
    rest = 1.0 - problem.cosines @ z
    assert np.abs(problem.cosines @ rest).max() <= 1e-6 * max(1.0, np.abs(z).max())
    np.testing.assert_allclose(missing, rest if missing.any() else 0.0, atol=1e-6 * max(1.0, np.abs(z).max()))


def test_the_shortest_solution():
    z, missing = equal_cosines(scaled(np.ones((2, 2))))
    assert z.tolist() == pytest.approx([0.5, 0.5])
    assert missing.tolist() == [0.0, 0.0]


def test_opposed_gradients_and_zero_ones():
    z, missing = equal_cosines(scaled(np.array([[1.0, -2.0, 0.0], [-2.0, 4.0, 0.0], [0.0, 0.0, 0.0]])))
    np.testing.assert_allclose(z, 0.0, atol=1e-12)
    np.testing.assert_allclose(missing, [1.0, 1.0, 0.0], atol=1e-12)
    assert equal_cosines(scaled(np.zeros((1, 1))))[0].tolist() == [0.0]
