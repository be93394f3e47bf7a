from __future__ import annotations

import builtins
import json
import math
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polytask
from polytask.balancing.interfaces import Scalarizer
from polytask.config import load_config
from polytask.errors import MissingExtraError, UserError
from polytask.serving import load_bundle
from polytask.tuning import Sweep
from polytask.tuning.journal import Journal
from polytask.tuning.run import run_sweep
from polytask.tuning.search import Search
from polytask.tuning.table import parse_sweep
from polytask.tuning.trial import Objective, Outcome
from polytask.tuning.work import Bench
from polytask.tuning.writing import write

optuna = pytest.importorskip("optuna", reason="Optuna is in the extra 'tune'")
TASKS = ("click", "spend")
QUICK = {"epochs": 2, "batch_size": 128}
SPACE = {
    "train.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
    "sharing.experts": [1, 2],
    "sharing.widths": [[8], [4, 4]],
}


class Broken(Scalarizer):
    """Raises, diverges or ends its process in the second step of some seeds."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    def forward(self, losses: Any, step: Any, /) -> Any:
        if step.number == 1 and self._how == "raises":
            raise KeyError("a mistake")
        if step.number == 1 and self._how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return losses.sum() * (math.nan if step.number == 1 and self._how == "diverges" else 1.0)


def broken(*, how: str) -> Scalarizer:
    return Broken(how)


def facts(found: Sweep) -> list[dict[str, Any]]:
    """All of the trials but their time."""
    return [{**one, "seconds": 0} for one in found.json()["trials"]]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, new_table: Any, new_config: Any) -> Sweep:
    """Two architectures, five trials each."""
    options = parse_sweep({"trials": 5, "sharing": ["mmoe", "shared_bottom"], "space": SPACE, "parallel": 2})
    return run_sweep(
        new_config(TASKS, train=QUICK), options, tmp_path_factory.mktemp("sweep") / "out", data=new_table()
    )


def test_every_method_has_the_same_budget(first: Sweep) -> None:
    found = json.loads((first.path / "sweep.json").read_text())
    assert found["format"] == 1 and found["objectives"] == [{"name": "mean", "direction": "maximize"}]
    by = {
        name: [one for one in found["trials"] if one["method"] == name]
        for name in ("mmoe + equal", "shared_bottom + equal")
    }
    assert [len(own) for own in by.values()] == [5, 5] and [one["number"] for one in found["trials"]] == list(range(10))
    assert {tuple(one["evaluations"]) for one in found["trials"]} == {(4, 8)}  # the same rungs for all
    assert all(one["step"] == 8 and one["state"] == "complete" and one["seconds"] > 0 for one in found["trials"])
    assert all(set(one["params"]) == set(SPACE) - {"sharing.experts"} for one in by["shared_bottom + equal"])
    assert all(set(one["params"]) == set(SPACE) for one in by["mmoe + equal"])
    for own in by.values():  # no point twice
        assert len({json.dumps(one["params"]) for one in own}) == 5
        assert own[0]["params"]["train.learning_rate"] == 0.001  # the first has the file's own values


def test_the_best_is_ready(first: Sweep, table: pa.Table) -> None:
    values = [one["values"][0] for one in first.json()["trials"]]
    assert first.best is not None and values[first.best.number] == max(values) == first.best.outcome.score
    assert first.config == first.path / "best.toml"
    config = load_config(first.config)
    assert config.sharing.use == first.best.method.config.sharing.use
    assert config.train.learning_rate == first.best.trial.params["train.learning_rate"]
    assert (first.path / "best" / "mmoe+equal.toml").exists() and (
        first.path / "best" / "shared_bottom+equal.toml"
    ).exists()
    assert "# on the validation part: mean" in first.config.read_text()
    assert first.bundle is not None
    assert load_bundle(first.bundle).predict(table.slice(0, 3)).column_names == ["row", "click", "spend"]


def test_the_final_training_is_the_trial_again(first: Sweep) -> None:
    for method in first.methods:
        best = first.best_of(method)
        assert best is not None and first.finals[method.name]["validation"] == best.outcome.scores
        assert set(first.finals[method.name]) == {"validation", "test"}


def test_tables_and_figure(first: Sweep) -> None:
    page = (first.path / "sweep.md").read_text()
    assert page.startswith("# Sweep") and "](sweep.png)" in page and "test click.auc" in page
    assert "test scores, of the trainings at the end, chose nothing" in page
    assert (first.path / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    rows = pq.read_table(first.path / "trials.parquet").to_pylist()
    assert rows == first.trials.to_pylist() and len(rows) == 10
    assert {row["sharing.widths"] for row in rows} == {"[8]", "[4, 4]"} and rows[1]["sharing.experts"] is None


def test_without_matplotlib_there_is_no_figure(first: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    (tmp_path / "environment.json").write_text("{}")
    config = first.methods[0].config
    missing = write(replace(first, path=tmp_path), config, parse_sweep({}), part_rows={}, workers=1)
    assert missing is not None and "pip install 'polytask[plot]'" in missing
    assert not (tmp_path / "sweep.png").exists() and "sweep.png" not in (tmp_path / "sweep.md").read_text()


def test_without_optuna_nothing_begins(tmp_path: Path, new_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polytask\[tune\]'"):
        run_sweep(new_config(TASKS), parse_sweep({}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_interrupted_and_resumed_is_the_same(
    first: Sweep, tmp_path: Path, table: pa.Table, new_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    do = Bench.do

    def interrupted(self: Bench, job: Any, tell: Any) -> Outcome:
        done.append(job.title)
        if len(done) == 4:
            raise KeyboardInterrupt
        return do(self, job, tell)

    monkeypatch.setattr(Bench, "do", interrupted)
    config, table_ = (
        new_config(TASKS, train=QUICK),
        {"sharing": ["mmoe", "shared_bottom"], "space": SPACE, "parallel": 2},
    )
    fewer, all_ = parse_sweep({**table_, "trials": 3}), parse_sweep({**table_, "trials": 5})
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_sweep(config, fewer, out, data=table)
    assert not (out / "sweep.json").exists()
    with (out / "journal.log").open("a") as stream:
        stream.write('{"op_code": 6, "work')  # a crash in the middle of a line
    with pytest.raises(UserError, match="holds a sweep already"):
        run_sweep(config, fewer, out, data=table)
    run_sweep(config, fewer, out, data=table, resume=True)
    assert [title for title in done if done.count(title) > 1] == [done[3]] * 2  # the one in flight alone
    begun = len(done)
    found = run_sweep(config, all_, out, data=table, resume=True)  # and more trials
    assert facts(found) == facts(first)
    assert len(done) == begun + 4 + sum(
        first.best_of(method).trial.index >= 3 for method in first.methods  # type: ignore[union-attr]
    )  # fmt: skip


@pytest.mark.parametrize("line", ["garbage", "[]", '{"op_code": 99, "worker_id": "x"}', "\udcff"])
def test_a_damaged_journal_is_told(first: Sweep, tmp_path: Path, line: str) -> None:
    lines = (first.path / "journal.log").read_text().splitlines()
    (tmp_path / "journal.log").write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n", errors="surrogateescape")
    with pytest.raises(UserError, match=r"journal\.log: is damaged .*restore it, or delete it"):
        Journal(tmp_path / "journal.log", first.methods, first.objectives, {})


def test_what_was_decided_stays(first: Sweep, table: pa.Table, new_config: Any) -> None:
    config = new_config(TASKS, train=QUICK)
    space = {**SPACE, "sharing.experts": [1, 2, 3]}
    changed = parse_sweep({"trials": 5, "sharing": ["mmoe", "shared_bottom"], "space": space, "seed": 1, "parallel": 2})
    before = (first.path / "sweep.json").read_bytes()
    with pytest.raises(UserError) as found:
        run_sweep(config, changed, first.path, data=table, resume=True)
    assert [str(problem) for problem in found.value.problems] == [
        "sweep.seed: was 0 when this sweep was begun, is 1 now; set it back, or use a new --out",
        'sweep.space."sharing.experts": was [1, 2] when this sweep was begun, is [1, 2, 3] now; '
        "set it back, or use a new --out",
    ]
    assert (first.path / "sweep.json").read_bytes() == before


@pytest.mark.slow
def test_processes_give_the_same_and_one_that_dies_loses_its_trial(
    first: Sweep, tmp_path: Path, table: pa.Table, new_config: Any
) -> None:
    config = new_config(TASKS, train=QUICK, allow_code=("test_sweep_runs",))
    balancers = ["equal", "test_sweep_runs:broken"]
    space = {**SPACE, "balancer.how": ["works", "dies"]}
    options = parse_sweep({"trials": 2, "balancers": balancers, "space": space, "parallel": 2, "final_seeds": 0})
    found = run_sweep(config, options, tmp_path / "out", data=table, workers=2)
    ends = {one.trial.params["balancer.how"]: one.outcome for one in found.numbered if len(one.method.space) == 4}
    assert "its process ended with signal SIGKILL" in ends["dies"].what and ends["works"].state == "complete"
    here = [one for one in facts(first) if one["method"] == "mmoe + equal"]
    there = [one for one in facts(found) if one["method"] == "mmoe + equal"]
    assert [{**one, "number": 0} for one in there] == [{**one, "number": 0} for one in here[:2]]


@pytest.mark.parametrize("how", ["raises", "diverges"])
def test_a_failing_trial_is_recorded_and_the_others_go_on(
    tmp_path: Path, table: pa.Table, new_config: Any, how: str
) -> None:
    config = new_config(TASKS, train=QUICK, allow_code=("test_sweep_runs",))
    balancers = ["equal", {"use": "test_sweep_runs:broken"}]
    space = {"balancer.how": [how, "works"]}
    options = parse_sweep({"trials": 2, "balancers": balancers, "space": space})
    found = run_sweep(config, options, tmp_path / "out", data=table)
    states = {one.trial.params.get("balancer.how"): one.outcome for one in found.numbered}
    assert (
        states[how].state == "failed"
        and ("KeyError: 'a mistake'" if how == "raises" else "diverged:") in states[how].what
    )
    assert states["works"].state == "complete" and len(found.numbered) == 3  # nothing of equal is searched: one trial
    assert found.json()["trials"][0]["params"] == {} and set(found.finals) == {one.name for one in found.methods}
    assert "## Failures" in (found.path / "sweep.md").read_text()


def test_nothing_complete_is_said(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    config = new_config(
        TASKS, train=QUICK, balancer={"use": "test_sweep_runs:broken", "how": "raises"}, allow_code=("test_sweep_runs",)
    )
    found = run_sweep(config, parse_sweep({"trials": 1, "space": {}}), tmp_path / "out", data=table)
    assert found.best is None and found.config is None and found.bundle is None and found.front == ()
    assert "No trial was complete" in (found.path / "sweep.md").read_text()
    assert json.loads((found.path / "sweep.json").read_text())["best"] is None


def test_trials_behind_are_stopped(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    config = new_config(TASKS, train={"epochs": 4, "batch_size": 64})
    space = {"train.learning_rate": [0.02, 0.021, 0.022, 0.023, 0.024, 1e-6, 2e-6], "train.decay": ["none"]}
    options = parse_sweep({"trials": 7, "space": space, "parallel": 1, "sampler": "random", "final_seeds": 0})
    found = run_sweep(config, options, tmp_path / "out", data=table)
    assert len(found.numbered) == 7
    curves = [one.outcome.curve for one in found.numbered]
    assert [one.outcome.state for one in found.numbered[:5]] == ["complete"] * 5
    for number, one in enumerate(found.numbered[5:], 5):
        behind = [
            own[0] < median(curve[here][0] for curve in curves[:number] if len(curve) > here)
            for here, own in enumerate(one.outcome.curve[:3])
        ]  # the last evaluation ends it anyway
        stopped = one.outcome.state == "pruned"
        assert behind == [False] * (len(behind) - 1) + [stopped]
        assert one.outcome.step == 8 * len(one.outcome.curve) and (stopped or one.outcome.step == 32)
        assert stopped == (one.outcome.values == ())
        assert stopped or one.trial.params["train.learning_rate"] > 0.01
    assert "pruned" in [one.outcome.state for one in found.numbered]


def test_several_objectives_have_a_front(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    options = parse_sweep({"trials": 6, "objective": "tasks", "space": SPACE, "final_seeds": 2, "pruning": "halving"})
    found = run_sweep(new_config(TASKS, train=QUICK), options, tmp_path / "out", data=table)
    names = [one.name for one in found.objectives]
    assert names == ["click.auc", "spend.r2"]
    points = {one.number: one.outcome.values for one in found.numbered if one.outcome.values}
    front = {
        number for number, own in points.items()
        if not any(all(a >= b for a, b in zip(other, own, strict=True)) and other != own for other in points.values())
    }  # fmt: skip
    assert {one.number for one in found.front} == front == set(found.json()["front"])
    assert {file.name for file in (found.path / "front").iterdir()} == {f"{number}.toml" for number in front}
    assert found.best in found.front and len(list((found.path / "best").glob("*/seeds/*/bundle"))) == 2
    assert (found.path / "sweep.png").exists() and "## Front" in (found.path / "sweep.md").read_text()
    again = load_config(found.path / "front" / f"{min(front)}.toml")
    assert again.train.learning_rate == found.numbered[min(front)].trial.params["train.learning_rate"]


def test_other_tools_can_open_the_file(first: Sweep) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(first.path / "journal.log"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.load_study(study_name="mmoe+equal", storage=storage)
    own = [one for one in first.numbered if one.method.slug == "mmoe+equal"]
    assert [trial.value for trial in study.trials] == [one.outcome.values[0] for one in own]
    assert [sorted(trial.intermediate_values) for trial in study.trials] == [[4, 8]] * 5


def test_a_trial_waits_for_those_whose_results_it_needs(tmp_path: Path, first: Sweep) -> None:
    (method, _), objective = first.methods, (Objective("mean"),)
    sweep = parse_sweep({"trials": 9, "space": SPACE, "parallel": 2})
    search = Search([method], sweep, objective, Journal(tmp_path / "journal.log", [method], objective, {}))
    jobs = [search.take(), search.take(), search.take()]
    assert [None if job is None else job.index for job in jobs] == [0, 1, None]
    search.done(jobs[1], Outcome("complete", (0.2,)))  # type: ignore[arg-type]
    assert search.take() is None  # the second was faster, but the third needs the first
    search.done(jobs[0], Outcome("failed"))  # type: ignore[arg-type]
    third, fourth = search.take(), search.take()
    assert (
        third is not None and fourth is not None and (third.index, len(third.earlier), len(fourth.earlier)) == (2, 1, 2)
    )
    assert search.left == {method.name: 7}


def test_from_python(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    found = polytask.sweep(
        table, tasks={"click": "binary", "spend": "regression"}, train=QUICK, out=tmp_path / "out", trials=2,
        space={"sharing.experts": [1, 2, 3]}, objective=["click"], pruning="none", seed=3, final_seeds=0, verbose=False,
    )  # fmt: skip
    assert [one.name for one in found.objectives] == ["click.auc"] and found.trials.num_rows == 2
    assert found.bundle is None and found.best is not None
    assert builtins.max(found.trials["click.auc"].to_pylist()) == found.best.outcome.values[0]
    with pytest.raises(UserError, match=r"sweep\.trials: found 0"):
        polytask.sweep(new_config(TASKS), trials=0)


def test_models_that_cannot_be_built_are_refused_before_any_training(
    tmp_path: Path, table: pa.Table, new_config: Any
) -> None:
    options = parse_sweep({"space": {"sharing.experts": [2, 0], "train.learning_rate": [0.1]}})
    with pytest.raises(UserError, match=r"sharing\.experts \(mmoe \+ equal\)"):
        run_sweep(new_config(TASKS, train=QUICK), options, tmp_path / "out", data=table)
    assert not (tmp_path / "out").exists()
