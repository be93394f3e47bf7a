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
[pareto]
points = 2
method = { use = "pamal", window = 2 }
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
        main(["pareto", *words])
    return int(exit_.value.code or 0)


def test_a_front_a_second_visit_and_other_choices(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.toml", "--out", "front", "--choose", "0.5,0.5") == 0
    text = capsys.readouterr().out
    assert "1 trainings: pamal" not in text
    assert "1 training: pamal: 1 model for 2 preferences; 1 seed" in text
    assert "Chosen by the preference 0.5 : 0.5: pamal with the preference click 0.5, spend 0.5." in text
    assert "bundle to use: front/bundle" in text
    assert run("log.toml", "--out", "front", "--method", "pamal,linear", "--resume") == 0
    assert "3 trainings: pamal: 1 model for 2 preferences; linear: a model for each of 2" in capsys.readouterr().out
    # a preference that was never scored, from the rows of the file
    assert run("front", "--choose", "pamal:click=0.3,spend=0.7") == 0
    assert "pamal with the preference click 0.3, spend 0.7" in capsys.readouterr().out
    said = json.loads(Path("front/pareto.json").read_text())
    assert said["chosen"]["preference"] == [0.3, 0.7] and len(said["points"]) == 5
    assert run("front", "--floor", "click=0.1", "--floor", "spend=-9") == 0
    assert "Chosen by most for the others, no worse than click 0.1, spend -9:" in capsys.readouterr().out
    assert len(json.loads(Path("front/pareto.json").read_text())["points"]) == 4
    with pytest.raises(SystemExit):
        main(["predict", "front", "log.parquet", "--out", "p.parquet"])
    assert pq.read_schema("p.parquet").names == ["click", "spend"]


def test_mistakes_end_with_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.toml") == 2
    assert "--out: missing" in capsys.readouterr().err
    assert run("log.toml", "--out", "front", "--method", "pamel,linear", "--floor", "click") == 2
    assert "--floor click: not of the form TASK=VALUE" in capsys.readouterr().err
    assert run("log.toml", "--method", "pamel", "--set", "train.stepps=3", "--set", "data.source=no.parquet") == 2
    text = capsys.readouterr().err
    assert all(word in text for word in ("--out", "'pamel'", "did you mean 'pamal'", "train.stepps", "no.parquet"))
    assert run(".", "--choose", "knee") == 2
    assert "holds no pareto.json" in capsys.readouterr().err
    assert run("nothing.toml", "--out", "front") == 2
    assert "nothing.toml: no such file" in capsys.readouterr().err
    Path("front").mkdir()
    assert run("front", "--method", "linear", "--points", "3") == 2
    assert "--method, --points given beside a finished front" in capsys.readouterr().err
    assert not list(Path("front").iterdir())
