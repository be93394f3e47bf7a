"""Metrics of classes, ordered classes, numbers and counts against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from polytask import metrics
from polytask.metrics import losses

RNG = np.random.default_rng(7)
ROWS, CLASSES = 3_000, 5


def measure(metric: metrics.Metric, *data: torch.Tensor) -> float:
    half = len(data[0]) // 2
    metric.update(*(column[:half] for column in data))
    metric.update(*(column[half:] for column in data))
    return metric.compute()


@pytest.fixture(scope="module")
def classes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    labels = RNG.choice(CLASSES, ROWS, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    logits = RNG.normal(size=(ROWS, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    probabilities = torch.from_numpy(logits).float().softmax(1)
    return probabilities, torch.from_numpy(labels).float(), torch.from_numpy(RNG.gamma(2.0, size=ROWS)).float()


@pytest.fixture(scope="module")
def numbers() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mean = np.exp(RNG.normal(1.0, 0.7, ROWS))
    columns = (mean, RNG.poisson(mean), RNG.gamma(2.0, size=ROWS))
    return tuple(torch.from_numpy(np.asarray(column)).float() for column in columns)  # type: ignore[return-value]


def test_class_metrics(classes: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    p, y, w = classes
    guess = p.argmax(1)
    exact = p.double() / p.double().sum(1, keepdim=True)
    expected = oracle.log_loss(y, exact, sample_weight=w)
    assert measure(metrics.ClassLogLoss(), p, y, w) == pytest.approx(expected, rel=1e-6)
    assert measure(metrics.Accuracy(), p, y, w) == pytest.approx(oracle.accuracy_score(y, guess, sample_weight=w))
    expected = oracle.f1_score(y, guess, average="macro", sample_weight=w)
    assert measure(metrics.MacroF1(CLASSES), p, y, w) == pytest.approx(expected)
    expected = oracle.roc_auc_score(y, exact, multi_class="ovr", average="macro", sample_weight=w)
    assert measure(metrics.MacroAUC(CLASSES), p, y, w) == pytest.approx(expected, abs=1e-4)


def test_classes_that_do_not_occur_are_left_out(classes: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    p, y, _ = classes
    common = y < 2
    p = torch.cat([p[common][:, :2], torch.zeros(int(common.sum()), 1)], dim=1)
    y = y[common]
    expected = oracle.f1_score(y, p.argmax(1), average="macro")
    assert measure(metrics.MacroF1(3), p, y) == pytest.approx(expected)
    one_against_rest = [oracle.roc_auc_score(y == k, p[:, k]) for k in range(2)]
    assert measure(metrics.MacroAUC(3), p, y) == pytest.approx(np.mean(one_against_rest), abs=1e-4)


def test_ordinal_metrics(classes: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    p, y, w = classes
    median = (p.double().cumsum(1) < 0.5).sum(1)
    expected = oracle.cohen_kappa_score(y, median, weights="quadratic", sample_weight=w)
    assert measure(metrics.QuadraticKappa(CLASSES), p, y, w) == pytest.approx(expected)
    expected = oracle.mean_absolute_error(y, median, sample_weight=w)
    assert measure(metrics.ClassMAE(), p, y, w) == pytest.approx(expected)
    one_class = torch.eye(CLASSES)[[2, 2]]
    assert math.isnan(measure(metrics.QuadraticKappa(CLASSES), one_class, torch.tensor([2.0, 2.0])))


def test_number_metrics(numbers: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    p, y, w = numbers
    p = p.double()
    expected = {
        metrics.RMSE(): oracle.root_mean_squared_error(y, p, sample_weight=w),
        metrics.MAE(): oracle.mean_absolute_error(y, p, sample_weight=w),
        metrics.R2(): oracle.r2_score(y, p, sample_weight=w),
        metrics.PoissonDeviance(): oracle.mean_poisson_deviance(y, p, sample_weight=w),
        metrics.Pinball(0.9): oracle.mean_pinball_loss(y, p, alpha=0.9, sample_weight=w),
        metrics.Coverage(): np.average(y <= p, weights=w),
    }
    for metric, value in expected.items():
        assert measure(metric, p, y, w) == pytest.approx(value, rel=1e-6), metric.name


def test_r2_of_a_label_far_from_zero() -> None:
    y = torch.from_numpy(1.7e9 + RNG.normal(0, 5e4, ROWS))  # a date in seconds
    p = y + torch.from_numpy(RNG.normal(0, 2e4, ROWS))
    assert measure(metrics.R2(), p, y) == pytest.approx(oracle.r2_score(y, p), rel=1e-6)
    assert math.isnan(measure(metrics.R2(), p, torch.full_like(y, 1.7e9)))


@pytest.mark.parametrize(
    ("loss", "constant", "expected"),
    [
        (losses.squared_error, lambda y: y.mean(), oracle.r2_score),
        (losses.poisson_deviance, lambda y: y.mean(), oracle.d2_tweedie_score),
        (losses.absolute_error, lambda y: y.double().quantile(0.5), oracle.d2_absolute_error_score),
        (losses.pinball(0.9), lambda y: y.double().quantile(0.9), oracle.d2_pinball_score),
    ],
)
def test_relative_improvement_is_d2(numbers, loss, constant, expected) -> None:  # type: ignore[no-untyped-def]
    p, y, _ = numbers
    options = {"power": 1} if expected is oracle.d2_tweedie_score else {}
    options = {"alpha": 0.9} if expected is oracle.d2_pinball_score else options
    metric = metrics.RelativeImprovement(loss, "the loss", constant(y))
    assert measure(metric, p, y) == pytest.approx(expected(y, p.double(), **options), rel=1e-5)
    assert metric.model_loss == pytest.approx((1 - metric.compute()) * metric.constant_loss)


def test_relative_improvement_over_class_shares(classes: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    p, y, w = classes
    share = torch.bincount(y.long(), minlength=CLASSES) / len(y)
    metric = metrics.RelativeImprovement(losses.class_log_loss, "log_loss", share)
    constant = oracle.log_loss(y, share.double().expand(len(y), -1), sample_weight=w)
    model = oracle.log_loss(y, p.double() / p.double().sum(1, keepdim=True), sample_weight=w)
    assert measure(metric, p, y, w) == pytest.approx(1 - model / constant, rel=1e-4)
    assert metric.constant_loss == pytest.approx(constant, rel=1e-6)
