"""`polytask reproduce ma-2018-census`: the whole program in its quick form, on a small table."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from polytask.cli import main
from polytask.data.named.census_income import PROTOCOLS
from polytask.errors import MissingExtraError, UserError
from polytask.reproduce import find
from polytask.reproduce.census import reproduce_census
from polytask.reproduce.census.chain import Chain, chains
from polytask.reproduce.census.experiment import ALONE, METHODS, CensusExperiment, load_census
from polytask.reproduce.census.lab import Lab
from polytask.reproduce.census.outcome import Job, Outcome
from polytask.reproduce.census.settings import sharing
from polytask.reproduce.census.work import work

NAME = "ma-2018-census"
GROUP = """
[[groups]]
name = "toy"
title = "toy group"
main = "click"
data = { source = "train.parquet", validation = "validation.parquet", test = "test.parquet", drop = ["topic", "spend", "visits", "weight", "row"] }

[groups.tasks]
click = { kind = "binary", label = "click" }
starred = { kind = "binary", label = "stars >= 2" }

"""  # noqa: E501


def command(*arguments: str) -> int:
    try:
        main(["reproduce", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, new_table: Any) -> Path:
    """The shipped experiment with one group, of a small table."""
    made = tmp_path_factory.mktemp("experiment")
    for seed, part in enumerate(("train", "validation", "test")):
        pq.write_table(new_table(400, seed).drop_columns(["history"]), made / f"{part}.parquet")
    text = (find(NAME) / "experiment.toml").read_text(encoding="utf-8")
    before, rest = text.split("[[groups]]", 1)
    after = rest[rest.index("# What all networks tune") :]
    (made / "experiment.toml").write_text(before + GROUP + after, encoding="utf-8")
    expected = (find(NAME) / "expected.toml").read_text(encoding="utf-8")
    (made / "expected.toml").write_text(expected.replace('"group-1"', '"toy"'), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reproduction") / "out"
    assert command(str(folder), "--quick", "--out", str(made)) == 0
    return made


def small(folder: Path, **changes: Any) -> CensusExperiment:
    """Tiny networks, all methods."""
    experiment = load_census(folder)[0]
    values = experiment.quick().model_dump() | {"methods": experiment.model_dump()["methods"]}
    return CensusExperiment.model_validate(values | changes)


def test_results_and_figure_are_written(out: Path) -> None:
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["quick"]
    (group,) = results["groups"]
    assert (group["main"], group["auxiliary"]) == ("click", "starred")
    assert [one["method"] for one in group["methods"]] == ["mmoe", "lightgbm"]
    for one in group["methods"]:
        for role in ("main", "auxiliary"):
            assert len(one[role]["values"]) == 2
            assert one[role]["best"] in one[role]["values"]
            assert one[role]["mean"] == pytest.approx(np.mean(one[role]["values"]))
            assert one[role]["std"] == pytest.approx(np.std(one[role]["values"], ddof=1))
    assert {row["method"] for row in group["published"]} == set(METHODS) - {"lightgbm"}
    assert (out / "tables.png").read_bytes().startswith(b"\x89PNG")


def test_resume_does_what_is_missing_and_nothing_else(
    folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    shutil.copytree(out, again)
    cells = again / "cells" / "toy-mmoe"
    kept, lost, cut = cells / "trial-000.json", cells / "run-000.json", cells / "run-001.json"
    before = {file: json.loads(file.read_text(encoding="utf-8")) for file in (kept, lost, cut)}
    lost.unlink()
    cut.write_text("{", encoding="utf-8")
    assert command(str(folder), "--quick", "--resume", "--out", str(again)) == 0
    assert "7 of 9 trainings done; about" in capsys.readouterr().out
    after = {file: json.loads(file.read_text(encoding="utf-8")) for file in (kept, lost, cut)}
    assert after[kept] == before[kept]
    for file in (lost, cut):
        assert after[file]["test"] == pytest.approx(before[file]["test"], abs=1e-6)


def test_a_used_folder_needs_resume_and_the_same_settings(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(str(folder), "--quick", "--out", str(out)) == 2
    assert "add --resume" in capsys.readouterr().err
    assert command(str(folder), "--resume", "--out", str(out)) == 2
    assert "holds results under other settings (lightgbm, methods, rows, space)" in capsys.readouterr().err
    assert command(str(folder), "--quick", "--threads", "2", "--out", str(out)) == 2
    assert "use --workers" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_find_the_same(folder: Path, out: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        reproduce_census(folder, tmp_path / "out", quick=True, workers=2)
    one, two = (
        [
            (method["main"]["values"], method["auxiliary"]["values"])
            for method in json.loads((place / "results.json").read_text(encoding="utf-8"))["groups"][0]["methods"]
        ]
        for place in (out, tmp_path / "out")
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(folder: Path, method: Any) -> None:
    experiment = small(folder)
    settings = {name: bounds.start for name, bounds in experiment.searched(method).items()}
    task = "starred" if method in ALONE else None
    outcome = Lab(experiment, folder).train(Job(0, method, task, settings, 1, ""))
    assert set(outcome.test) == ({"starred"} if task else {"click", "starred"})
    assert all(0 < auc < 1 for auc in (*outcome.test.values(), *outcome.validation.values()))
    assert Outcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome


def test_no_layer_has_more_units_than_the_cap(folder: Path) -> None:
    experiment = load_census(folder)[0]
    for method in METHODS[:-1]:
        for end in ("low", "high"):
            settings = {name: getattr(bounds, end) for name, bounds in experiment.searched(method).items()}
            table = sharing(method, settings, tasks=2)
            assert table["widths"][0] >= 1
            copies = {"l2_constrained": 2, "cross_stitch": 2, "tensor_factorisation": 2}.get(method, 1)
            copies *= table.get("experts", 1) if method != "ple" else 2 * table["experts"] + table["shared_experts"]
            assert table["widths"][0] * copies <= 2048


def test_a_diverged_training_is_an_outcome(folder: Path) -> None:
    experiment = small(folder)
    settings = {name: bounds.start for name, bounds in experiment.searched("mmoe").items()}
    outcome = Lab(experiment, folder).train(
        Job(0, "mmoe", None, {**settings, "learning_rate": 1e30, "epochs": 20}, 1, "")
    )
    assert "not finite" in outcome.diverged
    assert np.isnan(outcome.objective("click"))


class Recorder:
    """In place of the lab: the AUC is a function of the settings."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def train(self, job: Job) -> Outcome:
        self.jobs.append(job)
        rate = job.settings["learning_rate"]
        auc = 0.9 - abs(np.log10(rate) + 3.0) / 10
        failed = rate > 3e-3
        scores = {} if failed else {"click": auc, "starred": 0.5 + job.seed % 7 / 100}
        return Outcome(job.settings, job.seed, scores, scores, 1, 1, 10, 2.0, "not finite" if failed else "")


