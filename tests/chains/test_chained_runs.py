"""Whole runs of chained tasks: from the TOML file to scores, predictions and the bundle."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from torch import nn

import polytask
from polytask.balancing import equal
from polytask.config import load_config
from polytask.data.named.dataset import PreparedDataset
from polytask.data.simulators import ShortVideo
from polytask.errors import UserError
from polytask.model import Model
from polytask.serving.bundle import fitted_model
from polytask.training.run import RunResult, train_run
from polytask.training.step import targets, task_losses, train_step
from polytask.types import Batch, Features

METHODS = {
    "plain": "",
    "esmm": "",
    "escm2": "",
    "escm2 dr": 'estimator = "dr"\nwidths = [8]',
    "aitm": "alpha = 0.3",
    "dbmtl": "",
}
TOML = """
[data]
source = "{source}"
validation = "{validation}"
test = "{test}"
keys = ["impression_id"]
drop = ["like", "long_view", "follow", "recent_videos"]
[tasks.share]
kind = "binary"
label = "share"
after = "click"
group = "user_id"
[tasks.play_time]
kind = "regression"
label = "play_time_s"
[tasks.click]
kind = "binary"
label = "click"
[chain]
use = "{use}"
{options}
[encoder]
embedding = 4
[sharing]
experts = 2
widths = [8]
[towers]
widths = [8]
[train]
epochs = 2
batch_size = 256
learning_rate = 0.01
patience = 0
device = "cpu"
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return ShortVideo(6_000, users=50, videos=60, share_rate=0.3, signal=2.0).prepare(tmp_path_factory.mktemp("log"))


@pytest.fixture
def run_of(tmp_path: Path, log: PreparedDataset) -> Callable[..., RunResult]:
    def build(name: str, *overrides: str, console: Console | None = None) -> RunResult:
        file = tmp_path / "chain.toml"
        parts = {"source": log.train, "validation": log.validation, "test": log.test}
        file.write_text(TOML.format(**parts, use=name.split()[0], options=METHODS[name]))
        return train_run(load_config(file, overrides), tmp_path / "run", console=console)

    return build


def test_a_console_shows_joint_probabilities(run_of: Callable[..., RunResult]) -> None:
    console = Console(file=io.StringIO(), width=200)
    run_of("esmm", "train.epochs=1", console=console)
    (line,) = (line for line in console.file.getvalue().splitlines() if "score" in line)  # type: ignore[attr-defined]
    assert "  share auc " in line and "  share_joint auc " in line


@pytest.mark.parametrize("name", METHODS)
def test_a_chain_from_the_file_to_predictions(
    name: str, run_of: Callable[..., RunResult], log: PreparedDataset, tmp_path: Path
) -> None:
    run = run_of(name)
    scores = run.scores["test"]
    assert list(scores) == ["share", "play_time", "click", "share_joint"]
    rows = pq.read_table(log.test)
    assert scores["click"]["rows"] == len(rows) == scores["share_joint"]["rows"]
    assert scores["share"]["rows"] == rows["click"].to_numpy().sum()
    assert scores["click"]["auc"] > 0.6 and scores["share_joint"]["auc"] > 0.55 and "gauc" in scores["share_joint"]
    assert scores["share_joint"]["pcoc"] == pytest.approx(1.0, abs=0.35)
    predicted = run.predict(str(log.test))
    assert predicted.column_names == ["impression_id", "share", "play_time", "click", "share_joint"]
    click, share, joint = (predicted[column].to_numpy() for column in ("click", "share", "share_joint"))
    assert (joint <= click + 1e-6).all() or name == "aitm"
    np.testing.assert_allclose(np.minimum(joint, click), click * share, rtol=1e-5)
    saved = polytask.load(run.save(tmp_path / "copy"))
    assert saved.predict(str(log.test)).equals(predicted)
    assert polytask.evaluate(saved, str(log.test))["share_joint"] == pytest.approx(scores["share_joint"])
    assert "| share | binary | `share` | after click |" in (tmp_path / "copy" / "MODEL_CARD.md").read_text()


def test_a_baseline_keeps_the_sample_space(run_of: Callable[..., RunResult], log: PreparedDataset) -> None:
    run = run_of("esmm", "train.baselines=true", "train.epochs=1")
    alone = polytask.load(run.path / "baselines" / "share")
    assert alone.config.tasks["share"].where == "`click` == 1" and alone.config.chain is None
    assert run.baselines["share"][0]["test"]["share"]["rows"] == run.scores["test"]["share"]["rows"]
    assert polytask.evaluate(alone, str(log.test)).keys() == {"share"}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("at", ["representation", "last_layer", "parameters"])
def test_every_method_goes_with_balancers_of_gradients(name: str, at: str, run_of: Callable[..., RunResult]) -> None:
    run = run_of(name, "balancer.use=upgrad", f"balancer.at={at}", "train.epochs=1", "train.micro_batches=2")
    assert "share_joint" in run.scores["test"]


def test_half_precision_trains(run_of: Callable[..., RunResult]) -> None:
    for name in ("aitm", "escm2 dr"):
        run = run_of(name, "train.precision=bf16", "train.epochs=1")
        assert run.scores["test"]["click"]["auc"] > 0.5
        shutil.rmtree(run.path)


def test_options_that_shift_probabilities_are_refused_with_joint_losses(run_of: Callable[..., RunResult]) -> None:
    overrides = ("tasks.click.keep_negatives=0.5", "tasks.share.gamma=2.0")
    with pytest.raises(UserError) as error:
        run_of("esmm", *overrides)
    assert "tasks.click.keep_negatives: is set, but ESMM multiplies probabilities" in str(error.value)
    assert "tasks.share.gamma" in str(error.value)
    assert run_of("dbmtl", *overrides, "train.epochs=1").scores["test"]["share_joint"]["pcoc"] > 0.5


