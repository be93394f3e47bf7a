"""diagnostics.json at the end of a run, end to end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from polytask.config import Config
from polytask.errors import UserError
from polytask.evaluation import diagnostics
from polytask.training import inside
from polytask.training.run import RunResult, train_run

TASKS = ("click", "topic", "stars", "spend", "visits")
QUICK = {"epochs": 1, "device": "cpu"}


@pytest.fixture
def run(
    new_config: Callable[..., Config], new_table: Callable[..., pa.Table], tmp_path: Path
) -> Callable[..., RunResult]:
    def train(
        tasks: Any = TASKS, folder: str = "run", resume: bool = False, check: bool = True, **sections: Any
    ) -> RunResult:
        sections["train"] = {**QUICK, **sections.get("train", {})}
        config, data = new_config(tasks, **sections), new_table(1_200)
        return train_run(config, tmp_path / folder, data=data, resume=resume, check=check)

    return train


def test_everything_is_there_for_tasks_of_all_kinds(run: Callable[..., RunResult]) -> None:
    result = run(train={"segment": "item"})
    found = json.loads((result.path / "diagnostics.json").read_text(encoding="utf-8"))
    assert found == result.diagnostics
    assert found["format"] == 1 and found["part"] == "test"
    assert found["rows"] == found["data"]["parts"]["test"] == result.scores["test"]["visits"]["rows"]
    assert list(found["tasks"]) == list(TASKS)
    kinds = {name: task["kind"] for name, task in found["tasks"].items()}
    assert kinds == dict(zip(TASKS, ("binary", "multiclass", "ordinal", "regression", "count"), strict=True))
    assert [name for name in TASKS if found["tasks"][name]["calibration"]] == ["click", "spend", "visits"]
    assert [name for name in TASKS if found["tasks"][name]["gain"]] == ["click", "visits"]  # money may be negative
    for task in found["tasks"].values():
        assert task["importance"].keys() == {"user", "item", "age", "history"}
        assert all(math.isfinite(one["rise"]) and one["spread"] >= 0 for one in task["importance"].values())
    (level,) = found["gates"]
    assert level["level"] == "level1" and level["rows"] == list(TASKS) and len(level["mean"]) == 5
    assert len(found["units"][0]["dead"]) == 2
    segments = found["segments"]
    assert segments["column"] == "item" and sum(segments["rows"]) == found["rows"]
    assert len(segments["gates"]["level1"]) == len(segments["values"]) == 4
    data = found["data"]
    assert data["labels"]["topic"]["classes"].keys() == {"art", "music", "sport"}
    assert data["overlap"][0][0] == pytest.approx(data["labels"]["click"]["observed"]["train"] / data["parts"]["train"])
    assert {"where", "what", "remedy", "severity"} == set().union(*(finding.keys() for finding in data["findings"]))


def test_it_is_the_same_every_time(run: Callable[..., RunResult]) -> None:
    assert run(("click", "spend")).diagnostics == run(("click", "spend"), "again").diagnostics


@pytest.mark.parametrize(
    "sharing",
    [{"use": "shared_bottom"}, {"use": "cross_stitch"}, {"use": "ple", "levels": 2}],
    ids=lambda one: one["use"],
)
def test_architectures_with_and_without_gates(run: Callable[..., RunResult], sharing: Any) -> None:
    found = run(("click", "spend"), sharing=sharing, train={"segment": "item"}).diagnostics
    assert found is not None and [one["level"] for one in found["gates"]] == list(found["segments"]["gates"])
    assert bool(found["gates"]) == (sharing["use"] == "ple")


def test_chains_show_the_joint_probability(run: Callable[..., RunResult]) -> None:
    tasks = {
        "click": {"kind": "binary", "label": "click"},
        "buy": {"kind": "binary", "label": "stars >= 3", "after": "click"},
    }
    result = run(tasks, chain={"use": "esmm"}, check=False)
    assert result.diagnostics is not None
    assert list(result.diagnostics["tasks"]) == list(result.scores["test"])
    assert len(result.diagnostics["tasks"]) == 3 and len(result.diagnostics["data"]["labels"]) == 2


def test_several_seeds_and_baselines_have_one(run: Callable[..., RunResult]) -> None:
    result = run(("click", "spend"), train={"seeds": 2, "baselines": True})
    files = sorted(str(file.relative_to(result.path)) for file in result.path.rglob("diagnostics.json"))
    assert files == ["seeds/0/diagnostics.json"]
    assert result.diagnostics is not None


def test_it_may_be_left_out(run: Callable[..., RunResult]) -> None:
    result = run(("click",), train={"diagnostics": False})
    assert result.diagnostics is None and not (result.path / "diagnostics.json").exists()


def test_what_goes_wrong_does_not_cost_the_run(
    run: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise MemoryError("too much")

    told: list[str] = []
    monkeypatch.setattr(inside, "diagnose", broken)
    monkeypatch.setattr("polytask.training.run.TerminalWatcher.tell", lambda self, problem: told.append(str(problem)))
    result = run(("click",))
    assert result.scores["test"]["click"]["rows"] > 0 and result.diagnostics is None
    (said,) = [line for line in told if line.startswith("diagnostics.json")]
    assert said == "diagnostics.json: could not be made (MemoryError: too much); the run is complete without it"


def test_an_interrupted_run_makes_up_for_it(run: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    train = {"seeds": 2}
    with monkeypatch.context() as patch:
        patch.setattr(inside, "diagnose", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(("click",), train=train)
    result = run(("click",), train=train, resume=True)
    assert result.diagnostics is not None


def test_of_many_rows_some_are_read(run: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "MOST_ROWS", 60)
    monkeypatch.setattr(diagnostics, "MOST_CELLS", 0)
    monkeypatch.setattr(diagnostics, "FEWEST_ROWS", 1)
    found = run(("click",)).diagnostics
    assert found is not None and found["rows"] < found["data"]["parts"]["test"]


SEGMENTS = {
    "itme": r"train.segment: there is no column 'itme'; did you mean 'item'",
    "age": "column 'age' holds decimals",
    "history": "column 'history' holds lists",
}


@pytest.mark.parametrize("column", SEGMENTS)
def test_a_column_that_divides_no_rows_is_refused_before_training(
    run: Callable[..., RunResult], tmp_path: Path, column: str
) -> None:
    with pytest.raises(UserError, match=SEGMENTS[column]):
        run(("click",), train={"segment": column})
    assert not (tmp_path / "run").exists()
