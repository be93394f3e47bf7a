"""Calibration, thresholds and fusion from the file to the predictions, and for bundles that exist."""

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

import polytask
from polytask.cli.app import app
from polytask.config import Config
from polytask.data.reader import to_batch
from polytask.errors import UserError
from polytask.evaluation.predicted import predict_observed
from polytask.serving import Bundle, load_bundle
from polytask.tables import open_tables
from polytask.training.run import RunResult, train_run

TASKS: dict[str, dict[str, Any]] = {
    "click": {"kind": "binary", "label": "click", "calibrate": "isotonic", "threshold": {"recall": 0.8}},
    "topic": {"kind": "multiclass", "label": "topic", "calibrate": "temperature"},
    "spend": {"kind": "regression", "label": "spend", "weight": "weight"},
    "visits": {"kind": "count", "label": "visits"},
}
FUSION = {"value": "paid", "group": "user", "floors": {"click": 0.6}, "samples": 60}


def with_paid(table: pa.Table) -> pa.Table:
    """The log with a column that is known only afterwards: what was paid, never below 0."""
    spend = np.nan_to_num(table["spend"].to_numpy())
    return table.append_column("paid", pa.array(np.maximum(spend, 0.0)))


@pytest.fixture(scope="module")
def data(new_table: Callable[..., pa.Table]) -> pa.Table:
    return with_paid(new_table(2_000))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, new_config: Callable[..., Config], data: pa.Table) -> RunResult:
    config = new_config(TASKS, data={"drop": ["stars"]}, fusion=FUSION, train={"epochs": 3, "learning_rate": 0.02})
    return train_run(config, tmp_path_factory.mktemp("runs") / "run", data=data, check=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, new_config: Callable[..., Config], data: pa.Table) -> Bundle:
    tasks = {name: {key: task[key] for key in ("kind", "label")} for name, task in TASKS.items()}
    config = new_config(tasks, data={"drop": ["stars", "weight", "paid"]}, train={"epochs": 4, "learning_rate": 0.02})
    return train_run(config, tmp_path_factory.mktemp("plain") / "run", data=data, check=False).bundle


def test_a_run_decides_what_its_file_asks(run: RunResult, data: pa.Table) -> None:
    bundle = run.bundle
    assert set(bundle.decisions.calibration) == {"click", "topic"} and set(bundle.decisions.thresholds) == {"click"}
    found = bundle.predict(data)
    assert found.column_names[-2:] == ["click_label", "score"]
    assert bundle.decisions.thresholds["click"].reached["recall"] >= 0.8  # type: ignore[operator]
    scores = json.loads((run.path / "scores.json").read_text())["scores"]
    assert scores["validation"]["click"]["recall"] == pytest.approx(
        bundle.decisions.thresholds["click"].reached["recall"]
    )
    assert scores["test"]["click"].keys() >= {"precision", "recall", "f1"}


def test_curves_are_of_what_is_predicted(run: RunResult, data: pa.Table) -> None:
    bundle = run.bundle
    (rows,) = data.slice(0, 200).combine_chunks().to_batches()
    batch = to_batch(bundle.preprocessor.encode(rows, labels=True), bundle.preprocessor)
    plain, made = predict_observed(bundle.model, batch), predict_observed(bundle.model, batch, bundle.decisions)
    wanted = bundle.decisions.calibration["click"].map(plain["click"].predictions)
    np.testing.assert_allclose(made["click"].predictions, wanted, atol=1e-6)
    np.testing.assert_array_equal(made["visits"].predictions, plain["visits"].predictions)
    assert not np.allclose(made["click"].predictions, plain["click"].predictions)
    curve = json.loads((run.path / "diagnostics.json").read_text(encoding="utf-8"))["tasks"]["click"]["calibration"]
    lowest = bundle.decisions.calibration["click"].map.y[0]  # type: ignore[union-attr]
    assert min(curve["predicted"]) == pytest.approx(lowest)  # a whole bin lies on the lowest step


def test_the_value_is_no_feature(run: RunResult) -> None:
    assert "paid" not in run.bundle.preprocessor.feature_columns()


def test_the_trade_off_lies_beside_the_bundle(run: RunResult) -> None:
    data = json.loads((run.path / "fusion.json").read_text())
    fusion = run.bundle.decisions.fusion
    assert fusion is not None and data["weights"] == dict(fusion.weights)
    assert data["parts"]["validation"] == dict(fusion.reached) and data["parts"]["test"].keys() == fusion.reached.keys()
    assert data["parts"]["test"]["objective"] != data["parts"]["validation"]["objective"]


