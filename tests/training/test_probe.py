"""Probes: what they say against separate backward passes, and that training does not notice them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from polytask.config import Config, TrainConfig
from polytask.training.checkpoint import load_state, save_state
from polytask.training.loop import Record, Training
from polytask.training.probe import ProbeRecord, probe_every
from polytask.training.records import read_records
from polytask.training.run import train_run
from polytask.training.single import new_training
from polytask.training.step import targets, task_losses
from polytask.types import Batch

TASKS = ("click", "spend")
CHAIN: Mapping[str, Any] = {
    "click": {"kind": "binary", "label": "click"},
    "buy": {"kind": "binary", "label": "stars >= 3", "after": "click"},
}


@pytest.fixture
def new_run(
    new_config: Callable[..., Config], prepared_run: Callable[..., Any], table: pa.Table
) -> Callable[..., Training]:
    def build(tasks: Any = TASKS, *, data: pa.Table | None = None, **sections: Any) -> Training:
        return new_training(new_config(tasks, **sections), prepared_run(new_config(tasks), data or table), 0)

    return build


def probes(records: list[Record]) -> list[ProbeRecord]:
    return [record for record in records if isinstance(record, ProbeRecord)]


def state_of(run: Training) -> dict[str, Any]:
    state = run.state_dict()
    state.pop("owes_probe")
    return state


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.stride() == other.stride() and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def test_how_often() -> None:
    assert probe_every(TrainConfig(), 10_000, usual=True) == 500
    assert probe_every(TrainConfig(), 30, usual=True) == 10
    assert probe_every(TrainConfig(), 30, usual=False) == 0
    assert probe_every(TrainConfig(probe=3), 30, usual=False) == 3
    assert probe_every(TrainConfig(probe=0), 30, usual=True) == 0


def test_a_probe_comes_before_the_evaluation_of_its_step(new_run: Callable[..., Training]) -> None:
    records = list(new_run(train={"epochs": 2, "probe": 4}))
    assert [record.step for record in probes(records)] == [4, 8, 12, 16]
    kinds = [record.kind for record in records if record.step == 8]
    assert kinds == ["step", "probe", "evaluation"]


def test_the_gramian_is_that_of_separate_backward_passes(new_run: Callable[..., Training]) -> None:
    run = new_run(sharing={"use": "shared_bottom", "widths": [8]}, train={"epochs": 1, "probe": 8})
    records = list(run)
    model, batch = run.model.eval(), next(run._validation.ordered(64))
    (losses,), _, (made,) = task_losses(model, [(batch, targets(model, batch))])
    rows = torch.stack(
        [torch.autograd.grad(loss, made.value, retain_graph=True)[0][task] for task, loss in enumerate(losses)]
    ).flatten(1)
    (found,) = probes(records)
    torch.testing.assert_close(torch.tensor(found.gramian), rows @ rows.T)


def test_gates_are_those_of_the_rows(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 1, "probe": 8})
    (found,) = probes(list(run))
    batch = next(run._validation.ordered(64))
    weights = run.model.eval().sharing(run.model.encoder(batch.features)).gates["level1"]
    level = found.gates["level1"]
    assert level["rows"] == TASKS
    torch.testing.assert_close(torch.tensor(level["mean"]), weights.mean(0))
    assert all(0.0 <= value <= 1.0 for value in level["entropy"])


BUSY = [
    {"sharing": {"use": "mmoe", "experts": 2, "widths": [8]}, "encoder": {"dropout": 0.3, "id_dropout": 0.2}},
    {"balancer": {"use": "mgda"}, "encoder": {"dropout": 0.3}},
    {"balancer": {"use": "famo"}},
    {"balancer": {"use": "auto_lambda"}, "encoder": {"dropout": 0.1}},
    {"balancer": {"use": "graddrop"}},
    {"sharing": {"use": "snr"}, "encoder": {"dropout": 0.1}},
    {"sharing": {"use": "ple", "levels": 2}, "penalty": {"use": "l2_distance"}},
    {"sharing": {"use": "cross_stitch"}, "train": {"precision": "bf16"}},
    {"tasks": CHAIN, "chain": {"use": "esmm"}},
]


@pytest.mark.parametrize("sections", BUSY, ids=lambda sections: next(iter(sections.values())).get("use", "esmm"))
def test_training_does_not_notice(new_run: Callable[..., Training], sections: Mapping[str, Any]) -> None:
    options = {"epochs": 1, **sections.get("train", {})}
    tasks = sections.get("tasks", TASKS)
    others = {name: value for name, value in sections.items() if name not in ("train", "tasks")}
    records, states = [], []
    for more in ({}, {"probe": 1, "probe_affinity": True}):
        run = new_run(tasks, train={**options, **more}, **others)
        records.append(list(run))
        states.append(state_of(run))
    assert len(probes(records[1])) == 8 and not probes(records[0])
    assert same(states[0], states[1])
    assert list(map(repr, (record for record in records[1] if record.kind != "probe"))) == list(map(repr, records[0]))
    found = probes(records[1])[-1]
    assert all(math.isfinite(value) for row in found.gramian for value in row)
    assert found.affinity is not None and all(math.isfinite(value) for row in found.affinity for value in row)


@pytest.mark.parametrize("after", ["step", "probe", "evaluation"])
def test_it_resumes_between_any_two_records(new_run: Callable[..., Training], tmp_path: Path, after: str) -> None:
    options = {"train": {"epochs": 2, "probe": 4, "probe_affinity": True}, "encoder": {"dropout": 0.3}}
    whole, kept, log = new_run(**options), [], []
    for record in whole:
        log.append(record)
        if record.step == 8 and record.kind == after:
            save_state(tmp_path / "state", whole.state_dict())
            kept = list(log)
    again = new_run(**options)
    again.load_state_dict(load_state(tmp_path / "state"))
    assert [again.owes({"kind": one.kind, "step": one.step}) for one in log] == [one not in kept for one in log]
    rest = list(again)
    assert [*kept, *rest] == log
    assert same(whole.state_dict()["model"], again.state_dict()["model"])


def test_affinities_see_all_validation_rows_in_turn(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 2, "batch_size": 16, "probe": 1, "probe_affinity": True})
    seen: list[torch.Tensor] = []
    rows = run._fresh_rows

    def watched() -> Batch:
        batch = rows()
        seen.append(batch.labels["spend"])
        return batch

    run._fresh_rows = watched  # type: ignore[method-assign]
    found = probes(list(run))
    batches = run._validation.batches_per_epoch(16)
    assert len(found) == len(seen) > batches
    whole = torch.cat([batch.labels["spend"] for batch in run._validation.ordered(16)])
    torch.testing.assert_close(torch.cat(seen[:batches]).sort().values, whole.sort().values, rtol=0, atol=0)
    assert found[0].affinity != found[batches].affinity


def test_tasks_without_rows_have_no_entries(new_run: Callable[..., Training], table: pa.Table) -> None:
    """No label of the validation rows that are probed is known for one task."""
    run = new_run(train={"epochs": 1, "probe": 8})
    batch = next(run._validation.ordered(64))
    batch.observed["spend"][:] = False
    (found,) = probes(list(run))
    assert [[math.isnan(value) for value in row] for row in found.gramian] == [[False, True], [True, True]]


def test_nothing_shared_is_trained(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 1, "probe": 8})
    for parameter in (*run.model.encoder.parameters(), *run.model.sharing.parameters()):
        parameter.requires_grad_(False)
    from polytask.training.probe import probe

    found = probe(run.model, next(run._validation.ordered(64)), step=1)
    assert all(math.isnan(value) for row in found.gramian for value in row)
    assert found.gates


def test_compiled_models_are_probed(new_run: Callable[..., Training]) -> None:
    eager = list(new_run(train={"epochs": 1, "probe": 1}))
    run = new_run(train={"epochs": 1, "probe": 1})
    calls: list[bool] = []

    def compiled(*inputs: Any) -> Any:  # as `compile` would leave it; its cut would be closed
        calls.append(torch.is_grad_enabled())
        return run.model.sharing._call_impl(*inputs)

    run.model.sharing._compiled_call_impl = compiled
    assert list(run) == eager
    assert len(calls) == 8 + 1 and run.model.sharing._compiled_call_impl is compiled  # steps and the evaluation


def test_a_run_folder_has_them_and_baselines_do_not(
    new_config: Callable[..., Config], table: pa.Table, tmp_path: Path
) -> None:
    config = new_config(TASKS, train={"epochs": 2, "baselines": True, "diagnostics": False})
    train_run(config, tmp_path / "run", data=table)
    found = [record for record in read_records(tmp_path / "run" / "records.jsonl") if record["kind"] == "probe"]
    assert [record["step"] for record in found] == [10]
    assert found[0].keys() == {"kind", "step", "gramian", "gates", "affinity"} and found[0]["affinity"] is None
    assert found[0]["gates"]["level1"]["rows"] == list(TASKS)
    alone = (tmp_path / "run" / "baselines" / "click" / "records.jsonl").read_text(encoding="utf-8")
    assert {json.loads(line)["kind"] for line in alone.splitlines()} == {"step", "evaluation"}
