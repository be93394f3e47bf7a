"""What every metric promises, whatever it measures: merging, weights, empty input, NaN, states."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polytask import metrics
from polytask.metrics import Metric
from polytask.metrics.losses import squared_error

CLASSES = 4

PROBABILITY: dict[str, Callable[[], Metric]] = {
    "AUC": metrics.AUC,
    "AUC(bins=64)": lambda: metrics.AUC(bins=64),
    "ExactAUC": metrics.ExactAUC,
    "GAUC": metrics.GAUC,
    "PRAUC": metrics.PRAUC,
    "LogLoss": metrics.LogLoss,
    "NormalizedEntropy": metrics.NormalizedEntropy,
    "PCOC": metrics.PCOC,
    "ECE": metrics.ECE,
    "ECE(equal_width)": lambda: metrics.ECE(binning="equal_width"),
    "BinaryAccuracy": metrics.BinaryAccuracy,
    "PositiveRate": metrics.PositiveRate,
    "Precision": metrics.Precision,
    "Recall": lambda: metrics.Recall(0.3),
    "F1": metrics.F1,
}
CLASS: dict[str, Callable[[], Metric]] = {
    "ClassLogLoss": metrics.ClassLogLoss,
    "Accuracy": metrics.Accuracy,
    "MacroF1": lambda: metrics.MacroF1(CLASSES),
    "MacroAUC": lambda: metrics.MacroAUC(CLASSES),
    "ClassMAE": metrics.ClassMAE,
    "QuadraticKappa": lambda: metrics.QuadraticKappa(CLASSES),
}
VALUE: dict[str, Callable[[], Metric]] = {
    "RMSE": metrics.RMSE,
    "MAE": metrics.MAE,
    "R2": metrics.R2,
    "PoissonDeviance": metrics.PoissonDeviance,
    "Pinball": lambda: metrics.Pinball(0.9),
    "Coverage": metrics.Coverage,
    "RelativeImprovement": lambda: metrics.RelativeImprovement(squared_error, "squared_error", torch.tensor(2.0)),
}
ALL = {**PROBABILITY, **CLASS, **VALUE}
every_metric = pytest.mark.parametrize("name", list(ALL))


def rows(name: str, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predictions, labels, integer weights and groups that suit the metric, with ties among the predictions."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(0, 4, (count,), generator=generator).float()
    groups = torch.randint(0, 5, (count,), generator=generator)
    if name in PROBABILITY:
        predictions = torch.rand(count, generator=generator).mul(20).round().div(20).clamp(0.01, 0.99)
        labels = (torch.rand(count, generator=generator) < predictions).float()
    elif name in CLASS:
        predictions = torch.randn(count, CLASSES, generator=generator).softmax(1)
        labels = torch.randint(0, CLASSES, (count,), generator=generator).float()
    else:
        predictions = torch.rand(count, generator=generator).mul(5).add(0.1)
        labels = torch.randint(0, 6, (count,), generator=generator).float()
    return predictions, labels, weights, groups


def value(name: str, *data: Tensor | None) -> float:
    metric = ALL[name]()
    metric.update(*data)  # type: ignore[arg-type]
    return metric.compute()


def same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))


def test_every_public_metric_is_covered() -> None:
    public = {name for name in metrics.__all__ if name[0].isupper()} - {"Metric"}
    assert public == {name.partition("(")[0] for name in ALL}


@every_metric
@settings(max_examples=15, deadline=None)
@given(count=st.integers(0, 60), cut=st.integers(0, 60), seed=st.integers(0, 2**31))
def test_merge_and_batches_equal_one_update(name: str, count: int, cut: int, seed: int) -> None:
    data = rows(name, count, seed)
    cut = min(cut, count)
    head, tail = [column[:cut] for column in data], [column[cut:] for column in data]
    whole = value(name, *data)

    streamed = ALL[name]()
    streamed.update(*head)
    streamed.update(*tail)
    assert same(streamed.compute(), whole)

    left, right = ALL[name](), ALL[name]()
    left.update(*head)
    right.update(*tail)
    left.merge(right)
    assert same(left.compute(), whole)


@every_metric
@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 2**31))
def test_integer_weights_equal_repeated_rows(name: str, count: int, seed: int) -> None:
    predictions, labels, weights, groups = rows(name, count, seed)
    repeated = torch.repeat_interleave(torch.arange(count), weights.long())
    expected = value(name, predictions[repeated], labels[repeated], None, groups[repeated])
    assert same(value(name, predictions, labels, weights, groups), expected)


@every_metric
def test_states_reduce_over_ranks(name: str) -> None:
    data = rows(name, 200, seed=1)
    ranks = [ALL[name]() for _ in range(3)]
    for rank, metric in enumerate(ranks[:2]):  # the last rank sees no row
        metric.update(*(column[rank::2] for column in data))
    states = [metric.state() for metric in ranks]
    combine = torch.cat if ranks[0].reduction == "concat" else lambda tensors: torch.stack(tensors).sum(0)
    reduced = {key: combine([state[key] for state in states]) for key in states[0]}
    result = ALL[name]()
    result.load_state(reduced)
    assert math.isfinite(result.compute())
    assert same(result.compute(), value(name, *data))


@every_metric
def test_undefined_is_nan(name: str) -> None:
    assert math.isnan(ALL[name]().compute())
    predictions, labels, weights, groups = rows(name, 10, seed=2)
    empty = ALL[name]()
    empty.update(predictions[:0], labels[:0], weights[:0], groups[:0])
    assert math.isnan(empty.compute())
    assert math.isnan(value(name, predictions, labels, torch.zeros(10), groups))


@pytest.mark.parametrize("name", [name for name in ALL if name != "PositiveRate"])  # it looks at no prediction
def test_nan_predictions_give_nan(name: str) -> None:
    predictions, labels, _, groups = rows(name, 50, seed=3)
    predictions[7] = math.nan
    assert math.isnan(value(name, predictions, labels, None, groups))


@every_metric
def test_row_order_dtype_and_gradients_do_not_matter(name: str) -> None:
    predictions, labels, weights, groups = rows(name, 300, seed=4)
    expected = value(name, predictions, labels, weights, groups)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(5))
    shuffled = [column[order] for column in (predictions.double().requires_grad_(), labels, weights.double(), groups)]
    assert value(name, *shuffled) == pytest.approx(expected, rel=1e-6)
    assert math.isfinite(value(name, predictions.bfloat16(), labels, weights, groups))


@pytest.mark.parametrize("name", [name for name in ALL if ALL[name]().reduction == "sum"])
def test_sums_are_float64_and_do_not_drift(name: str) -> None:
    predictions, labels, weights, groups = rows(name, 64, seed=6)
    metric = ALL[name]()
    expected = value(name, predictions, labels, weights, groups)
    for _ in range(500):
        metric.update(predictions, labels, weights * 1e6 + 0.0, groups)
    assert all(tensor.dtype == torch.float64 for tensor in metric.state().values())
    assert metric.compute() == pytest.approx(expected, rel=1e-9)


def test_metrics_with_other_options_are_not_merged() -> None:
    with pytest.raises(ValueError, match="metric auc: only metrics of one type and with equal options can be merged"):
        metrics.AUC().merge(metrics.AUC(bins=64))
    with pytest.raises(ValueError, match="metric log_loss: only metrics of one type"):
        metrics.LogLoss().merge(metrics.PCOC())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"metric macro_f1: a state of shape \(2, 2\) does not fit \(3, 3\)"):
        metrics.MacroF1(3).load_state(metrics.MacroF1(2).state())


def test_row_counts_are_checked() -> None:
    with pytest.raises(ValueError, match="metric auc: 3 weights for 2 labels"):
        metrics.AUC().update(torch.tensor([0.1, 0.2]), torch.tensor([0.0, 1.0]), torch.ones(3))
    with pytest.raises(ValueError, match="metric gauc: needs the group of each row"):
        metrics.GAUC().update(torch.tensor([0.1, 0.2]), torch.tensor([0.0, 1.0]))
