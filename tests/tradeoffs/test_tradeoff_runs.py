"""From a configuration to a folder with a front and a bundle, and another choice from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from polytask.errors import UserError
from polytask.evaluation.bundle import evaluate_bundle
from polytask.files import write_json
from polytask.fronts import Front
from polytask.serving import load_bundle
from polytask.tradeoffs import TradeOff
from polytask.tradeoffs.again import choose_again
from polytask.tradeoffs.lab import FrontLab
from polytask.tradeoffs.result import read_tradeoff
from polytask.tradeoffs.run import run_pareto
from polytask.tradeoffs.table import parse_pareto


@pytest.fixture(scope="module", autouse=True)
def unmeasured() -> Iterator[None]:
    """Nobody looks at the speed of inference here, which takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polytask.comparing.lab.SHORTEST", 0.0)
        yield


QUICK = {"steps": 12, "batch_size": 64, "evaluate_every": 6}
TASKS = ("click", "spend")
OPTIONS = {"method": ["linear", "pamal"], "points": 3, "seeds": 2, "baselines": True}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, new_table: Callable[..., pa.Table], new_config: Any) -> TradeOff:
    """A sweep and a conditioned model of two tasks, two seeds, single tasks beside."""
    out = tmp_path_factory.mktemp("pareto") / "front"
    return run_pareto(new_config(TASKS, train=QUICK), parse_pareto(OPTIONS), out, data=new_table())


def test_the_folder_holds_everything(first: TradeOff) -> None:
    names = {file.name for file in first.path.iterdir()}
    assert names == {
        ".lock", "bundle", "config.toml", "environment.json", "front.json", "front-test.json", "front.png",
        "pareto.json", "pareto.md", "runs",
    }  # fmt: skip
    found = json.loads((first.path / "pareto.json").read_text())
    assert len(found["points"]) == 6 and found["failures"] == {} and found["conditioned"] == ["pamal"]
    assert found["hypervolume"]["linear"]["validation"] == pytest.approx(first.hypervolume("linear"))
    assert [point["efficient"] for point in found["points"]] == first.front.efficient().tolist()
    page = (first.path / "pareto.md").read_text()
    assert page.count("| linear |") == 2 * 3 + 1 and page.count("one network per task |") == 2 and "front.png" in page
    assert (first.path / "front.png").read_bytes()[:4] == b"\x89PNG"


def test_fronts_hold_validation_and_test_scores_per_seed(first: TradeOff) -> None:
    for file, part in (("front.json", "validation"), ("front-test.json", "test")):
        front = Front.read(first.path / file)
        assert len(front) == 12 and front.names == TASKS and front.better == ("greater", "greater")
        point = first.planned[4]  # pamal, the middle
        rows = [row for row in range(12) if front.labels[row] == "pamal" and front.preferences[row, 0] == 0.5]
        own = [[scores[part]["click"]["auc"], scores[part]["spend"]["r2"]] for scores in point.scores]
        assert front.values[rows].tolist() == own and [front.seeds[row] for row in rows] == [0, 1]
        assert torch.tensor(own).mean(0).tolist() == pytest.approx(point.values(part, first.measures))


def test_scores_of_conditioned_points_are_those_of_their_bundles(first: TradeOff, table: pa.Table) -> None:
    for share in (0.5, 0.37):  # a point of the grid, and another one
        wish = f"pamal:{share},{1 - share}"
        if share == 0.37:
            with pytest.raises(UserError, match="made of a table in memory, and this choice needs its rows again"):
                first.choose(wish)
            continue
        found = first.choose(wish)
        assert found.chosen is not None and found.chosen.point.name == "pamal 0.5 : 0.5"
        bundle = load_bundle(first.path / "bundle")
        assert bundle.scores == found.chosen.scores
        assert bundle.config.balancer.use == "constant"
        assert bundle.predict(table.slice(0, 3)).column_names == ["row", "click", "spend"]
        assert "made by `pamal` for the preference 0.5 : 0.5" in (first.path / "bundle" / "MODEL_CARD.md").read_text()


def test_a_swept_point_ships_the_bundle_of_its_run(first: TradeOff) -> None:
    found = first.choose("linear:1,19")
    assert found.chosen is not None and found.chosen.point.preference == (0.05, 0.95)
    run = first.path / found.chosen.run / "bundle"
    assert "runs/linear/0.05-0.95/" in str(run)
    assert (run / "model.safetensors").read_bytes() == (first.path / "bundle" / "model.safetensors").read_bytes()
    assert read_tradeoff(first.path).chosen == found.chosen  # and the folder says so
    assert "chosen" in (first.path / "pareto.md").read_text()


