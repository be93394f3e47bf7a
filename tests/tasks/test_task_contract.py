"""What every kind of task promises: stacks equal single tasks, biases give the constant prediction, metrics fit."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from polytask import tasks
from polytask.tasks import Task, binary, count, multiclass, ordinal, regression, stack
from polytask.types import LabelStats

ROWS = 400


def stats_of(labels: Tensor, classes: int = 0) -> LabelStats:
    y = labels.double().numpy()
    counts = np.bincount(labels.long().numpy(), minlength=classes).astype(float) if classes else []
    return LabelStats(
        rows=len(y),
        weight=float(len(y)),
        mean=float(y.mean()),
        std=float(y.std()),
        minimum=float(y.min()),
        maximum=float(y.max()),
        class_weights=tuple(counts),
        quantiles=tuple(np.quantile(y, np.linspace(0, 1, 101))),
    )


def labels_of(kind: str, seed: int, rows: int = ROWS) -> Tensor:
    rng = np.random.default_rng(seed)
    values = {
        "binary": lambda: rng.random(rows) < 0.02 + 0.1 * (seed % 4),
        "multiclass": lambda: rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1]),
        "ordinal": lambda: rng.choice(4, rows, p=[0.1, 0.2, 0.3, 0.4]),
        "regression": lambda: np.exp(rng.normal(seed % 5, 1.0, rows)),
        "count": lambda: rng.negative_binomial(2, 0.2 + 0.1 * (seed % 3), rows),
    }[kind]()
    return torch.from_numpy(np.asarray(values)).float()


SETTINGS: dict[str, list[Task]] = {
    "binary": [binary("a"), binary("b", positive_weight=3.0, keep_negatives=0.3), binary("c", label_smoothing=0.1)],
    "binary balanced": [binary("a", positive_weight="balanced"), binary("b", positive_weight="balanced")],
    "binary focal": [binary("a", gamma=2.0), binary("b", gamma=0.5, positive_weight=2.0)],
    "multiclass": [multiclass("a"), multiclass("b", class_weights="balanced"), multiclass("c", label_smoothing=0.2)],
    "multiclass weights": [
        multiclass("a", class_weights=[1.0, 2.0, 3.0, 4.0]),
        multiclass("b", class_weights={"1": 5.0}),
    ],
    "ordinal": [ordinal("a"), ordinal("b")],
    "regression": [regression("a"), regression("b", scaling="none")],
    "regression log1p": [regression("a", scaling="log1p"), regression("b", scaling="log1p")],
    "regression huber": [regression("a", loss="huber"), regression("b", loss="huber", delta=0.2)],
    "regression absolute": [regression("a", loss="absolute"), regression("b", loss="absolute")],
    "regression quantile": [
        regression("a", loss="quantile", quantile=0.9),
        regression("b", loss="quantile", quantile=0.25, scaling="none"),
    ],
    "regression log1p quantile": [regression("a", loss="quantile", quantile=0.9, scaling="log1p")],
    "count": [count("a"), count("b")],
    "count negative binomial": [
        count("a", loss="negative_binomial"),
        count("b", loss="negative_binomial", dispersion=0.5),
    ],
}
every_setting = pytest.mark.parametrize("setting", list(SETTINGS))


def fitted(setting: str, repeats: int = 1) -> tuple[list[Task], Tensor]:
    """Fitted tasks and their labels ``[tasks, rows]``."""
    kind = setting.split()[0]
    classes = {"binary": 2, "multiclass": 4, "ordinal": 4}.get(kind, 0)
    unfitted = SETTINGS[setting] * repeats
    labels = torch.stack([labels_of(kind, seed) for seed in range(len(unfitted))])
    return [task.fitted(stats_of(y, classes)) for task, y in zip(unfitted, labels, strict=True)], labels


def logits_of(group: Any, rows: int = ROWS, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(group.tasks), rows, group.out_features, generator=generator).to(dtype)


def test_the_list_of_kinds() -> None:
    assert tasks.__all__ == ["binary", "multiclass", "ordinal", "regression", "count"]
    for kind in tasks.__all__:
        builder = getattr(tasks, kind)
        assert builder("a").kind == kind
        name, *options = inspect.signature(builder).parameters.values()
        assert name.name == "name"
        assert all(option.kind is option.KEYWORD_ONLY and option.default is not option.empty for option in options)


@every_setting
def test_a_stack_equals_its_tasks_one_by_one(setting: str) -> None:
    all_tasks, labels = fitted(setting)
    (group,) = stack(all_tasks)
    logits = logits_of(group)
    losses, predictions = group.row_losses(logits, labels), group.predict(logits)
    assert losses.shape == labels.shape
    for index, task in enumerate(all_tasks):
        torch.testing.assert_close(losses[index], task.row_losses(logits[index], labels[index]))
        torch.testing.assert_close(predictions[index], task.predict(logits[index]))


@every_setting
def test_initial_bias_predicts_the_constant(setting: str) -> None:
    all_tasks, labels = fitted(setting)
    (group,) = stack(all_tasks)
    bias = group.initial_bias()
    assert bias.shape == (len(all_tasks), group.out_features)
    predictions = group.predict(bias[:, None].expand(-1, ROWS, -1))
    for task, prediction, y in zip(all_tasks, predictions, labels, strict=True):
        expected = task.constant_prediction.float().expand(prediction.shape)
        torch.testing.assert_close(prediction, expected, rtol=1e-4, atol=1e-5)
        selection = task.selection()
        selection.update(prediction, y)
        assert selection.compute() == pytest.approx(0.0, abs=1e-4)


@every_setting
def test_the_constant_prediction_is_the_best_constant(setting: str) -> None:
    for task, y in zip(*fitted(setting), strict=True):
        best = task.constant_prediction
        for factor in (0.95, 1.05):
            if best.ndim == 0:
                other = best * factor
            else:
                other = best ** (1 / factor)
                other = other / other.sum()
            selection = task.selection()
            selection.update(other.expand(len(y), *other.shape), y)
            assert selection.compute() < 1e-4  # quantiles are known at 101 points only


@every_setting
def test_metrics_fit_the_predictions(setting: str) -> None:
    all_tasks, labels = fitted(setting)
    (group,) = stack(all_tasks)
    groups = torch.arange(ROWS) % 9
    for task, prediction, y in zip(all_tasks, group.predict(logits_of(group)), labels, strict=True):
        metrics = task.metrics(grouped=True)
        assert task.primary_metric in metrics
        for name, metric in metrics.items():
            assert metric.name == name
            metric.update(prediction, y, None, groups)
            assert math.isfinite(metric.compute()), name
        assert ("gauc" in metrics) == (task.kind == "binary")
        assert "gauc" not in task.metrics()
        assert task.metrics()[task.primary_metric] is not metrics[task.primary_metric]


@every_setting
def test_descent_reduces_the_loss_and_improves_on_the_constant(setting: str) -> None:
    all_tasks, labels = fitted(setting)
    (group,) = stack(all_tasks)
    logits = group.initial_bias()[:, None].repeat(1, ROWS, 1).requires_grad_()
    losses = group.row_losses(logits, labels)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient.isfinite().all()
    assert (group.row_losses(logits - 0.01 * gradient, labels).sum(1) < losses.sum(1)).all()
    for task, prediction, y in zip(all_tasks, group.predict((logits - 0.01 * gradient).detach()), labels, strict=True):
        selection = task.selection()
        selection.update(prediction, y)
        assert selection.compute() > 0


@every_setting
def test_gradients_against_finite_differences(setting: str) -> None:
    all_tasks, labels = fitted(setting)
    (group,) = stack(all_tasks)
    logits = logits_of(group, 5, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: group.double().row_losses(z, labels[:, :5].double()), logits)


@every_setting
def test_half_precision_logits_are_computed_in_float32(setting: str) -> None:
    all_tasks, labels = fitted(setting)
    (group,) = stack(all_tasks)
    logits = logits_of(group, dtype=torch.bfloat16)
    assert group.row_losses(logits, labels).dtype == torch.float32
    assert group.predict(logits).dtype == torch.float32


class OpCount(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.ops += 1
        return func(*args, **(kwargs or {}))


@every_setting
def test_forty_tasks_take_no_more_operations_than_one_set(setting: str) -> None:
    def operations(repeats: int) -> int:
        all_tasks, labels = fitted(setting, repeats)
        (group,) = stack(all_tasks)
        logits = logits_of(group).requires_grad_()
        with OpCount() as counter:
            group.row_losses(logits, labels).sum().backward()
            group.predict(logits.detach())
        return counter.ops

    assert operations(20) == operations(1)


@every_setting
def test_predictions_can_be_exported(setting: str) -> None:
    (group,) = stack(fitted(setting)[0])
    assert not group.state_dict()  # everything follows from the tasks

    class Predict(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.group = group

        def forward(self, logits: Tensor) -> Tensor:
            return self.group.predict(logits)

    logits = logits_of(group)
    rows = torch.export.Dim("rows")
    program = torch.export.export(Predict(), (logits,), dynamic_shapes=({1: rows},))
    torch.testing.assert_close(program.module()(logits[:, :7]), group.predict(logits[:, :7]))


@pytest.mark.parametrize("kind", tasks.__all__)
def test_what_needs_statistics_says_so(kind: str) -> None:
    task: Task = getattr(tasks, kind)("price")
    with pytest.raises(ValueError, match=r"task 'price' is not fitted; call fitted\(stats\) first"):
        _ = task.constant_prediction


@pytest.mark.parametrize("kind", tasks.__all__)
def test_no_row_is_masked_or_sampled_away_by_default(kind: str) -> None:
    (group,) = stack(fitted(kind)[0][:1])
    generator = np.random.default_rng(0)
    assert group.sample_mask(labels_of(kind, 0)[None], generator).all()
    assert generator.random() == np.random.default_rng(0).random()  # untouched, so that streams stay comparable