def test_trials_are_the_same_after_an_interruption_and_the_best_is_chosen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = {name: load_census(folder)[0].model_dump()["methods"][name] for name in ("mmoe", "omoe")}
    whole, parts = small(folder, trials=14, seeds=3, methods=methods), small(folder, trials=9, seeds=3, methods=methods)
    recorder = Recorder()
    monkeypatch.setattr("polytask.reproduce.census.work.Lab", lambda *_: recorder)

    def done(experiment: CensusExperiment, place: str) -> list[Chain]:
        (found,) = chains(experiment, tmp_path / place)
        work(experiment, folder, found, workers=1, console=None)
        return found

    straight = done(whole, "whole")
    assert len(recorder.jobs) == 2 * (14 + 3)
    done(parts, "parts")
    recorder.jobs.clear()
    resumed = done(whole, "parts")
    for one, other in zip(straight, resumed, strict=True):
        assert [trial.settings for trial in one.trials] == [trial.settings for trial in other.trials]
        assert [run.settings for run in other.outcomes] == [other.chosen().settings] * 3
        found = [trial.objective("click") for trial in one.trials]
        assert one.chosen().objective("click") == np.nanmax(found)
        assert one.trials[0].settings == {name: bounds.start for name, bounds in whole.searched(one.method).items()}
        assert len({trial.settings["learning_rate"] for trial in one.trials}) == 14
    assert len(recorder.jobs) <= 2 * (5 + 3)
    # trials and runs never share a seed; methods do
    first, second = straight
    assert [run.seed for run in first.outcomes] == [run.seed for run in second.outcomes]
    assert not {run.seed for run in first.outcomes} & {trial.seed for trial in first.trials}


def test_missing_packages_are_named_before_anything_begins(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, extra in (("optuna", "tune"), ("lightgbm", "baselines")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtraError, match=rf"pip install 'polytask\[{extra}\]'"):
                reproduce_census(folder, tmp_path / "out", quick=True)
    assert not (tmp_path / "out").exists()


def test_mistakes_in_the_file_are_named_at_once(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "mine")
    file = tmp_path / "mine" / "experiment.toml"
    text = file.read_text(encoding="utf-8")
    changes = {"rank_in =": "rank_inn =", 'main = "click"': 'main = "clack"', "low = 64, high": "low = 4000, high"}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_census(tmp_path / "mine")
    assert {problem.where for problem in caught.value.problems} == {
        "space.units", "methods.tensor_factorisation.rank_in", "methods.tensor_factorisation.rank_inn",
        "groups.toy.main",
    }  # fmt: skip


def test_the_shipped_experiment_is_the_paper_s() -> None:
    experiment, expected = load_census(find(NAME))
    assert tuple(experiment.methods) == METHODS
    assert experiment.seeds >= 20
    assert experiment.space["units"].high <= 2048  # the paper's cap
    assert [group.order for group in experiment.groups] == [("income", "never_married"), ("college", "never_married")]
    for group in experiment.groups:
        specs = {spec.task: spec.label for spec in PROTOCOLS[f"ma-2018-{group.name}"].tasks}
        assert {task.label for task in group.tasks.values()} == set(specs.values())
    one = expected.row("Ma", "group-1", "mmoe")
    assert one is not None and (one.main.best, one.main.mean, one.auxiliary.mean) == (0.9410, 0.9359, 0.9927)
    two = expected.row("Ma", "group-2", "single_task")
    assert two is not None and (two.main.best, two.auxiliary.best) == (0.8843, 0.9933)
    assert len(expected.published) == 7 + 7 + 3