def test_evaluate_measures_the_score_where_it_can(run: RunResult, data: pa.Table) -> None:
    found = polytask.evaluate(run.bundle, data)
    assert found["score"].keys() == {"ndcg", "click_gauc", "rows"} and 0.5 < found["score"]["ndcg"] <= 1
    assert "score" not in polytask.evaluate(run.bundle, data.drop_columns(["paid"]))


def test_baselines_are_calibrated_alike_and_fuse_nothing(run: RunResult, data: pa.Table, tmp_path: Path) -> None:
    config = run.bundle.config
    short = config.train.model_copy(update={"baselines": True, "epochs": 1})
    train_run(config.model_copy(update={"train": short}), tmp_path / "run", data=data, check=False)
    alone = load_bundle(tmp_path / "run" / "baselines" / "click").decisions
    assert set(alone.calibration) == {"click"} and alone.fusion is None


def test_columns_are_looked_for_before_training(new_config: Callable[..., Config], data: pa.Table) -> None:
    config = new_config(("click",), fusion={"value": "payd > 1", "group": "usr"})
    with pytest.raises(UserError) as caught:
        open_tables(config, data)
    assert "fusion.group: column 'usr' does not exist; did you mean 'user'?" in str(caught.value)
    assert "fusion.value: " in str(caught.value) and "did you mean 'paid'" in str(caught.value)


def test_what_cannot_be_fitted_costs_no_training(
    new_config: Callable[..., Config], data: pa.Table, tmp_path: Path
) -> None:
    rare = {"kind": "binary", "label": "row == 3 or row == 4", "calibrate": "platt", "threshold": "f1"}
    config = new_config({"click": TASKS["click"], "rare": rare}, fusion={"value": "paid - 3", "group": "user"})
    result = train_run(config, tmp_path / "run", data=data, check=False)
    assert set(result.bundle.decisions.calibration) == {"click"} and result.bundle.decisions.fusion is None
    assert not (tmp_path / "run" / "fusion.json").exists()


def test_chained_tasks_calibrate_their_joint_probability(
    new_config: Callable[..., Config], data: pa.Table, tmp_path: Path
) -> None:
    chained = {"kind": "binary", "label": "visits > 1", "after": "click", "calibrate": "platt"}
    tasks = {"click": {"kind": "binary", "label": "click"}, "many": chained}
    config = new_config(tasks, data={"drop": ["stars", "topic", "weight", "spend"]}, fusion=FUSION)
    result = train_run(config, tmp_path / "run", data=data, check=False)
    assert set(result.bundle.decisions.calibration) == {"many", "many_joint"}
    assert tuple(result.bundle.decisions.fusion.weights) == ("click", "many_joint")  # type: ignore[union-attr]
    predicted = result.predict(data)
    known = data["click"].is_valid().to_numpy()
    happened = (data["click"].fill_null(0).to_numpy() == 1) & (data["visits"].to_numpy() > 1)
    assert predicted["many_joint"].to_numpy()[known].mean() == pytest.approx(happened[known].mean(), abs=0.05)


def test_calibrate_from_python(plain: Bundle, data: pa.Table) -> None:
    found = polytask.calibrate(plain, data, thresholds={"click": {"rate": 0.2}})
    assert {name: own.map.method for name, own in found.decisions.calibration.items()} == {
        "click": "isotonic", "topic": "temperature",
    }  # fmt: skip
    assert not plain.decisions and found.config.tasks["click"].calibrate == "isotonic"
    assert found.predict(data)["click_label"].to_numpy().mean() == pytest.approx(0.2, abs=0.08)

    other = polytask.calibrate(found, data, method="platt")
    assert other.decisions.calibration["click"].map.method == "platt"
    assert other.decisions.calibration["topic"] == found.decisions.calibration["topic"]
    before, after = found.decisions.thresholds["click"], other.decisions.thresholds["click"]
    assert before.rule == after.rule and before.value != after.value  # its rule was fitted again
    # labels do not depend on what a monotone map does to probabilities, but for the ties of steps
    assert after.reached["rate"] == pytest.approx(0.2, abs=0.01)

    assert plain.scores["test"].keys() - found.scores["test"].keys() == {"click", "topic"}

    kept = polytask.calibrate(found, data, method="keep", thresholds={"click": "f1"})
    assert kept.decisions.calibration == found.decisions.calibration
    none = polytask.calibrate(found, data, method="none")
    assert not none.decisions.calibration and none.predict(data)["click"].equals(plain.predict(data)["click"])


