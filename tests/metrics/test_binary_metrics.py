"""Metrics of binary tasks against scikit-learn, scipy and the definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from polytask.metrics import (
    AUC,
    ECE,
    F1,
    GAUC,
    PCOC,
    PRAUC,
    ExactAUC,
    LogLoss,
    Metric,
    NormalizedEntropy,
    Precision,
    Recall,
    auc,
)  # fmt: skip


def click_log(rows: int, *, mean_logit: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Calibrated float32 probabilities around ``sigmoid(mean_logit)``, clicks, and sample weights."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(mean_logit, 1.0, rows)))
    clicks = rng.random(rows) < p
    clicks[:3] = [True, False, True]
    weights = rng.gamma(2.0, size=rows)
    return torch.from_numpy(p).float(), torch.from_numpy(clicks).float(), torch.from_numpy(weights).float()


def measure(metric: Metric, *data: torch.Tensor | None, batches: int = 7) -> float:
    bounds = np.linspace(0, len(data[0]), batches + 1).astype(int)  # type: ignore[arg-type]
    for start, stop in itertools.pairwise(bounds):
        metric.update(*(None if column is None else column[start:stop] for column in data))  # type: ignore[arg-type]
    return metric.compute()


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 2.0])
def test_what_a_threshold_gives_against_sklearn(threshold: float) -> None:
    p, y, w = click_log(5_000, mean_logit=-1.0)
    data = (y, (p.double() >= threshold).float())
    found = [measure(metric, p, y, w) for metric in (Precision(threshold), Recall(threshold), F1(threshold))]
    scores = (oracle.precision_score, oracle.recall_score, oracle.f1_score)
    expected = [score(*data, sample_weight=w, zero_division=math.nan) for score in scores]
    assert found == pytest.approx([expected[0], expected[1], 0.0 if threshold > 1 else expected[2]], nan_ok=True)


@pytest.mark.parametrize("mean_logit", [0.0, 2.0, -4.0, -8.0, -13.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_against_sklearn(mean_logit: float, weighted: bool) -> None:
    p, y, w = click_log(50_000, mean_logit=mean_logit)
    expected = oracle.roc_auc_score(y, p.double(), sample_weight=w if weighted else None)
    data = (p, y, w if weighted else None)
    assert measure(AUC(), *data) == pytest.approx(expected, abs=1e-4)
    assert measure(ExactAUC(), *data) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("mean_logit", [0.0, -4.0, -8.0])
def test_average_precision_against_sklearn(mean_logit: float) -> None:
    p, y, w = click_log(50_000, mean_logit=mean_logit)
    expected = oracle.average_precision_score(y, p.double(), sample_weight=w)
    assert measure(PRAUC(), p, y, w) == pytest.approx(expected, abs=1e-4)


def test_crowded_tiny_probabilities_keep_their_order() -> None:
    p = torch.tensor([1e-8, 1.01e-8, 2e-8, 3e-7, 3.1e-7])  # one bin in probability space, five in logit space
    y = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])
    assert measure(AUC(), p, y) == pytest.approx(oracle.roc_auc_score(y, p.double()))


def test_auc_of_logits_keeps_what_float32_probabilities_lose() -> None:
    logits, y = torch.tensor([17.5, 18.0, 18.5, 19.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert measure(AUC(from_logits=True), logits, y) == 0.75
    assert measure(AUC(), logits.sigmoid(), y) != 0.75  # these probabilities are equal or nearly so


def test_ties_count_half() -> None:
    p, y = torch.tensor([0.3, 0.3, 0.3, 0.3]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert measure(AUC(), p, y) == 0.5 == measure(ExactAUC(), p, y)


@settings(max_examples=25, deadline=None)
@given(
    scores=st.lists(st.integers(-40, 40), min_size=2, max_size=60),
    slope=st.floats(0.05, 0.4),
    shift=st.floats(-3, 3),
    seed=st.integers(0, 1000),
)
def test_auc_depends_on_the_order_only(scores: list[int], slope: float, shift: float, seed: int) -> None:
    z = torch.tensor(scores, dtype=torch.float64) / 10  # steps of .1 * slope stay wider than a bin
    y = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, len(scores))).double()
    values, place = z.unique(return_inverse=True)  # torch's sigmoid of equal numbers may differ in the last bit
    plain, moved = values.sigmoid()[place], (slope * values + shift).sigmoid()[place]
    for kind in (AUC, ExactAUC, PRAUC):
        assert measure(kind(), plain, y, batches=1) == pytest.approx(measure(kind(), moved, y, batches=1), nan_ok=True)
    assert measure(ExactAUC(), z, y, batches=1) == pytest.approx(1 - measure(ExactAUC(), -z, y, batches=1), nan_ok=True)


def test_auc_is_the_mann_whitney_statistic() -> None:
    p, y, _ = click_log(400, mean_logit=-1.0)
    positive, negative = p[y == 1].numpy(), p[y == 0].numpy()
    wins = scipy.stats.mannwhitneyu(positive, negative).statistic
    assert measure(ExactAUC(), p, y) == pytest.approx(wins / (len(positive) * len(negative)))


def test_one_class_has_no_auc_and_no_normalised_entropy() -> None:
    p = torch.tensor([0.2, 0.7])
    for metric in (AUC(), ExactAUC(), PRAUC(), NormalizedEntropy()):
        assert math.isnan(measure(metric, p, torch.zeros(2), batches=1))
    assert math.isnan(measure(PCOC(), p, torch.zeros(2), batches=1))


def test_probabilities_out_of_range_are_no_auc() -> None:
    assert math.isnan(measure(AUC(), torch.tensor([0.1, 1.5]), torch.tensor([0.0, 1.0]), batches=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_gauc_is_the_weighted_mean_of_group_aucs(weighted: bool) -> None:
    p, y, w = click_log(4_000, mean_logit=-1.5)
    p = p.mul(50).round().div(50)  # ties within groups
    groups = torch.from_numpy(np.random.default_rng(1).zipf(1.4, 4_000).clip(max=2**40))  # heavy tail, huge ids
    weights = w if weighted else torch.ones_like(w)
    total = weight = 0.0
    for group in groups.unique():
        rows = groups == group
        if 0 < y[rows].sum() < rows.sum():
            group_weight = weights[rows].double().sum().item()
            total += group_weight * oracle.roc_auc_score(y[rows], p[rows], sample_weight=weights[rows])
            weight += group_weight
    assert 0 < weight < weights.double().sum()  # some groups have one class only
    assert measure(GAUC(), p, y, w if weighted else None, groups) == pytest.approx(total / weight, abs=1e-12)


def test_gauc_of_one_group_is_auc_and_ignores_shifts_between_groups() -> None:
    p, y, _ = click_log(1_000, mean_logit=0.0)
    one = torch.zeros(1_000, dtype=torch.int64)
    assert measure(GAUC(), p, y, None, one) == pytest.approx(oracle.roc_auc_score(y, p))
    groups = torch.arange(1_000) % 7
    assert measure(GAUC(), p + groups, y, None, groups) == pytest.approx(measure(GAUC(), p, y, None, groups), abs=1e-5)


def test_gauc_without_a_mixed_group_is_nan() -> None:
    groups = torch.tensor([1, 1, 2])
    assert math.isnan(measure(GAUC(), torch.rand(3), torch.tensor([1.0, 1.0, 0.0]), None, groups, batches=1))


@pytest.mark.parametrize("mean_logit", [0.0, -4.0, -9.0])
def test_log_loss_and_normalised_entropy(mean_logit: float) -> None:
    p, y, w = click_log(20_000, mean_logit=mean_logit)
    expected = oracle.log_loss(y, p.double(), sample_weight=w)
    assert measure(LogLoss(), p, y, w) == pytest.approx(expected, rel=1e-9)
    rate = np.average(y.double(), weights=w.double())
    entropy = scipy.stats.entropy([rate, 1 - rate])
    assert measure(NormalizedEntropy(), p, y, w) == pytest.approx(expected / entropy, rel=1e-9)
    constant = torch.full_like(p, rate)
    assert measure(NormalizedEntropy(), constant, y, w) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_mistakes_cost_much_but_not_infinitely(dtype: torch.dtype) -> None:
    certain = torch.tensor([0.0, 1.0], dtype=dtype)
    assert 16 < measure(LogLoss(), certain, torch.tensor([1.0, 0.0]), batches=1) < 40
    assert measure(LogLoss(), certain, torch.tensor([0.0, 1.0]), batches=1) < 1e-7


def test_calibration_ratio() -> None:
    p, y, w = click_log(20_000, mean_logit=-3.0)
    assert measure(PCOC(), p, y, w) == pytest.approx((w * p).double().sum().item() / (w * y).double().sum().item())
    assert measure(PCOC(), p, y) == pytest.approx(1.0, abs=0.05)
    assert measure(PCOC(), 2 * p, y) == pytest.approx(2 * measure(PCOC(), p, y))


def test_equal_width_ece_by_its_definition() -> None:
    p, y, w = (column.double().numpy() for column in click_log(20_000, mean_logit=-1.0))
    p = p**1.5  # not calibrated
    bins = np.minimum((p * 10).astype(int), 9)
    expected = sum(abs((w * (p - y))[bins == b].sum()) for b in range(10)) / w.sum()
    data = (torch.from_numpy(column) for column in (p, y, w))
    assert measure(ECE(bins=10, binning="equal_width"), *data) == pytest.approx(expected, abs=1e-9)


def test_equal_mass_ece_sees_what_equal_width_hides() -> None:
    p, y, _ = click_log(200_000, mean_logit=-6.0)
    order = torch.argsort(p)
    slices = [(p[part] - y[part]).double().sum().abs().item() for part in order.tensor_split(15)]
    assert measure(ECE(), p, y) == pytest.approx(sum(slices) / len(p), rel=0.05)
    flat = torch.full_like(p, y.mean().item())  # calibrated on average, useless
    assert measure(ECE(), flat, y) == pytest.approx(0.0, abs=1e-8)
    shrunk = p.sqrt() * (y.mean() / p.sqrt().mean())  # the mean is right and the slope wrong
    assert shrunk.max() < 1 / 15
    assert measure(ECE(binning="equal_width"), shrunk, y) == pytest.approx(0.0, abs=1e-8)
    assert measure(ECE(), shrunk, y) > 1e-3


def test_the_auc_builder() -> None:
    assert isinstance(auc(), AUC)
    assert isinstance(auc(exact=True), ExactAUC)
