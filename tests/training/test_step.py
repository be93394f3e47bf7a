from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import torch

from polytask.balancing import Balancing, equal, mgda, uncertainty
from polytask.balancing.interfaces import Place
from polytask.config import TrainConfig
from polytask.errors import UserError
from polytask.model import Model
from polytask.serving.bundle import fitted_model
from polytask.training.optimization import Optimization
from polytask.training.step import targets, task_losses, train_step
from polytask.types import Batch

MIXED = ("click", "spend", "visits")


@pytest.fixture
def mixed(new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table) -> tuple[Model, Batch]:
    """A model of three kinds of tasks with a weight column and missing labels, and one batch of about 60 rows."""
    config = new_config(MIXED)
    prepared = prepared_run(config, table)
    torch.manual_seed(0)
    model = fitted_model(config, prepared.preprocessor)
    _, batch = next(prepared.reader("train").shuffled(64, seed=0))
    return model, batch


def rows_of(batch: Batch, rows: slice) -> Batch:
    return batch.slice(rows.start, rows.stop)


def without(batch: Batch, *tasks: str) -> Batch:
    observed = {name: mask & (name not in tasks) for name, mask in batch.observed.items()}
    return replace(batch, observed=observed)


def gradients(model: Model) -> dict[str, torch.Tensor]:
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad.clone()
    model.zero_grad()
    return found


def step(model: Model, batches: list[Batch], balancer: Any = None, **options: Any) -> tuple[torch.Tensor, ...]:
    losses, weights, seen = train_step(model, balancer or equal(), batches, number=0, epoch=0, seed=0, **options)
    return losses, weights, seen.present


def test_one_batch_equals_its_halves_as_micro_batches(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    whole_losses, _, _ = step(model, [batch])
    whole = gradients(model)
    # uneven parts: a mean of means would differ
    halves = [rows_of(batch, slice(0, 20)), rows_of(batch, slice(20, len(batch)))]
    losses, _, _ = step(model, halves)
    torch.testing.assert_close(losses, whole_losses)
    split = gradients(model)
    assert whole.keys() == split.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, msg=name)