def test_more_points_and_seeds_train_what_is_new_alone(
    tmp_path: Path, table: pa.Table, new_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = new_config(TASKS, train={**QUICK, "steps": 6}), tmp_path / "front"
    before = run_pareto(config, parse_pareto({"method": ["linear", "cosmos"], "points": 2}), out, data=table)
    done: list[str] = []
    train = FrontLab.train

    def noted(self: FrontLab, run: Any, *rest: Any) -> Any:
        done.append(run.key)
        return train(self, run, *rest)

    monkeypatch.setattr(FrontLab, "train", noted)
    more = parse_pareto({"method": ["linear", "cosmos"], "points": 3, "choose": "cosmos:knee"})
    with pytest.raises(UserError, match="holds a front already"):
        run_pareto(config, more, out, data=table)
    after = run_pareto(config, more, out, data=table, resume=True)
    assert done == ["runs/linear/0.5-0.5/0"]
    kept = {point.name: point.scores for point in after.points}
    assert {point.name: kept[point.name] for point in before.points} == {
        point.name: point.scores for point in before.points
    }
    assert after.chosen is not None and after.chosen.point.method == "cosmos"


def test_three_tasks_have_pairs_and_coordinates(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    config = new_config(("click", "spend", "visits", "topic"), train={**QUICK, "steps": 4})
    options = parse_pareto({"method": "lorpman", "points": 5, "tasks": ["click", "spend", "visits"]})
    found = run_pareto(config, options, tmp_path / "front", data=table)
    assert found.front.names == ("click", "spend", "visits") and len(found.front) == 5
    assert found.front.better == ("greater", "greater", "smaller")
    assert (found.path / "front.png").read_bytes()[:4] == b"\x89PNG"
    assert found.bundle.model.tasks[3].name == "topic"


def test_chained_tasks(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    clicked = table["click"].fill_null(0).to_numpy()
    bought = clicked * (table["visits"].to_numpy() > 1)
    data = table.append_column("bought", pa.array(bought)).append_column("clicked", pa.array(clicked))
    tasks = {
        "click": {"kind": "binary", "label": "clicked"},
        "bought": {"kind": "binary", "label": "bought", "after": "click"},
    }
    config = new_config(tasks, train={**QUICK, "steps": 4}, chain={"use": "esmm"})
    found = run_pareto(
        config, parse_pareto({"method": ["linear", "pamal"], "points": 2}), tmp_path / "front", data=data
    )
    assert found.methods == ("linear", "pamal")
    assert found.bundle.columns == ("click", "bought", "bought_joint")


@pytest.mark.parametrize("method", ["linear", "pamal"])
def test_what_is_calibrated_is_fitted_for_the_model_that_is_shipped(
    method: str, tmp_path: Path, new_table: Callable[..., pa.Table], new_config: Any
) -> None:
    tasks = {
        "click": {"kind": "binary", "label": "click", "calibrate": "platt"},
        "spend": {"kind": "regression", "label": "spend"},
    }
    config = new_config(tasks, train=QUICK)
    found = run_pareto(config, parse_pareto({"method": method, "points": 2}), tmp_path / "front", data=new_table(3_000))
    assert list(found.bundle.decisions.calibration) == ["click"]


def test_a_wish_that_nothing_fulfils_loses_no_training(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    config = new_config(TASKS, train={**QUICK, "steps": 3})
    options = parse_pareto({"points": 2, "floor": {"click": 0.999}})
    with pytest.raises(UserError, match=r"--floor click: no point reaches auc 0\.999 on validation rows; the best is"):
        run_pareto(config, options, tmp_path / "front", data=table)
    assert not (tmp_path / "front" / "bundle").exists()
    found = choose_again(tmp_path / "front", "best-mean", {})
    assert found.bundle_path.is_dir() and found.bundle.predict(table.slice(0, 2)).num_rows == 2


def test_a_diverging_point_loses_itself_alone(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    config = new_config(TASKS, train={**QUICK, "learning_rate": 1e30, "embedding_learning_rate": 1e30})
    with pytest.raises(UserError, match="nothing is left of the front"):
        run_pareto(config, parse_pareto({"points": 2}), tmp_path / "front", data=table)


def test_without_matplotlib_there_is_no_figure_and_a_note(
    first: TradeOff, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    missing = replace(first, path=tmp_path).write()
    assert missing is not None and "pip install 'polytask[plot]'" in missing
    assert "front.png" not in (tmp_path / "pareto.md").read_text()


def test_everything_is_refused_before_any_training(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    config = new_config(("click", "spend", "visits"), train={**QUICK, "warm_start": "old", "compile": True, "probe": 5})
    options = parse_pareto({
        "method": ["lineer", {"use": "pamal", "windw": 2}, {"use": "phn", "every": 2}, {"use": "epo", "ideal": "a"}],
        "tasks": ["click", "spent"], "reference": {"click": 0.5}, "choose": "knie", "floor": {"like": 1.0},
        "preferences": [[0, 1], [1, 0]],
    })  # fmt: skip
    with pytest.raises(UserError) as found:
        run_pareto(config, options, tmp_path / "front", data=table.drop_columns("visits"))
    assert [problem.where for problem in found.value.problems] == [
        "pareto.tasks", "pareto.reference", "train.warm_start", "train.compile", "train.probe",
        "pareto.method 'lineer'", "pareto.method 'pamal'.windw", "pareto.method 'phn'", "pareto.method 'epo'.ideal",
        "pareto.method 'epo'", "pareto.method 'epo'", "--floor like", "--choose", "tasks.visits: expression 'visits'",
    ]  # fmt: skip
    assert not (tmp_path / "front").exists()


def test_one_task_trades_with_none(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    with pytest.raises(UserError, match="1 task, which trades with none"):
        run_pareto(new_config(("click",)), parse_pareto({"points": 3}), tmp_path / "front", data=table)


@pytest.mark.parametrize("kept", [None, 1])
def test_a_task_that_cannot_be_judged_is_refused_before_any_training(
    tmp_path: Path, new_table: Any, new_config: Any, kept: int | None
) -> None:
    table = new_table(300)
    part = ["train"] * 200 + ["validation"] * 50 + ["test"] * 50
    click = [label if where != "test" else kept for label, where in zip(table["click"].to_pylist(), part, strict=True)]
    table = table.set_column(table.schema.get_field_index("click"), "click", pa.array(click)).append_column(
        "part", pa.array(part)
    )
    values = {name: [name] for name in ("train", "validation", "test")}
    config = new_config(TASKS, train=QUICK, data={"split": {"by": "column", "column": "part", "values": values}})
    with pytest.raises(UserError, match="click: its auc is undefined on the test part, which has"):
        run_pareto(config, parse_pareto({"points": 2}), tmp_path / "front", data=table)
    assert not (tmp_path / "front").exists()


def test_builders_are_asked_before_any_training(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    options = parse_pareto({"method": [{"use": "pamal", "window": 0}, {"use": "epo", "tolerance": -1.0}], "points": 2})
    with pytest.raises(UserError) as found:
        run_pareto(new_config(TASKS, train=QUICK), options, tmp_path / "front", data=table)
    text = str(found.value)
    assert "pareto.method 'pamal'.window" in text and "tolerance" in text
    assert not (tmp_path / "front").exists()


def test_folders_that_hold_no_front(first: TradeOff, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no pareto\.json; name the folder of a finished front"):
        choose_again(tmp_path, None, {})
    (tmp_path / "pareto.json").write_text('{"format": 2}')
    with pytest.raises(
        UserError, match="has format 2, this polytask reads 1; install the polytask version that wrote it"
    ):
        choose_again(tmp_path, None, {})


@pytest.mark.parametrize(
    "change",
    [
        {"baselines": 3}, {"failures": "x"}, {"measures": [{"task": 1}]}, {"points": [{"method": "linear"}]},
        {"format": "x"}, {"conditioned": None}, {"points": []}, {"chosen": {"method": "pamal"}},
    ],
)  # fmt: skip
def test_a_damaged_front_is_told(first: TradeOff, tmp_path: Path, change: dict[str, Any]) -> None:
    facts = json.loads((first.path / "pareto.json").read_text())
    write_json(tmp_path / "pareto.json", {**facts, **change})
    with pytest.raises(UserError, match=r"pareto\.json"):
        read_tradeoff(tmp_path)
    (tmp_path / "pareto.json").write_text("[" * 99_999)
    with pytest.raises(UserError, match="nested too deeply"):
        read_tradeoff(tmp_path)


@pytest.mark.slow
def test_processes_give_the_same(tmp_path: Path, new_config: Any, new_table: Any) -> None:
    config = new_config(TASKS, train={**QUICK, "threads": 1})
    one, two = (
        run_pareto(
            config,
            parse_pareto({"method": ["linear", "pamal"], "points": 2}),
            tmp_path / str(n),
            data=new_table(),
            workers=n,
        )
        for n in (1, 2)
    )
    assert [point.scores for point in one.points] == [point.scores for point in two.points]


@pytest.mark.parametrize("method", ["linear", "phn", "cosmos"])
def test_bundles_score_as_the_points_say(method: str, tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    part = np.array(["train", "train", "validation", "test"])[np.arange(len(table)) % 4]
    data = table.append_column("part", pa.array(part))
    values = {name: [name] for name in ("train", "validation", "test")}
    split = {"source": "memory", "keys": ["row"], "split": {"by": "column", "column": "part", "values": values}}
    drop = ["stars", "visits", "weight", "topic"]
    config = new_config(TASKS, train={**QUICK, "steps": 6}, data={**split, "drop": drop})
    found = run_pareto(config, parse_pareto({"method": method, "points": 2}), tmp_path / "front", data=data)
    scores = evaluate_bundle(found.bundle, data.filter(pc.equal(data["part"], "test")))
    assert found.chosen is not None
    for task, own in found.chosen.scores["test"].items():
        assert scores[task] == pytest.approx(own, abs=1e-5)
