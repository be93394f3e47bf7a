"""Curves against scikit-learn and by their own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve as sklearn_calibration
from sklearn.metrics import roc_auc_score

from polytask.evaluation.curves import calibration_curve, gain_curve


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    predictions = rng.beta(1, 5, 5_000)
    return predictions, (rng.random(5_000) < predictions**1.5).astype(float)


def test_calibration_is_that_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, labels = rows
    observed, predicted = sklearn_calibration(labels, predictions, n_bins=20, strategy="quantile")
    curve = calibration_curve(predictions, labels)
    assert curve is not None and curve.rows == (250,) * 20
    np.testing.assert_allclose(curve.predicted, predicted, atol=1e-3)
    np.testing.assert_allclose(curve.observed, observed, atol=5e-3)


def test_weights_count_as_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    predictions, labels = rng.random(40), rng.random(40).round()
    weights = rng.integers(1, 4, 40).astype(float)
    curve = calibration_curve(predictions, labels, weights)
    assert curve is not None and len(curve.rows) == 1
    assert curve.observed[0] == pytest.approx(np.repeat(labels, weights.astype(int)).mean())
    weighted = gain_curve(predictions, labels, weights)
    repeated = gain_curve(np.repeat(predictions, weights.astype(int)), np.repeat(labels, weights.astype(int)))
    assert weighted is not None and repeated is not None
    np.testing.assert_allclose(weighted.captured, repeated.captured)


def test_the_area_under_the_gain_curve_is_that_of_the_auc(rows: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, labels = rows[0].round(2), rows[1]  # with ties
    curve = gain_curve(predictions, labels)
    assert curve is not None and curve.share[0] == curve.captured[0] == 0.0 and curve.captured[-1] == 1.0
    rate = labels.mean()
    area = np.trapezoid(curve.captured, curve.share)
    assert area == pytest.approx(rate / 2 + (1 - rate) * roc_auc_score(labels, predictions), abs=1e-3)


def test_a_constant_prediction_gathers_evenly() -> None:
    curve = gain_curve(np.full(50, 0.3), np.arange(50.0))
    assert curve is not None
    np.testing.assert_allclose(curve.captured, curve.share)


def test_the_best_ranking_of_amounts_is_theirs() -> None:
    labels = np.array([5.0, 0.0, 3.0, 2.0])
    curve = gain_curve(labels, labels)
    assert curve is not None and [curve.captured[place] for place in (25, 50, 75)] == pytest.approx([0.5, 0.8, 1.0])


def test_there_may_be_nothing_to_show() -> None:
    nothing = np.zeros(0)
    assert calibration_curve(nothing, nothing) is None and gain_curve(nothing, nothing) is None
    assert gain_curve(np.arange(3.0), np.zeros(3)) is None
    assert gain_curve(np.arange(3.0), np.array([1.0, -1.0, 2.0])) is None


def test_few_rows_make_few_bins() -> None:
    curve = calibration_curve(np.arange(60.0), np.arange(60.0))
    assert curve is not None and curve.rows == (30, 30) and curve.predicted == curve.observed == (14.5, 44.5)
