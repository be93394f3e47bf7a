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
[compare]
seeds = 1
lightgbm = false
"""


@pytest.fixture
def project(tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> Path:
    pq.write_table(table, tmp_path / "log.parquet")
    (tmp_path / "log.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["compare", "log.toml", *words])
    return int(exit_.value.code or 0)


def test_lists_and_a_second_visit(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--sharing", "shared_bottom, mmoe", "--out", "cmp") == 0
    text = capsys.readouterr().out
    assert "4 runs: 2 shared models and 2 single-task networks, 1 seed each" in text
    assert "4 of 4  mmoe + equal, seed 0" in text
    assert "Verdict\nOne seed says nothing about noise" in text
    assert "bundle to use: cmp/runs/" in text
    assert run("--sharing", "mmoe", "--seeds", "2", "--out", "cmp", "--resume") == 0
    assert "3 of 6 runs are there already" in capsys.readouterr().out
    assert json.loads(Path("cmp/comparison.json").read_text())["seeds"] == [0, 1]


def test_mistakes_end_with_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--sharing", "mmoe,plee", "--balancers", "mgdaa", "--out", "cmp") == 2
    text = capsys.readouterr().err
    assert "compare.sharing 'plee'.use: nothing is named 'plee'" in text and "did you mean 'mgda'" in text
    assert run("--sharing", "plee", "--out", "cmp", "--set", "train.epochs=0", "--set", "tasks.click.label=clik") == 2
    text = capsys.readouterr().err
    assert all(where in text for where in ("compare.sharing 'plee'.use", "train.epochs", "'clik'"))
    assert "compare: unknown key" not in text and text.count("train.epochs") == 1
    assert run("--only-changed", "axis", "--out", "cmp") == 2
    assert "compare.only_changed: unknown value 'axis'" in capsys.readouterr().err
    assert not Path("cmp").exists()