CHAIN = {
    "stay": {"kind": "binary", "label": "spend > 0"},
    "click": {"kind": "binary", "label": "click"},
    "visit": {"kind": "binary", "label": "visits > 0", "after": "click", "weight": "weight"},
    "again": {"kind": "binary", "label": "visits > 1", "after": "visit"},
    "topic": {"kind": "multiclass", "label": "topic"},
}


@pytest.fixture
def chained(
    new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table
) -> Callable[..., tuple[Model, Batch]]:
    def build(use: str, **options: Any) -> tuple[Model, Batch]:
        config = new_config(CHAIN, chain={"use": use, **options}, features={"history": {"kind": "drop"}})
        prepared = prepared_run(config, table)
        torch.manual_seed(0)
        model = fitted_model(config, prepared.preprocessor)
        return model, next(prepared.reader("train").shuffled(64, seed=0))[1]

    return build


@pytest.mark.parametrize("use", ["plain", "esmm", "escm2", "aitm", "dbmtl"])
def test_an_untrained_model_predicts_the_training_rates(use: str, chained: Callable[..., tuple[Model, Batch]]) -> None:
    model, batch = chained(use)
    for layer in model.heads.layers:
        nn.init.zeros_(layer.weight)
    found = model.eval().predict(batch.features)
    assert list(found) == [*CHAIN, "visit_joint", "again_joint"]
    for task in (*model.tasks, *model.joints.values()):
        expected = task.constant_prediction.float()
        torch.testing.assert_close(found[task.name], expected.expand_as(found[task.name]), rtol=1e-4, atol=1e-5)


def test_joint_losses_are_weighted_means_over_all_known_rows(chained: Callable[..., tuple[Model, Batch]]) -> None:
    model, batch = chained("esmm")
    (losses,), present, _ = task_losses(model, [(batch, targets(model, batch))])
    assert present.all()
    found = model.predictions(model(batch.features))
    joint = model.with_joints(batch)
    known, label = joint.observed["visit_joint"], joint.labels["visit_joint"]
    assert known.sum() == batch.observed["click"].sum() > batch.observed["visit"].sum()
    rows = nn.functional.binary_cross_entropy(found["click"] * found["visit"], label, reduction="none")
    weights = batch.weights["visit"] * known
    torch.testing.assert_close(losses[2], (weights * rows).sum() / weights.sum())


@pytest.mark.parametrize("use", ["esmm", "escm2", "aitm", "dbmtl"])
def test_one_batch_equals_its_halves(use: str, chained: Callable[..., tuple[Model, Batch]]) -> None:
    model, batch = chained(use, **({"estimator": "dr"} if use == "escm2" else {}))
    whole, *_ = train_step(model, equal(), [batch], number=0, epoch=0, seed=0)
    gradients = {name: one.grad.to_dense() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    halves = [part_of(batch, slice(0, 20)), part_of(batch, slice(20, len(batch)))]
    split, *_ = train_step(model, equal(), halves, number=0, epoch=0, seed=0)
    torch.testing.assert_close(split, whole)
    for name, parameter in model.named_parameters():
        if name in gradients and parameter.grad is not None:
            torch.testing.assert_close(parameter.grad.to_dense(), gradients[name], msg=name)


def part_of(batch: Batch, rows: slice) -> Batch:
    sequences = {name: ragged.slice(rows.start, rows.stop) for name, ragged in batch.features.sequences.items()}
    features = Features(batch.features.ids[rows], batch.features.numeric[rows], sequences)
    groups = (batch.labels, batch.observed, batch.weights, batch.groups)
    return Batch(features, *({name: one[rows] for name, one in group.items()} for group in groups))


@pytest.mark.parametrize("use", ["esmm", "escm2", "aitm", "dbmtl"])
def test_without_its_parent_a_task_is_absent(use: str, chained: Callable[..., tuple[Model, Batch]]) -> None:
    model, batch = chained(use)
    observed = {**batch.observed, "click": torch.zeros(len(batch), dtype=torch.bool)}
    if use == "dbmtl":  # conditional labels are what the reader made of the parent's
        observed |= dict.fromkeys(("visit", "again"), observed["click"])
    losses, _, step = train_step(model, equal(), [replace(batch, observed=observed)], number=0, epoch=0, seed=0)
    assert step.present.tolist() == [True, False, False, False, True]
    assert losses[1:4].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("use", ["esmm", "escm2", "aitm", "dbmtl"])
def test_what_is_served_can_be_exported(use: str, chained: Callable[..., tuple[Model, Batch]]) -> None:
    model, batch = chained(use)
    assert not batch.features.sequences

    class Served(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.eval().requires_grad_(False)

        def forward(self, ids: torch.Tensor, numeric: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.model.predictions(self.model(Features(ids, numeric))).values())

    rows = torch.export.Dim("rows")
    features = batch.features
    with torch.no_grad():
        program = torch.export.export(
            Served(), (features.ids, features.numeric), dynamic_shapes=({0: rows}, {0: rows})
        ).module()
    for size in (1, 9):
        expected = model.predict(part_of(batch, slice(0, size)).features)
        found = program(features.ids[:size], features.numeric[:size])
        for one, other in zip(found, expected.values(), strict=True):
            torch.testing.assert_close(one, other)
