"""Conditioned forms of the ordinary model: what they train is what comes out as an ordinary model."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from polytask.config import BalancerConfig, ComponentConfig
from polytask.errors import UserError
from polytask.serving.bundle import fitted_model
from polytask.tradeoffs.moving import base_name
from polytask.tradeoffs.network import build_front, model_at
from polytask.tradeoffs.plan import Whole
from polytask.tradeoffs.training import NOTHING, FrontTraining, train_front
from polytask.tradeoffs.units import constant_losses
from polytask.training.step import StepRecord, targets, task_losses

PARTS = [{"use": "pamal", "window": 2}, {"use": "lorpman", "window": 2, "rank": 2}, {"use": "phn", "width": 8},
         {"use": "phn", "method": "epo", "chunk": 64, "width": 8}, {"use": "cosmos"}]  # fmt: skip
TASKS = ("click", "spend")


class Silent:
    """Watches nothing, until it presses Ctrl-C."""

    def __init__(self, stop: int | None = None) -> None:
        self.records: list[Any] = []
        self._stop = stop

    def tell(self, problem: Any) -> None: ...

    def start(self, title: str, training: Any, folder: Any) -> None: ...

    def see(self, record: Any) -> None:
        self.records.append(record)
        if isinstance(record, StepRecord) and record.step == self._stop:
            os.kill(os.getpid(), signal.SIGINT)

    def finish(self) -> None: ...


def whole(part: dict[str, Any], tasks: tuple[str, ...] = TASKS, units: dict[str, float] | None = None) -> Whole:
    equal, sharing = BalancerConfig(use="equal"), ComponentConfig(use="mmoe")
    return Whole("it", "shared", "it", sharing, equal, part=BalancerConfig(**part), tasks=tasks, units=units)


@pytest.fixture
def config(new_config: Callable[..., Any]) -> Any:
    return new_config(TASKS, train={"steps": 6, "batch_size": 64, "checkpoint_every": 2, "evaluate_every": 3})


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "-".join(map(str, part.values())))
def test_what_comes_out_has_the_losses_under_which_it_was_trained(
    part: dict[str, Any], config: Any, table: pa.Table, prepared_run: Callable[..., Any]
) -> None:
    prepared = prepared_run(config, table)
    torch.manual_seed(0)
    model = fitted_model(config, prepared.preprocessor)
    front = build_front(BalancerConfig(**part), model, 2)
    for parameter in front.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batch = next(iter(prepared.reader("train").ordered(128)))
    micro = [(batch, targets(model, batch))]
    seen = []
    for ray in (torch.tensor([0.2, 0.8]), torch.tensor([0.9, 0.1])):
        losses, present, _ = front(ray, NOTHING, micro)
        plain = model_at(front, ray.tolist())
        assert type(plain) is type(model) and plain.state_dict().keys() == model.state_dict().keys()
        (expected,), _, _ = task_losses(plain, micro)
        assert bool(present.all()) and torch.allclose(losses, expected, atol=1e-5)
        seen.append(losses)
    assert not torch.allclose(*seen)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "-".join(map(str, part.values())))
def test_tables_move_by_rows_and_are_the_same_for_all(
    part: dict[str, Any], config: Any, table: pa.Table, prepared_run: Callable[..., Any]
) -> None:
    training = FrontTraining(config, prepared_run(config, table), whole(part), 0)
    named = dict(training.front.named_parameters())
    (name,) = (one for one in named if base_name(one) == "encoder.table")
    before = {one: value.detach().clone() for one, value in named.items()}
    record = next(iter(training))
    assert isinstance(record, StepRecord) and record.weights == pytest.approx(
        (record.weights[0], 2 - record.weights[0])
    )
    assert named[name].grad is not None and named[name].grad.is_sparse
    rows = named[name].grad.coalesce().indices()[0].unique()
    moved = (named[name] != before[name]).any(1).nonzero().flatten()
    assert 0 < len(moved) <= len(rows) < len(named[name]) and set(moved.tolist()) <= set(rows.tolist())
    others = [one for one in named if one != name and not torch.equal(named[one], before[one])]
    assert len(others) > 3
    tables = [model_at(training.front, ray).get_parameter("encoder.table") for ray in ((0.9, 0.1), (0.1, 0.9))]
    assert torch.equal(*tables)


def test_one_step_is_the_objective_and_its_gradient(
    config: Any, table: pa.Table, prepared_run: Callable[..., Any], new_config: Callable[..., Any]
) -> None:
    """Of PaMaL with one preference: member t has p_t times the gradient of ``sum_s p_s L_s / u_s + L_rest / (2 u)``."""
    config = new_config((*TASKS, "visits"), train={"steps": 6, "batch_size": 64})
    units = {"click": 0.5, "spend": 2.0, "visits": 4.0}
    training = FrontTraining(config, prepared_run(config, table), whole({"use": "pamal", "window": 1}, units=units), 3)
    model = copy.deepcopy(training.model).train()
    training.front.train()
    _, batch = next(training._train.shuffled(64, seed=3))
    rays, losses, _ = training._backward(batch)
    micro = [(batch, targets(model, batch, np.random.default_rng([3, 0])))]
    (expected,), _, _ = task_losses(model, micro)
    assert torch.allclose(losses[0], expected)
    (ray,) = rays
    total = ray[0] * expected[0] / 0.5 + ray[1] * expected[1] / 2.0 + expected[2] / 4.0 / 2
    total.backward()
    members = dict(training.front.named_parameters())
    for name, parameter in model.named_parameters():
        if name == "encoder.table":
            found = members["common.model/encoder/table"].grad.to_dense()
            assert torch.allclose(found, parameter.grad.to_dense(), atol=1e-6)
            continue
        own = members["members.model/" + name.replace(".", "/")].grad
        for number in range(2):
            assert torch.allclose(own[number], ray[number] * parameter.grad, atol=1e-6), name


@pytest.mark.parametrize("use", ["lorpman", "cosmos"])
def test_an_interrupted_training_ends_as_one_that_was_not(
    use: str, config: Any, table: pa.Table, prepared_run: Callable[..., Any], tmp_path: Any
) -> None:
    prepared, method = prepared_run(config, table), whole({"use": use})
    straight = train_front(config, prepared, method, tmp_path / "a", seed=1, title="", watcher=Silent())
    with pytest.raises(KeyboardInterrupt):
        train_front(config, prepared, method, tmp_path / "b", seed=1, title="", watcher=Silent(stop=3))
    watcher = Silent()
    again = train_front(config, prepared, method, tmp_path / "b", seed=1, title="", watcher=watcher)
    assert again == straight
    assert [one.step for one in watcher.records if isinstance(one, StepRecord)] == [4, 5, 6]
    weights = [(tmp_path / one / "front" / "front.safetensors").read_bytes() for one in "ab"]
    assert weights[0] == weights[1]
    records = [(tmp_path / one / "records.jsonl").read_text() for one in "ab"]
    assert records[0] == records[1]


def test_constant_losses_are_those_of_the_label_rates(
    new_config: Callable[..., Any], table: pa.Table, prepared_run: Callable[..., Any]
) -> None:
    config = new_config(("click", "spend"))
    prepared = prepared_run(config, table)
    found = constant_losses(config, prepared)
    rate = torch.tensor(prepared.preprocessor.stats["click"].mean)
    assert found["click"] == pytest.approx(torch.special.entr(torch.stack([rate, 1 - rate])).sum().item(), abs=1e-4)
    assert found["spend"] == pytest.approx(1.0, abs=0.02)  # of standardised labels
    assert len(found) == 2


def test_cosmos_needs_a_bias_to_fold_into(
    new_config: Callable[..., Any], table: pa.Table, prepared_run: Callable[..., Any]
) -> None:
    config = new_config(TASKS, encoder={"norm": "none"})
    with pytest.raises(UserError, match=r'cosmos adds the preference to the bias .*set encoder\.norm = "layer"'):
        FrontTraining(config, prepared_run(config, table), whole({"use": "cosmos"}), 0)


def test_a_loss_that_is_not_finite_names_its_task(
    new_config: Callable[..., Any], table: pa.Table, prepared_run: Callable[..., Any]
) -> None:
    config = new_config(TASKS, train={"learning_rate": 1e30, "embedding_learning_rate": 1e30, "steps": 9})
    with pytest.raises(UserError, match=r"tasks\.\w+: its loss is not finite in step \d"):
        list(FrontTraining(config, prepared_run(config, table), whole({"use": "pamal"}), 0))
