"""The examples run, or are checked as far as their data are at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from blocks import ROOT

from polytask.config import load_config
from polytask.tables import open_tables

TOML = sorted((ROOT / "examples").glob("*.toml"))
HERE = pytest.mark.skipif("POLYTASK_DATA" not in os.environ, reason="the data sets are not here (POLYTASK_DATA)")


def run(file: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(file), *arguments])
    runpy.run_path(str(file), run_name="__main__")


@pytest.mark.parametrize("file", TOML, ids=lambda file: file.name)
def test_configurations_are_valid(file: Path) -> None:
    assert load_config(file).tasks


@pytest.mark.parametrize("name", [pytest.param(name, marks=HERE) for name in ("census.toml", "kuairand.toml")])
def test_configurations_fit_their_data(name: str, example: Callable[[str], Path]) -> None:
    tables = open_tables(load_config(example(name)))
    assert list(tables.parts) == ["train", "validation", "test"]
    named = set(load_config(example(name)).features) - {"defaults"}
    assert not [problem for problem in tables.problems if problem.severity == "error"]
    assert named <= set(tables.roles)


def test_the_table_of_your_own_opens_over_a_table_with_its_columns(example: Callable[[str], Path]) -> None:
    rows = 400
    columns = {
        "visit_id": pa.array(range(rows)), "user_id": pa.array([7, 8, 9, 10] * 100), "refund": pa.array([0, 1] * 200),
        "price": pa.array([1.5, 2.5, 3.5, 4.5] * 100), "tags": pa.array(["a|b", "c"] * 200),
        "bought": pa.array([0, 1] * 200), "reason": pa.array(["price", "size"] * 200),
        "stars": pa.array([1, 2, 3, 4, 5] * 80), "items": pa.array([1, 2] * 200),
        "discount": pa.array([0.0, 0.5] * 200), "visits_next_week": pa.array([0, 3] * 200),
        "survey_weight": pa.array([1.0, 2.0] * 200),
    }  # fmt: skip
    tables = open_tables(load_config(example("table.toml")), pa.table(columns))
    assert tables.roles["tags"].kind == "sequence"
    assert {name for name, role in tables.roles.items() if role.kind != "drop"} == {"user_id", "tags"}


def test_first_run_prints_scores_and_predictions(
    example: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(example("first_run.py"), ["--rows", "1500", "--epochs", "1"], monkeypatch)
    shown = capsys.readouterr().out
    assert "one network per task" in shown
    assert "\nspends {'rmse'" in shown
    assert shown.rstrip().splitlines()[-1].count("'buys'") == 2


def test_a_run_is_drawn(
    example: Callable[[str], Path],
    toured: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = tmp_path / "run.png"
    run(example("plot_run.py"), [str(toured() / "runs/first"), "-o", str(picture)], monkeypatch)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_several_seeds_are_drawn(
    example: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, improvement in (("0", 0.2), ("10", 0.3)):
        for folder, value in ((tmp_path, improvement), (tmp_path / "baselines/click", 0.1)):
            target = folder / "seeds" / seed
            target.mkdir(parents=True)
            scores = {"click": {"improvement": value}}
            (target / "scores.json").write_text(json.dumps({"scores": {"validation": scores}}))
            line = json.dumps({"kind": "evaluation", "step": 5, "scores": scores})
            (target / "records.jsonl").write_text('{"kind": "step", "step": 5}\n' + line + "\n")
    picture = tmp_path / "run.png"
    run(example("plot_run.py"), [str(tmp_path), "-o", str(picture)], monkeypatch)
    assert picture.read_bytes().startswith(b"\x89PNG")
