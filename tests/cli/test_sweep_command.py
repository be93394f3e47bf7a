from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.cli import main

CONFIG = """
[data]
source = "log.parquet"
drop = ["row", "topic", "stars", "visits", "weight", "history", "user"]
[tasks.click]
kind = "binary"
label = "click"
[tasks.spend]
kind = "regression"
label = "spend"
[train]
steps = 4
batch_size = 64
device = "cpu"
seeds = 2
[sharing]
widths = [8]
[compare]
seeds = 1
[sweep]
trials = 2
[sweep.space]
"train.learning_rate" = { low = 1e-3, high = 1e-1, log = true }
"sharing.experts" = [2, 4]
"""


@pytest.fixture
def project(tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("optuna", reason="Optuna is in the extra 'tune'")
    pq.write_table(table, tmp_path / "log.parquet")
    (tmp_path / "log.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(words))
    return int(exit_.value.code or 0)


def test_a_sweep_a_second_visit_and_its_best(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "log.toml", "--sharing", "mmoe, shared_bottom", "--out", "sweep") == 0
    text = capsys.readouterr().out
    assert "4 trials: 2 methods, 2 each" in text and "4 of 4  shared_bottom + equal, trial 1: mean" in text
    assert "2 of 2  shared_bottom + equal, seed 0" in text and "best configuration: sweep/best.toml" in text
    assert (
        run("sweep", "log.toml", "--sharing", "mmoe,shared_bottom", "--trials", "3", "--out", "sweep", "--resume") == 0
    )
    assert "4 of 6 trials are there already" in capsys.readouterr().out
    found = json.loads(Path("sweep/sweep.json").read_text())
    assert len(found["trials"]) == 6 and found["sweep"]["trials"] == 3
    assert run("train", "sweep/best.toml", "--out", "run", "--set", "train.device=cpu") == 0
    assert (project / "run" / "seeds" / "1" / "bundle").exists()  # with the seeds that the file asks for


def test_tasks_as_objectives(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "log.toml", "--objective", "tasks", "--final-seeds", "0", "--out", "sweep") == 0
    assert "trial 1: click.auc 0." in capsys.readouterr().out
    assert len(list(Path("sweep/front").glob("*.toml"))) >= 1


def test_mistakes_end_with_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ("--set", "train.epochs=0", "--set", "tasks.click.label=clik", "--pruning", "medium")
    assert run("sweep", "log.toml", *wrong, "--out", "sweep") == 2
    text = capsys.readouterr().err
    assert all(where in text for where in ("train.epochs", "'clik'", "sweep.pruning"))
    assert run("sweep", "log.toml", "--objective", "click,clack", "--balancers", "mgd", "--out", "sweep") == 2
    text = capsys.readouterr().err
    assert "no task is named 'clack'" in text and "sweep.balancers 'mgd'.use" in text
    assert not Path("sweep").exists()


def test_other_verbs_read_past_the_table(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "log.toml") == 0
    assert run("compare", "log.toml", "--no-lightgbm", "--out", "cmp") == 0
