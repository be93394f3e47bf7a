"""Whole runs: all kinds of tasks at once, options of tasks, and what must come out of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polytask
from polytask.config import Config
from polytask.errors import UserError
from polytask.training.run import RunResult, train_run

NO_COLUMNS: dict[str, Any] = {"features": {}, "data": {"source": "memory", "drop": [], "keys": ["row"]}}
LEARN = {"epochs": 12, "batch_size": 128, "learning_rate": 0.01}


@pytest.fixture
def run_of(
    tmp_path: Path, new_config: Callable[..., Config], new_table: Callable[..., pa.Table]
) -> Callable[..., RunResult]:
    def build(*args: Any, rows: pa.Table | None = None, **sections: Any) -> RunResult:
        sections["train"] = {**LEARN, **sections.get("train", {})}
        config = new_config(*args, **sections)
        return train_run(config, tmp_path / "run", data=new_table(3000) if rows is None else rows, check=False)

    return build


@pytest.mark.parametrize("sharing", ["mmoe", "ple", "cgc", "omoe", "shared_bottom", "single_task"])
def test_five_kinds_of_tasks_learn_together(sharing: str, run_of: Callable[..., RunResult]) -> None:
    run = run_of(sharing={"use": sharing, "widths": [16]})
    found = run.scores["test"]
    assert found["click"]["auc"] > 0.72
    assert found["topic"]["accuracy"] > 0.55
    assert found["spend"]["r2"] > 0.5
    for task in found:
        assert found[task]["improvement"] > 0.05, task
    # the sample space of the stars, and missing labels
    assert found["stars"]["rows"] < found["click"]["rows"] < found["topic"]["rows"]


@pytest.mark.parametrize("balancer", ["equal", "uncertainty", "mgda"])
def test_every_kind_of_balancer_learns(balancer: str, run_of: Callable[..., RunResult]) -> None:
    run = run_of(("click", "spend"), balancer={"use": balancer})
    assert all(scores["improvement"] > 0.05 for scores in run.scores["test"].values())


def test_left_out_negatives_leave_the_predictions_calibrated(run_of: Callable[..., RunResult]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    rare = (rng.random(20_000) < 1 / (1 + np.exp(3.5 - x))).astype(np.int64)
    data = pa.table({"x": x, "rare": rare, "row": np.arange(20_000)})
    task = {"kind": "binary", "label": "rare"}
    tasks = {"sampled": {**task, "keep_negatives": 0.1}, "plain": task}
    run = run_of(tasks, rows=data, train={"epochs": 3}, **NO_COLUMNS)
    found = polytask.evaluate(run.bundle, data)  # all rows: the test part has few positives
    assert found["sampled"]["pcoc"] == pytest.approx(1.0, abs=0.12)
    assert found["plain"]["pcoc"] == pytest.approx(1.0, abs=0.12)
    predicted = run.predict(data)
    assert predicted["sampled"].to_numpy().mean() == pytest.approx(rare.mean(), rel=0.12)
    # the correction is what makes the difference
    without = 1 / (1 + 0.1 * (1 / predicted["sampled"].to_numpy() - 1))
    assert without.mean() > 4 * rare.mean()


def test_several_micro_options_at_once(run_of: Callable[..., RunResult]) -> None:
    tasks = {
        "click": {"kind": "binary", "label": "click", "positive_weight": "balanced", "label_smoothing": 0.05},
        "spend": {"kind": "regression", "label": "spend", "loss": "huber", "where": "click == 1"},
        "high": {"kind": "binary", "label": "spend > 1", "gamma": 2.0},
    }
    run = run_of(tasks, train={"clip_norm": 1.0, "precision": "bf16", "weight_decay": 0.01})
    assert run.scores["test"]["high"]["auc"] > 0.8


def test_a_loss_of_the_users_own(
    run_of: Callable[..., RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table
) -> None:
    (tmp_path / "some_own_losses.py").write_text(
        "import torch\n\n\ndef fourth(logits, labels):\n    return (logits[..., 0] - labels) ** 4\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tasks = {"spend": {"kind": "regression", "label": "spend", "loss": "some_own_losses:fourth"}}
    with pytest.raises(UserError, match=r"tasks.spend.loss: 'some_own_losses:fourth' is code outside polytask"):
        run_of(tasks)
    run = run_of(tasks, allow_code=("some_own_losses",), train={"epochs": 2})
    assert len(run.predict(table)) == 600
    with pytest.raises(UserError, match="--allow-code some_own_losses"):
        polytask.load(run.bundle_path)


def test_a_broken_own_loss_is_told_before_training(
    run_of: Callable[..., RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_bad_losses.py").write_text(
        "def mean(logits, labels):\n    return (logits[..., 0] - labels).mean()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tasks = {"spend": {"kind": "regression", "label": "spend", "loss": "some_bad_losses:mean"}}
    with pytest.raises(UserError, match="return one loss per row"):
        run_of(tasks, allow_code=("some_bad_losses",))
    assert not (tmp_path / "run").exists()


def test_a_part_of_the_users_own(
    run_of: Callable[..., RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table
) -> None:
    (tmp_path / "an_own_sharing.py").write_text(
        "from polytask.sharing import mmoe\n\n\n"
        "def wide(tasks: int, in_features: int, *, times: int = 2):\n"
        "    return mmoe(tasks, in_features, experts=times, widths=(8,))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sharing = {"use": "an_own_sharing:wide", "times": 3}
    run = run_of(("click", "spend"), sharing=sharing, allow_code=("an_own_sharing",), train={"epochs": 1})
    assert run.bundle.model.sharing.levels[0].experts.experts == 3
    assert len(run.predict(table)) == 600


def test_a_baseline_has_the_same_rows_schedule_and_an_encoder_of_its_own(run_of: Callable[..., RunResult]) -> None:
    run = run_of(("click", "stars"), train={"epochs": 2, "baselines": True, "seeds": 2})
    alone = polytask.load(run.path / "baselines" / "stars" / "seeds" / "1")
    assert list(alone.config.tasks) == ["stars"] and alone.config.balancer.use == "equal"
    assert alone.config.train.seed == 1
    assert alone.preprocessor.columns == run.bundle.preprocessor.columns
    assert run.baselines["stars"][0]["test"].keys() == {"stars"}
    assert run.baselines["stars"][0]["test"]["stars"]["rows"] == run.seeds[0]["test"]["stars"]["rows"]


def test_a_simulated_log_from_files_to_predictions(tmp_path: Path) -> None:
    """Groups, sample spaces, a time split and sequences, read from Parquet."""
    from polytask.config import parse_config
    from polytask.data.simulators import ShortVideo

    prepared = ShortVideo(6_000, users=200, videos=300).prepare(tmp_path / "data")
    tasks = {
        spec.task: {
            "kind": spec.kind,
            "label": spec.label,
            "group": spec.group,
            **({"where": spec.where} if spec.where else {}),
        }
        for spec in prepared.tasks
        if spec.task in ("click", "like", "play_time")
    }
    files = {"source": str(prepared.train), "validation": str(prepared.validation), "test": str(prepared.test)}
    data = {**files, "drop": list(prepared.dropped), "keys": ["impression_id"]}
    data["drop"] = [
        name for name in prepared.dropped if name not in {*(task["label"] for task in tasks.values()), "impression_id"}
    ]
    train = {"epochs": 3, "batch_size": 256, "shuffle_buffer": 1000, "device": "cpu", "learning_rate": 0.01}
    config = parse_config({"data": data, "tasks": tasks, "train": train})
    run = train_run(config, tmp_path / "run", check=False)
    assert run.scores["test"]["click"]["gauc"] > 0.5
    assert run.scores["test"]["play_time"]["rows"] < run.scores["test"]["click"]["rows"]
    predicted = run.predict(str(prepared.test))
    assert predicted.column_names == ["impression_id", "click", "like", "play_time"]
    assert len(predicted) == pq.read_metadata(prepared.test).num_rows
