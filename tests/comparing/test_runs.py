from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from polytask.balancing.interfaces import Scalarizer
from polytask.comparing import Comparison, compare
from polytask.comparing.lab import Lab
from polytask.comparing.outcome import Outcome
from polytask.comparing.plan import Run, make_plan
from polytask.comparing.progress import Display
from polytask.comparing.run import run_comparison
from polytask.comparing.table import parse_comparison
from polytask.comparing.work import do_runs
from polytask.errors import UserError
from polytask.files import write_json
from polytask.serving import load_bundle

QUICK = {"steps": 4, "batch_size": 64}
TASKS = ("click", "spend")


class Broken(Scalarizer):
    """Raises, diverges or ends its process in the second step."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    def forward(self, losses: Any, step: Any, /) -> Any:
        if step.number == 1 and self._how == "raises":
            raise KeyError("a mistake")
        if step.number == 1 and self._how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return losses.sum() * (math.nan if step.number == 1 else 1.0)


def broken(*, how: str) -> Scalarizer:
    return Broken(how)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, new_table: Callable[..., pa.Table], new_config: Any) -> Comparison:
    """Two architectures, two seeds, trees."""
    pytest.importorskip("lightgbm", reason="LightGBM is in the extra 'baselines'")
    options = parse_comparison({"sharing": ["shared_bottom", "mmoe"], "seeds": 2})
    out = tmp_path_factory.mktemp("compare") / "cmp"
    return run_comparison(new_config(TASKS, train=QUICK), options, out, data=new_table())


def test_the_folder_holds_everything(first: Comparison) -> None:
    found = json.loads((first.path / "comparison.json").read_text())
    assert {"verdict", "methods", "runs", "config", "environment", "compare", "seeds", "best"} <= found.keys()
    assert len(found["runs"]) == 2 * (2 + 2 + 2) and found["seeds"] == [0, 1]
    for run in found["runs"].values():
        assert run["seconds"] > 0 and run["parameters"] > 0 and run["rows_per_second"] > 0 and run["failure"] is None
        assert set(run["scores"]) == {"validation", "test"}
    page = (first.path / "leaderboard.md").read_text()
    assert all(sentence in page for sentence in first.sentences)
    assert all(f"\n## {title}\n" in page for title in ("Overall", "Seesaw", "click", "spend", "Costs"))
    assert (first.path / "comparison.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_there_is_no_figure_and_a_note(
    first: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    missing = replace(first, path=tmp_path).write({})
    assert missing is not None and "pip install 'polytask[plot]'" in missing
    assert sorted(file.name for file in tmp_path.iterdir()) == ["comparison.json", "leaderboard.md"]
    assert "comparison.png" not in (tmp_path / "leaderboard.md").read_text()


def test_python_gets_a_table_a_verdict_and_a_bundle(first: Comparison, table: pa.Table) -> None:
    rows = first.leaderboard.to_pylist()
    assert [row["kind"] for row in rows] == ["shared", "shared", "single", "lightgbm"]
    assert rows[0]["method"] == first.analysis.leader.method.name  # type: ignore[union-attr]
    assert all(0 < row["click.auc"] < 1 and row["runs"] == (2 if row["kind"] == "shared" else 4) for row in rows)
    assert first.verdict.count(".") >= 1
    assert first.best is not None
    assert load_bundle(first.best).predict(table.slice(0, 3)).column_names == ["row", "click", "spend"]


def test_the_best_run_has_diagnostics_and_no_run_was_probed(first: Comparison) -> None:
    assert first.best is not None
    assert list(first.path.rglob("diagnostics.json")) == [first.best.parent / "diagnostics.json"]
    records = [line for file in first.path.rglob("records.jsonl") for line in file.read_text().splitlines()]
    assert {json.loads(record)["kind"] for record in records} == {"step", "evaluation"}


def test_trees_learn_what_there_is(first: Comparison) -> None:
    trees = first.analysis.baseline("lightgbm")
    assert trees is not None and trees.scores[0].min() > 0.7 and trees.scores[1].min() > 0.4
    assert trees.scores[0, 0] != trees.scores[0, 1]  # seeds differ


def test_resume_trains_what_was_added_alone(
    first: Comparison, table: pa.Table, new_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    attempt = Lab.attempt

    def noted(self: Lab, run: Run, tell: Any) -> Outcome:
        done.append(run.key)
        return attempt(self, run, tell)

    monkeypatch.setattr(Lab, "attempt", noted)
    config = new_config(TASKS, train=QUICK)
    grown = parse_comparison({"sharing": ["shared_bottom", "mmoe"], "balancers": ["equal", "uncertainty"], "seeds": 2})
    with pytest.raises(UserError, match="holds a comparison already"):
        run_comparison(config, grown, first.path, data=table)
    found = run_comparison(config, grown, first.path, data=table, resume=True)
    assert len(done) == 4 and all("+uncertainty" in key for key in done)
    before = {one.method.name: one.scores.tolist() for one in first.analysis.entries}
    after = {one.method.name: one.scores.tolist() for one in found.analysis.entries}
    assert {name: after[name] for name in before} == before
    with pytest.raises(UserError, match=r"train.steps: was 4 when this run was begun, is 5 now"):
        run_comparison(new_config(TASKS, train={**QUICK, "steps": 5}), grown, first.path, data=table, resume=True)


def test_ctrl_c_loses_nothing_that_is_done(
    tmp_path: Path, table: pa.Table, new_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    attempt = Lab.attempt

    def interrupted(self: Lab, run: Run, tell: Any) -> Outcome:
        if len(done) == 2:
            done.append("Ctrl-C")
            raise KeyboardInterrupt
        done.append(run.key)
        return attempt(self, run, tell)

    monkeypatch.setattr(Lab, "attempt", interrupted)
    config, options = new_config(TASKS, train=QUICK), parse_comparison({"seeds": 1, "lightgbm": False})
    with pytest.raises(KeyboardInterrupt):
        run_comparison(config, options, tmp_path / "cmp", data=table)
    assert not (tmp_path / "cmp" / "comparison.json").exists()
    found = run_comparison(config, options, tmp_path / "cmp", data=table, resume=True)
    assert len(done) == 4 and len(set(done)) == 4 and not found.failures  # no run twice


@pytest.mark.parametrize(("how", "kind"), [("raises", "crashed"), ("diverges", "diverged")])
def test_a_failing_run_loses_itself_alone(
    tmp_path: Path, table: pa.Table, new_config: Callable[..., Any], how: str, kind: str
) -> None:
    config = new_config(TASKS, train=QUICK, allow_code=("test_runs",))
    options = parse_comparison({
        "balancers": ["equal", {"use": "test_runs:broken", "how": how}], "seeds": 1, "lightgbm": False,
    })  # fmt: skip
    found = run_comparison(config, options, tmp_path / "cmp", data=table)
    ((key, what),) = found.failures
    assert "broken" in key and ("a mistake" in what if how == "raises" else "click" in what)
    assert found.outcomes[key].failure.kind == kind  # type: ignore[union-attr]
    assert found.analysis.leader is not None and found.analysis.leader.method.name == "mmoe + equal"
    assert "1 of 4 runs failed" in found.verdict
    assert key in (found.path / "leaderboard.md").read_text()
    # what a seed does again is not tried again; what crashed is
    assert (Outcome.read(found.path / key) is None) == (kind == "crashed")


@pytest.mark.slow
def test_processes_give_the_same_and_one_that_dies_loses_its_run(
    tmp_path: Path, table: pa.Table, new_config: Callable[..., Any], prepared_run: Callable[..., Any]
) -> None:
    config = new_config(TASKS, train={**QUICK, "threads": 1}, allow_code=("test_runs",))
    options = parse_comparison({
        "balancers": [{"use": "test_runs:broken", "how": "dies"}, "equal"], "seeds": 1, "lightgbm": False,
    })  # fmt: skip
    prepared, plan = prepared_run(config, table), make_plan(config, options)
    runs = [run for run in plan.runs() if run.method.kind == "shared"]
    found = do_runs(Lab(config, prepared, tmp_path / "two"), runs, Display(None, 2), workers=2)
    dead, alive = (found[run.key] for run in runs)
    assert dead.failure is not None and "its process ended with signal SIGKILL" in dead.failure.what
    here = do_runs(Lab(config, prepared, tmp_path / "one"), runs[1:], Display(None, 1), workers=1)
    assert alive.scores == here[runs[1].key].scores


def test_everything_is_refused_before_any_training(table: pa.Table, tmp_path: Path, new_config: Any) -> None:
    config = new_config(TASKS, train=QUICK)
    names = parse_comparison({"sharing": ["mmeo", {"use": "ple", "level": 2}], "balancers": ["mgd"], "single": "plee"})
    with pytest.raises(UserError) as found:
        run_comparison(config, names, tmp_path / "cmp", data=table.drop_columns("spend"))
    assert [problem.where for problem in found.value.problems] == [
        "compare.sharing 'mmeo'.use", "compare.sharing 'ple'.level", "compare.balancers 'mgd'.use",
        "compare.single 'plee'.use", "tasks.spend: expression 'spend'",
    ]  # fmt: skip
    values = parse_comparison({"sharing": [{"use": "mmoe", "experts": 0}], "balancers": ["equal", "mgda"]})
    with pytest.raises(UserError) as found:
        run_comparison(config, values, tmp_path / "cmp", data=table)
    (problem,) = found.value.problems
    assert problem.where == "sharing.experts (mmoe + equal, mmoe + mgda)"
    assert not (tmp_path / "cmp").exists()


def test_a_warm_start_is_refused(table: pa.Table, tmp_path: Path, new_config: Any) -> None:
    config = new_config(TASKS, train={**QUICK, "warm_start": "bundle"})
    with pytest.raises(UserError, match=r"train\.warm_start: .*networks of single tasks cannot start from it"):
        run_comparison(config, parse_comparison({"lightgbm": False}), tmp_path / "cmp", data=table)


def test_lightgbm_is_named_before_any_training(
    table: pa.Table, tmp_path: Path, new_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lightgbm" else object())
    with pytest.raises(UserError, match=r"pip install 'polytask\[baselines\]', or leave it out: --no-lightgbm"):
        run_comparison(new_config(TASKS, train=QUICK), parse_comparison({}), tmp_path / "cmp", data=table)


def test_all_kinds_of_tasks_have_trees(table: pa.Table, new_config: Any, prepared_run: Any) -> None:
    pytest.importorskip("lightgbm", reason="LightGBM is in the extra 'baselines'")
    from polytask.comparing.trees import Trees

    config = new_config()
    trees = Trees(config, prepared_run(config, table))
    for task, metric in {"topic": "accuracy", "stars": "quadratic_kappa", "visits": "poisson_deviance"}.items():
        outcome = trees.train(task, 0)
        assert not math.isnan(outcome.scores["test"][task][metric])
        assert outcome.scores["validation"][task]["improvement"] > 0


def test_a_table_in_memory(table: pa.Table, tmp_path: Path) -> None:
    data = table.select(["item", "age", "click", "visits"])
    found = compare(
        data, tasks=["click", "visits"], sharing=["shared_bottom"], seeds=1, lightgbm=False, train=QUICK,
        out=tmp_path / "cmp", verbose=False,
    )  # fmt: skip
    assert found.path == tmp_path / "cmp" and found.verdict.startswith("One seed says nothing about noise")
    with pytest.raises(UserError, match="tasks: missing; name the label columns"):
        compare(data, verbose=False)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": 3},
        {"notes": None},
        {"failure": "x"},
        {"parameters": "many"},
        {"memory": []},
        {"failure": {"kind": "?"}},
    ],
)
def test_a_damaged_outcome_is_one_to_be_done_again(tmp_path: Path, change: dict[str, Any]) -> None:
    whole = Outcome(scores={"test": {"buys": {"auc": math.nan}}}, seconds=1.0, parameters=3, notes=("slow",))
    whole.write(tmp_path)
    again = Outcome.read(tmp_path)
    assert again is not None and repr(again) == repr(whole)
    write_json(tmp_path / "outcome.json", {**asdict(whole), **change})
    assert Outcome.read(tmp_path) is None
    for text in ("", "[]", "null", "{}", "[" * 99_999):
        (tmp_path / "outcome.json").write_text(text)
        assert Outcome.read(tmp_path) is None
