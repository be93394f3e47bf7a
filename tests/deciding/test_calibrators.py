from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from polytask.deciding.calibrators import (
    fit_calibration,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    pool_adjacent_violators,
    quality,
)  # fmt: skip
from polytask.decisions import Isotonic, Platt
from polytask.decisions.calibration import logit


def overconfident(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions twice as far from 1/2 (in logit) as they should be, labels, weights."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.0, 1.0, rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(np.float64)
    return (1 / (1 + np.exp(-2 * z))).astype(np.float32), y, rng.gamma(2.0, size=rows)


@pytest.mark.parametrize("rows", [1, 2, 3, 50, 2_000])
@pytest.mark.parametrize("digits", [1, 9])
def test_isotonic_against_sklearn(rows: int, digits: int) -> None:
    p, y, w = overconfident(rows, seed=rows)
    p = p.round(digits)
    found = fit_isotonic(p, y, w)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(p.astype(np.float64), y, w)
    grid = np.concatenate([np.linspace(0, 1, 501), p])
    margin = 0.5 / (rows + 1)
    knots = np.clip(oracle.y_thresholds_, margin, 1 - margin)
    np.testing.assert_allclose(found(grid), np.interp(grid, oracle.X_thresholds_, knots), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 10)), min_size=1, max_size=60))
def test_pooling_gives_the_least_squares(pairs: list[tuple[float, float]]) -> None:
    means, weights = (np.array(column) for column in zip(*pairs, strict=True))
    values, starts = pool_adjacent_violators(means, weights)
    assert (np.diff(values) > 0).all()
    found = np.repeat(values, np.diff(np.append(starts, len(means))))
    oracle = IsotonicRegression().fit(np.arange(len(means)), means, weights).predict(np.arange(len(means)))
    np.testing.assert_allclose(found, oracle, atol=1e-9)


def test_pooling_of_a_long_cascade_ends() -> None:
    """Every pool makes the next one necessary: the last value pulls all others down."""
    means = np.append(np.arange(400.0), -1e6)
    values, starts = pool_adjacent_violators(means, np.ones(401))
    assert len(values) == 1 and starts.tolist() == [0] and values[0] == pytest.approx(means.mean())


def test_rows_without_weight_do_not_count() -> None:
    p, y, w = overconfident(300)
    w[:100] = 0.0
    assert fit_isotonic(p, y, w).x == fit_isotonic(p[100:], y[100:], w[100:]).x


def test_platt_against_sklearn() -> None:
    """Smoothed targets are two weighted rows per row, which logistic regression without a penalty fits as well."""
    p, y, w = overconfident(3_000)
    found = fit_platt(p, y, w)
    yes, no = w[y > 0.5].sum(), w[y < 0.5].sum()
    target = np.where(y > 0.5, (yes + 1) / (yes + 2), 1 / (no + 2))
    z = np.concatenate([logit(p), logit(p)])[:, None]
    both, weights = np.repeat([1.0, 0.0], len(y)), np.concatenate([w * target, w * (1 - target)])
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z, both, weights)
    assert (found.a, found.b) == pytest.approx((oracle.coef_[0, 0], oracle.intercept_[0]), abs=1e-5)
    assert found.a == pytest.approx(0.5, abs=0.1) and found.b == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("p", [[0.0, 1.0] * 20, [0.3] * 40, [1e-30, 1 - 1e-9] * 20])
def test_platt_of_extreme_predictions_is_finite(p: list[float]) -> None:
    y = np.array([0.0, 1.0] * 20)
    found = fit_platt(np.array(p), y, np.ones(40))
    assert np.isfinite([found.a, found.b]).all()
    assert quality(found(np.array(p)), y, np.ones(40))["log_loss"] < 0.7


def test_temperature_against_a_minimiser() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2_000, 4))
    y = (z + rng.gumbel(size=z.shape)).argmax(1).astype(np.float64)
    p = np.exp(3 * z) / np.exp(3 * z).sum(1, keepdims=True)
    w = rng.gamma(2.0, size=len(y))
    found = fit_temperature(p, y, w)
    assert found.temperature == pytest.approx(3.0, rel=0.1)

    labels, weights = torch.from_numpy(y).long(), torch.from_numpy(w)

    def loss(logarithm: np.ndarray) -> float:
        scores = torch.from_numpy(np.log(p) * np.exp(-logarithm))
        return float((torch.nn.functional.cross_entropy(scores, labels, reduction="none") * weights).sum())

    oracle = minimize(loss, [0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    assert found.temperature == pytest.approx(np.exp(oracle.x[0]), rel=1e-4)
    assert (found(p).argmax(1) == p.argmax(1)).all()


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_calibration_helps_where_it_can(method: str) -> None:
    p, y, w = overconfident(5_000)
    found = fit_calibration(method, p, y, w)  # type: ignore[arg-type]
    assert found.rows == 5_000 and found.map.method == method
    assert found.before["log_loss"] == pytest.approx(log_loss(y, p.astype(np.float64), sample_weight=w), rel=1e-5)
    assert found.after["log_loss"] < found.before["log_loss"] - 0.02  # type: ignore[operator]
    assert found.after["ece"] < found.before["ece"] / 2  # type: ignore[operator]


def test_what_is_reported_after_calibration_was_not_fitted_on() -> None:
    """Labels that follow from nothing: isotonic regression looks good on its own rows, and does not on others."""
    rng = np.random.default_rng(3)
    p, y = rng.random(300).astype(np.float32), (rng.random(300) < 0.5).astype(np.float64)
    found = fit_calibration("isotonic", p, y)
    own = quality(found.map(p), y, np.ones(300))["log_loss"]
    assert own < np.log(2) < found.after["log_loss"]  # type: ignore[operator]
    assert fit_calibration("isotonic", p, y) == found


def test_maps_keep_order_and_type() -> None:
    p = np.linspace(0, 1, 1001)
    for one in (Isotonic((0.1, 0.1001, 0.9), (0.0, 0.3, 1.0)), Platt(0.3, -2.0), Platt(7.0, 100.0)):
        found = one(p)
        assert (np.diff(found) >= 0).all() and ((found >= 0) & (found <= 1)).all()
    assert np.isnan(Isotonic((0.0, 1.0), (0.0, 1.0))(np.array([np.nan]))).all()  # a diverged model stays visible
