"""The synthetic data of Ma et al.: every step of the published recipe."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polytask.data.simulators import Ma2018
from polytask.data.simulators.ma_2018 import normal_shape
from polytask.errors import UserError

ALPHA, BETA = (0.5, -1.5, 2.0), (0.1, 0.7, -0.4)


def tasks(correlation: float, **options: float) -> Ma2018:
    return Ma2018(correlation=correlation, **{"alpha": ALPHA, "beta": BETA, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("correlation", [-1.0, -0.3, 0.0, 0.5, 0.9, 1.0])
def test_weight_vectors_have_length_c_and_cosine_p(correlation: float) -> None:
    w = tasks(correlation, scale=0.3).weights(np.random.default_rng(0))
    assert w.shape == (2, 100)
    gram = w @ w.T / 0.3**2
    np.testing.assert_allclose(gram, [[1, correlation], [correlation, 1]], atol=1e-12)


def test_directions_are_uniform() -> None:
    w = np.stack([tasks(0.0, features=3).weights(np.random.default_rng(seed)) for seed in range(2000)])
    assert np.abs(w.mean(0)).max() < 0.06  # without the signs of the QR decomposition the mean is far from 0
    np.testing.assert_allclose(np.einsum("nki,nkj->kij", w, w) / 2000, np.stack([np.eye(3) / 3] * 2), atol=0.03)


def test_labels_are_the_published_sum_of_sines() -> None:
    simulator = tasks(0.5, noise_variance=0.0)
    x, y = simulator.sample(20, seed=3)
    w = simulator.weights(np.random.default_rng(3))
    for k in range(2):
        for row in range(20):
            t = sum(float(w[k, i]) * float(x[row, i]) for i in range(100))
            expected = t + sum(math.sin(a * t + b) for a, b in zip(ALPHA, BETA, strict=True))
            assert y[k, row] == pytest.approx(expected, abs=1e-4)


def test_the_published_number_is_the_variance_of_the_noise() -> None:
    (x, noisy), (same, clean) = (tasks(0.5, noise_variance=v).sample(20_000, seed=1) for v in (0.01, 0.0))
    np.testing.assert_array_equal(x, same)
    noise = noisy - clean
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.03


def test_identical_tasks_differ_in_noise_only() -> None:
    _, (first, second) = tasks(1.0, noise_variance=0.0).sample(50, seed=2)
    np.testing.assert_allclose(first, second, atol=1e-5)
    _, (first, second) = tasks(1.0).sample(50, seed=2)
    assert (first != second).all()


def test_inputs_are_standard_normal_and_seeds_decide() -> None:
    x, y = tasks(0.5).sample(5000, seed=4)
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((5000, 100), (2, 5000), np.float32, np.float32)
    np.testing.assert_allclose(np.cov(x.T), np.eye(100), atol=0.08)
    np.testing.assert_array_equal(x, tasks(0.9).sample(5000, seed=4)[0])  # all p see the same rows
    assert (x != tasks(0.5).sample(5000, seed=5)[0]).any()


@pytest.mark.parametrize("p", [0.0, 0.5, 0.9])
def test_linear_labels_correlate_as_the_weights_do(p: float) -> None:
    simulator = Ma2018(correlation=p, alpha=(), beta=(), noise_variance=0.0)
    assert simulator.label_correlation(20_000, seed=0) == pytest.approx(p, abs=0.02)


def test_labels_correlate_more_at_higher_cosine() -> None:
    found = [tasks(p).label_correlation(10_000, seed=6) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == sorted(found)
    assert abs(found[0]) < 0.05 < 0.95 < found[-1]


def test_drawn_shapes_are_standard_normal() -> None:
    drawn = np.array([normal_shape(10, seed) for seed in range(300)])
    assert drawn.shape == (300, 2, 10)
    assert abs(drawn.mean()) < 0.05
    assert drawn.std() == pytest.approx(1.0, abs=0.05)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        Ma2018(correlation=1.5, alpha=(1.0,), beta=(), features=1, scale=0.0, noise_variance=-1.0)
    places = [problem.where for problem in caught.value.problems]
    assert places == ["correlation", "features", "scale", "noise_variance", "alpha, beta"]