def test_a_loss_is_the_weighted_mean_over_observed_rows(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    (losses,), present, _ = task_losses(model, [(batch, targets(model, batch))])
    assert present.all()
    logits = model(batch.features).logits
    for index, task in enumerate(model.tasks):
        group = next(n for n, stack in enumerate(model.task_stacks) if index in stack.indices)
        own = logits[group][model.task_stacks[group].indices.index(index)]
        seen = batch.observed[task.name]
        assert 0 < seen.sum() < len(batch) or task.name == "visits"
        weights = batch.weights.get(task.name, torch.ones(len(batch)))[seen]
        rows = task.row_losses(own[seen], batch.labels[task.name][seen])
        torch.testing.assert_close(losses[index], (rows * weights).sum() / weights.sum())


def test_unobserved_labels_are_never_read(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    losses, _, _ = step(model, [batch])
    before = gradients(model)
    garbage = {
        name: torch.where(batch.observed[name], values, 3.0 if name == "spend" else 1.0)
        for name, values in batch.labels.items()
    }
    again, _, _ = step(model, [replace(batch, labels=garbage)])
    assert torch.equal(losses, again)
    for name, gradient in gradients(model).items():
        assert torch.equal(gradient, before[name]), name


def test_a_task_without_rows_is_absent_and_not_zero(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    _, weights, present = step(model, [without(batch, "spend")])
    assert present.tolist() == [True, False, True]
    assert weights.tolist() == [1.0, 0.0, 1.0]
    _, weights, present = step(model, [without(batch, *MIXED)])
    assert not present.any() and not weights.any()


def test_a_task_seen_in_one_micro_batch_only_is_present(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    halves = [rows_of(batch, slice(0, 32)), without(rows_of(batch, slice(32, len(batch))), "spend")]
    losses, _, present = step(model, halves)
    alone, _, _ = step(model, [halves[0]])
    assert present.all()
    torch.testing.assert_close(losses[1], alone[1])


def test_a_non_finite_loss_names_task_and_step(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    broken = {**batch.labels, "spend": torch.full((len(batch),), torch.inf)}
    with pytest.raises(UserError, match=r"tasks\.spend: its loss is not finite in step 1; lower train.learning_rate"):
        step(model, [replace(batch, labels=broken)])


@pytest.mark.parametrize("at", ["representation", "last_layer", "parameters"])
def test_gradient_balancers_take_micro_batches_as_one_batch(mixed: tuple[Model, Batch], at: Place) -> None:
    model, batch = mixed
    _, weights, _ = step(model, [batch], Balancing(mgda(), len(model.tasks), at=at))
    whole = gradients(model)
    halves = [rows_of(batch, slice(0, 32)), rows_of(batch, slice(32, len(batch)))]
    _, again, _ = step(model, halves, Balancing(mgda(), len(model.tasks), at=at))
    torch.testing.assert_close(again, weights, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-3, atol=1e-5, msg=name)


def test_micro_batches_of_one_task_each_are_refused_at_the_representation(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    names = [task.name for task in model.tasks]
    apart = [without(batch, *(other for other in names if other != name)) for name in names]
    with pytest.raises(UserError, match="no two tasks have rows in the same micro-batch"):
        step(model, apart, mgda())
    _, weights, _ = step(model, apart, Balancing(mgda(), len(names), at="parameters"))
    assert weights.sum().item() == pytest.approx(1.0)


def owned(model: Model, task: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Every entry that task ``task`` alone reads, found by hand from the architecture."""
    tasks = len(model.tasks)
    for name, parameter in model.towers.named_parameters():
        yield f"towers.{name}", parameter.data[task]
    for layer, stack in zip(model.heads.layers, model.task_stacks, strict=True):
        if task in stack.indices:
            for name, parameter in layer.named_parameters():
                yield f"heads.{name}", parameter.data[stack.indices.index(task)]
    levels = list(model.sharing.levels)
    for number, level in enumerate(levels):
        if level.gates is not None:
            for name, parameter in level.gates.named_parameters():
                yield f"gates{number}.{name}", parameter.data[task]
        private = level.experts.experts // (tasks + 1) if len(level.experts.first.bias) > 2 else 0
        # below the last level the shared state reads private experts too
        if private and number == len(levels) - 1:
            for name, parameter in level.experts.named_parameters():
                yield f"experts{number}.{name}", parameter.data[task * private : (task + 1) * private]


@pytest.mark.parametrize(
    "sharing",
    [
        {"use": "mmoe", "experts": 2, "widths": [8], "gate": {"bias": True}},
        {"use": "cgc", "experts": 2, "shared_experts": 2, "widths": [8]},
        {"use": "ple", "levels": 2, "experts": 2, "shared_experts": 2, "widths": [8, 8]},
    ],
    ids=lambda options: options["use"],
)
@pytest.mark.parametrize("clip", [None, 0.1])
def test_what_an_absent_task_owns_does_not_move(
    sharing: dict[str, Any], clip: float | None,
    new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table,
) -> None:  # fmt: skip
    config = new_config(MIXED, sharing=sharing)
    prepared = prepared_run(config, table)
    torch.manual_seed(0)
    model, balancer = fitted_model(config, prepared.preprocessor), uncertainty(list(MIXED))
    settings = TrainConfig(learning_rate=0.05, weight_decay=0.5, decay="none", warmup=0.0, clip_norm=clip)
    optimization = Optimization(model, balancer, settings, steps=100)
    batches = prepared.reader("train").shuffled(64, seed=0)

    def move(number: int, *absent: str) -> None:
        optimization.zero_grad()
        _, _, seen = train_step(model, balancer, [without(next(batches)[1], *absent)], number=number, epoch=0, seed=0)
        optimization.step(number, seen.present)

    for number in range(3):  # so that there is momentum
        move(number)
    mine = {name: tensor.clone() for name, tensor in owned(model, 1)}
    assert any("gates" in name for name in mine)
    assert any("experts" in name for name in mine) == (sharing["use"] != "mmoe")
    log_variance = balancer.log_variance.detach().clone()
    others = {name: tensor.clone() for name, tensor in owned(model, 0)}
    move(3, "spend")
    for name, tensor in owned(model, 1):
        assert torch.equal(tensor, mine[name]), name
    for name, tensor in owned(model, 0):
        if tensor.dim() > 1:
            assert not torch.equal(tensor, others[name]), name
    assert (balancer.log_variance.detach() != log_variance).tolist() == [True, False, True]


def test_an_absent_tasks_moments_do_not_decay(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    balancer = equal()
    optimization = Optimization(model, balancer, TrainConfig(), steps=10)
    weight = model.towers.layers[0].weight

    def move(batch: Batch) -> None:
        optimization.zero_grad()
        _, _, seen = train_step(model, balancer, [batch], number=0, epoch=0, seed=0)
        optimization.step(0, seen.present)

    move(batch)
    state = optimization.optimizers[0].state[weight]
    before = {name: state[name].clone() for name in ("exp_avg", "exp_avg_sq")}
    move(without(batch, "spend"))
    for name, moment in before.items():
        assert torch.equal(state[name][1], moment[1])
        assert not torch.equal(state[name][0], moment[0])


def test_a_step_in_which_no_task_is_present_moves_nothing(mixed: tuple[Model, Batch]) -> None:
    model, batch = mixed
    balancer = equal()
    optimization = Optimization(model, balancer, TrainConfig(clip_norm=1.0, weight_decay=0.1), steps=10)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    _, _, seen = train_step(model, balancer, [without(batch, *MIXED)], number=0, epoch=0, seed=0)
    optimization.step(0, seen.present)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name