def test_fuse_from_python_and_what_calibration_then_does(plain: Bundle, data: pa.Table) -> None:
    fused, trade_off = polytask.fuse(plain, data, value="visits", group="user", tasks=["click", "spend"], samples=40)
    assert set(fused.decisions.fusion.weights) == {"click", "spend"}  # type: ignore[union-attr]
    assert fused.decisions.fusion == trade_off.fusion and fused.config.fusion.value == "visits"  # type: ignore[union-attr]
    with pytest.warns(UserWarning, match=r"fusion: its predictions have changed \(click\); fit it again"):
        anew = polytask.calibrate(fused, data, method="platt")
    assert anew.decisions.fusion is None and anew.config.fusion is None
    told: list[object] = []
    same = polytask.calibrate(fused, data, tasks=["topic"], tell=told.append)
    assert same.decisions.fusion == fused.decisions.fusion and not told


def test_mistakes_are_told_at_once(plain: Bundle, data: pa.Table) -> None:
    with pytest.raises(UserError) as caught:
        polytask.calibrate(plain, data, method="magic", tasks=["clik"], thresholds={"lke": "f1", "click": "f7"})  # type: ignore[arg-type]
    assert len(caught.value.problems) == 4 and "did you mean 'click'?" in str(caught.value)
    with pytest.raises(UserError, match=r"tasks\.spend\.calibrate: the predictions of 'spend', a regression task"):
        polytask.calibrate(plain, data, method="platt", tasks=["spend"])
    with pytest.raises(UserError, match=r"positive and .* negative rows are too few to calibrate on"):
        polytask.calibrate(plain, data.slice(0, 12), tasks=["click"])
    with pytest.raises(UserError, match=r"fusion\.group: column 'usr' does not exist in table; did you mean 'user'"):
        polytask.fuse(plain, data, value="paid", group="usr")
    with pytest.raises(UserError) as caught:
        polytask.fuse(plain, data, value="payd", group="usr", tasks=["clik"])
    assert [problem.where for problem in caught.value.problems] == [
        "fusion.tasks", "fusion.group", "fusion.value: expression 'payd'",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"fusion\.at: found 0"):
        polytask.fuse(plain, data, value="paid", group="user", at=0)
    with pytest.warns(UserWarning, match=r"fusion\.floors\.click: gauc .* where 0\.99 was asked for"):
        polytask.fuse(plain, data, value="paid", group="user", floors={"click": 0.99}, samples=20)


def test_the_commands(plain: Bundle, data: pa.Table, tmp_path: Path) -> None:
    plain.save(tmp_path / "plain")
    pq.write_table(data, tmp_path / "rows.parquet")

    def polytask_says(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [word.replace("DIR", str(tmp_path)) for word in words])
        if code:
            assert isinstance(result.exception, UserError)
            return str(result.exception)
        assert result.exit_code == 0, result.output
        return result.output

    said = polytask_says(
        "calibrate", "DIR/plain", "DIR/rows.parquet", "-o", "DIR/new", "--method", "platt",
        "--threshold", "click={precision=0.6}",
    )  # fmt: skip
    assert "cross-fitted" in said and "precision 0.6" in said and "DIR/new".replace("DIR", str(tmp_path)) in said
    said = polytask_says(
        "fuse", "DIR/new", "DIR/rows.parquet", "--value", "paid", "--group", "user", "--floor", "click=0.55",
        "--samples", "30", "--plot", "DIR/a.png", "--json", "DIR/a.json", "-o", "DIR/fused",
    )  # fmt: skip
    assert "click alone" in said and "floor" in said and (tmp_path / "a.png").stat().st_size > 5_000
    assert json.loads((tmp_path / "a.json").read_text())["floors"] == {"click": 0.55}
    polytask_says("predict", "DIR/fused", "DIR/rows.parquet", "-o", "DIR/out.parquet")
    assert pq.read_schema(tmp_path / "out.parquet").names[-2:] == ["click_label", "score"]
    wrong = ("fuse", "DIR/new", "DIR/rows.parquet", "--value", "paid", "--group", "user", "-o", "DIR/no")
    said = polytask_says(*wrong, "--floor", "click", code=2)
    assert said == "--floor click: not of the form TASK=VALUE; for example --floor like=0.6"
    said = polytask_says(*wrong, "--plot", "DIR/a.jpg", code=2)
    said_of_place = polytask_says(*wrong[:-1], "DIR/rows.parquet", code=2)
    assert "exists and is no bundle" in said_of_place
    assert "the ending '.jpg' is unknown" in said and not (tmp_path / "no").exists()
