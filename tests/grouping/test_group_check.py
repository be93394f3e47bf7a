from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from polytask.cli.app import app
from polytask.comparing.analysis import Measure, analyse
from polytask.comparing.outcome import Outcome
from polytask.comparing.plan import TaskGroup
from polytask.config import dump_config
from polytask.errors import UserError
from polytask.grouping import Grouping, group
from polytask.grouping.check import check_plan
from polytask.grouping.methods import once

ALL = ("click", "spend", "visits")
WHOLE = [TaskGroup(ALL, ALL)]
SINGLES = [TaskGroup((task,), (task,)) for task in ALL]
HELPED = [TaskGroup(("click",), ("click",)), TaskGroup(ALL, ("spend", "visits"))]


@pytest.fixture
def written(tmp_path: Path, table: pa.Table, new_config: Callable[..., Any]) -> Path:
    """A configuration file beside its table."""
    pq.write_table(table, tmp_path / "log.parquet")
    train = {"steps": 6, "epochs": 1, "batch_size": 64, "patience": 0}
    config = new_config(ALL, data={"source": str(tmp_path / "log.parquet")}, train=train)
    (tmp_path / "log.toml").write_text(dump_config(config))
    return tmp_path / "log.toml"


def test_the_plan_names_nothing_twice(new_config: Callable[..., Any]) -> None:
    config = new_config(ALL)
    plan = check_plan(config, {"suggested": WHOLE, "best": SINGLES}, [0, 1])
    assert [method.name for method in plan.methods] == ["one network per task", "one model of all tasks"]
    plan = check_plan(config, {"suggested": HELPED, "best": HELPED}, [0, 1])
    assert [method.name for method in plan.candidates] == ["one model of all tasks", "suggested"]
    keys = [run.key for run in plan.runs() if run.seed == 0]
    assert len(keys) == 3 + 1 + 2
    # a group of one is the single-task network, one with all tasks the model of all: each is trained once
    assert {run.key for run in once(plan.runs()) if run.seed == 0} == {
        "runs/groups/click/0", "runs/groups/spend/0", "runs/groups/visits/0", "runs/groups/click+spend+visits/0",
    }  # fmt: skip


def test_scores_come_from_the_group_that_serves_a_task(new_config: Callable[..., Any]) -> None:
    plan = check_plan(new_config(ALL), {"suggested": HELPED}, [0])
    outcomes = {}
    for run in plan.runs():
        tasks = (run.task,) if run.group is None else run.group.tasks
        value = 0.5 + 0.1 * len(tasks)
        outcomes[run.key] = Outcome({"validation": {str(task): {"auc": value, "improvement": 0.1} for task in tasks}})
    found = analyse(plan, [Measure(task, "auc", True) for task in ALL], outcomes)
    (entry,) = [entry for entry in found.entries if entry.method.name == "suggested"]
    assert entry.scores[:, 0] == pytest.approx([0.6, 0.8, 0.8])
    assert found.best_run is None  # no bundle holds all tasks of a grouping


def test_long_names_of_groups_become_short_folders() -> None:
    many = TaskGroup(tuple(f"task_{number}" for number in range(60)), ())
    other = TaskGroup(many.tasks[1:], ())
    assert many.folder.startswith("60-") and len(many.folder) < 20 and many.folder != other.folder


def test_the_command_line(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = written.parent / "groups"
    result = CliRunner().invoke(app, ["group", str(written), "--out", str(out), "--check", "1", "--overlap"])
    assert result.exit_code == 0, result.output
    assert "Grouping" in result.output and f"to train: {out / 'group-1.toml'}" in result.output
    assert (out / "check" / "comparison.json").exists()
    run = out / "runs" / "lookahead" / "0"
    result = CliRunner().invoke(app, ["group", str(run), "--groups", "1"])
    assert result.exit_code == 0, result.output
    found = json.loads((run / "grouping" / "affinity.json").read_text())
    assert found["groups"] == [list(ALL)] and len(found["candidates"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"--out: missing"),
        (["--out", "x", "--method", "pair"], r"method: 'pair' is unknown; did you mean 'pairs'\?"),
        (["--out", "x", "--set", "tasks.click.kind=binry"], r"did you mean 'binary'"),
    ],
)
def test_bad_input_is_told(written: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(app, ["group", str(written), *arguments], catch_exceptions=False)


def test_seeds_of_a_run_are_samples(written: Path) -> None:
    from polytask.config import load_config
    from polytask.training.run import train_run

    probed = ["train.seeds=2", "train.probe=2", "train.probe_affinity=true"]
    train_run(load_config(written, probed), written.parent / "run", check=False)
    found: Grouping = group(written.parent / "run", verbose=False)
    assert found.affinity.of == "2 seeds" and found.affinity.samples.shape == (2, 3, 3)
    assert found.affinity.mean == pytest.approx(found.affinity.samples.mean(0))
    assert np.isfinite(found.affinity.spread).all()


@pytest.mark.slow
def test_processes_give_the_same(written: Path) -> None:
    here = group(written, method="pairs", seeds=1, out=written.parent / "one", verbose=False)
    there = group(written, method="pairs", seeds=1, out=written.parent / "two", workers=2, verbose=False)
    assert there.affinity.mean == pytest.approx(here.affinity.mean, nan_ok=True)
