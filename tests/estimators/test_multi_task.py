"""Fits and predictions: kinds of tables, classes of one's own, labels that are not observed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score
from sklearn.neural_network import MLPRegressor

import polytask
from polytask.estimators import InputError, MultiTaskClassifier, MultiTaskEstimator, MultiTaskRegressor
from polytask.training.loop import EvaluationRecord

SMALL: dict[str, Any] = {
    "epochs": 12, "batch_size": 32, "experts": 2, "widths": (16,), "tower_widths": (), "learning_rate": 0.01,
    "random_state": 0,
}  # fmt: skip
KINDS = {"click": "binary", "spend": "regression", "stars": "ordinal"}


def mixed(rows: int = 400) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns of all types with gaps, and labels that follow two of them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, rows),
            "town": rng.choice(["a", "b", "c"], rows),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D"),
            "kind": pd.Categorical(rng.choice(["u", "v"], rows)),
            "member": rng.random(rows) < 0.5,
        },
        index=np.arange(rows) * 3,
    )
    taste = (frame["age"] - 40) / 10 + 2 * (frame["town"] == "a")
    labels = {
        "click": np.where(taste > 0.5, "yes", "no"),
        "spend": 100 * taste,
        "stars": np.clip(np.round(taste + 2), 0, 4).astype(int),
    }
    frame.loc[frame.index[::17], "age"] = np.nan
    frame.loc[frame.index[3], "town"] = None
    return frame, pd.DataFrame(labels, index=frame.index)


@pytest.fixture(scope="module")
def fitted() -> tuple[MultiTaskEstimator, pd.DataFrame, pd.DataFrame]:
    X, y = mixed()
    return MultiTaskEstimator(tasks=KINDS, **{**SMALL, "epochs": 30}).fit(X, y), X, y


def test_a_frame_in_gives_a_frame_out(fitted: Any) -> None:
    model, X, y = fitted
    found = model.predict(X)
    assert found.index.equals(X.index)
    assert list(found.columns) == list(model.task_names_) == list(y)
    assert set(found["click"]) == {"yes", "no"}
    assert (found["click"] == y["click"]).mean() > 0.85
    assert r2_score(y["spend"], found["spend"]) > 0.8
    click, stars = model.predict_proba(X)
    assert click.shape == (400, 2) and stars.shape == (400, 5)
    np.testing.assert_allclose(stars.sum(1), 1.0)
    parts = [accuracy_score(y["click"], found["click"]), r2_score(y["spend"], found["spend"])]
    parts.append(accuracy_score(y["stars"], found["stars"]))
    assert model.score(X, y) == pytest.approx(np.mean(parts))


def test_predictions_are_those_of_the_saved_bundle(fitted: Any, tmp_path: Path) -> None:
    model, X, _ = fitted
    found = model.predictions(X)
    assert list(found) == ["click", "spend", "stars_0", "stars_1", "stars_2", "stars_3", "stars_4"]
    saved = polytask.load(model.save(tmp_path / "bundle"))
    assert saved.predict(X).equals(pa.Table.from_pandas(found, preserve_index=False).cast(saved.predict(X).schema))
    np.testing.assert_array_equal(found["click"], model.predict_proba(X)[0][:, 1].astype(np.float32))


def test_every_kind_of_table_gives_the_same(fitted: Any) -> None:
    model, X, _ = fitted
    plain = X.reset_index(drop=True)
    polars, arrow = pl.from_pandas(plain), pa.Table.from_pandas(plain)
    assert isinstance(model.predict(polars), pl.DataFrame) and isinstance(model.predict(arrow), pa.Table)
    assert model.predict(polars)["click"].to_list() == model.predict(X)["click"].tolist()
    assert model.predict(arrow)["stars"].to_pylist() == model.predict(X)["stars"].tolist()
    X, y = mixed(100)
    a = MultiTaskEstimator(tasks=KINDS, **SMALL).fit(X, y)
    b = MultiTaskEstimator(tasks=KINDS, **SMALL).fit(pl.from_pandas(X), pl.from_pandas(y))
    np.testing.assert_array_equal(a.predict_proba(X)[0], b.predict_proba(pl.from_pandas(X))[0])


def test_kinds_are_read_off_the_labels() -> None:
    X, y = mixed(200)
    model = MultiTaskEstimator(**SMALL).fit(X, y)
    assert [task.kind for task in model.bundle_.model.tasks] == ["binary", "regression", "multiclass"]
    alone = MultiTaskEstimator(**SMALL).fit(X, y["spend"])
    assert alone.predict(X).shape == (200,) and not hasattr(alone, "predict_proba")


def test_tasks_may_be_tables() -> None:
    X, y = mixed(200)
    y["buy"] = np.where(y["click"] == "yes", (y["spend"] > 100).astype(float), np.nan)
    y["mood"] = np.where(y["spend"] > 150, "high", np.where(y["spend"] > 0, "mid", "low"))
    tasks = {"click": "binary", "buy": {"kind": "binary", "after": "click"}}
    tasks["mood"] = {"kind": "ordinal", "classes": ["low", "mid", "high"]}
    model = MultiTaskEstimator(tasks=tasks, **{**SMALL, "epochs": 30}).fit(X, y)
    found = model.predictions(X)
    assert list(found) == ["click", "buy", "mood_low", "mood_mid", "mood_high", "buy_joint"]
    np.testing.assert_allclose(found["buy_joint"], found["click"] * found["buy"], rtol=1e-5)
    assert (model.predict(X)["mood"] == y["mood"]).mean() > 0.7


@pytest.mark.parametrize(
    "classes", [["no", "yes"], [3, 7], [False, True], [0.0, 1.0], [-1, 1], ["b", "a", "c"], [10, 20, 30]], ids=str
)
def test_classes_of_ones_own(classes: list[Any]) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(150, 2))
    y = np.array(classes)[np.digitize(X[:, 0], [0.0, 0.7][: len(classes) - 1])]
    model = MultiTaskClassifier(**SMALL).fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.classes_.dtype == y.dtype
    found = model.predict(X)
    assert found.dtype == y.dtype and (found == y).mean() > 0.75 and model.score(X, y) == (found == y).mean()
    np.testing.assert_array_equal(found, model.classes_[model.predict_proba(X).argmax(1)])


def test_labels_that_are_not_observed() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 2))
    y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(float)
    y[:150, 0], y[150:, 1] = np.nan, np.nan
    model = MultiTaskClassifier(**SMALL).fit(X, y)
    assert [stats.rows for stats in model.bundle_.preprocessor.stats.values()] == [150, 150]
    assert all(classes.tolist() == [0.0, 1.0] for classes in model.classes_)
    found = model.predict(X)
    assert found.shape == (300, 2) and ((found == 1) == (X > 0)).mean() > 0.9
    known = (found[150:, 0] == y[150:, 0]).mean(), (found[:150, 1] == y[:150, 1]).mean()
    assert model.score(X, y) == pytest.approx(np.mean(known))
    words = np.where(np.isnan(y), None, np.where(y == 1, "yes", "no"))
    assert MultiTaskClassifier(**SMALL).fit(X, words).score(X, words) == model.score(X, y)


def test_a_regressor_is_as_good_as_a_perceptron_per_task() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(600, 4))
    y = np.column_stack([np.sin(X[:, 0]) + X[:, 1], 1000 * np.abs(X[:, 1])]) + rng.normal(size=(600, 2)) * [0.1, 100]
    model = MultiTaskRegressor(**{**SMALL, "epochs": 40, "experts": 4}).fit(X[:400], y[:400])
    alone = MLPRegressor(max_iter=400, early_stopping=True, random_state=0)
    reference = [alone.fit(X[:400], one[:400]).score(X[400:], one[400:]) for one in (y / y.std(0)).T]
    assert model.score(X[400:], y[400:]) > np.mean(reference) - 0.02
    assert model.score(X[400:], y[400:]) == pytest.approx(r2_score(y[400:], model.predict(X[400:])))


def test_rows_of_weight_zero_are_not_there() -> None:
    rng = np.random.default_rng(4)
    X, weights = rng.normal(size=(120, 3)), rng.integers(0, 3, 120).astype(float)
    y = X[:, 0] + rng.normal(size=120)
    a = MultiTaskRegressor(**SMALL).fit(X, y, sample_weight=weights)
    b = MultiTaskRegressor(**SMALL).fit(X[weights > 0], y[weights > 0], sample_weight=weights[weights > 0])
    c = MultiTaskRegressor(**SMALL).fit(X[weights > 0], y[weights > 0])
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    assert not np.allclose(a.predict(X), c.predict(X))


def test_the_seed_decides_and_torch_is_left_alone() -> None:
    X, y = mixed(120)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    a, b = (MultiTaskRegressor(**SMALL).fit(X, y["spend"]) for _ in range(2))
    other = MultiTaskRegressor(**{**SMALL, "random_state": 1}).fit(X, y["spend"])
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    assert not np.allclose(a.predict(X), other.predict(X))


def test_validation_rows_select_the_weights() -> None:
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(200, 20)), rng.normal(size=200)  # nothing to learn: later weights are worse
    options = {**SMALL, "validation_fraction": 0.3, "patience": 2, "epochs": 25, "learning_rate": 0.02}
    model = MultiTaskRegressor(**options).fit(X, y)
    evaluations = [record for record in model.history_ if isinstance(record, EvaluationRecord)]
    best = max(evaluations, key=lambda record: record.score)
    assert len(evaluations) < 25 and best is evaluations[-3]
    assert model.bundle_.scores["validation"] == best.scores
    assert model.n_iter_ == evaluations[-1].step
    whole = MultiTaskRegressor(**{**options, "validation_fraction": 0.0}).fit(X, y)
    assert whole.n_iter_ == 25 * 7 and not whole.bundle_.scores
    assert whole.score(X, y) > model.score(X, y)


def test_names_of_labels_need_not_be_free() -> None:
    X, y = mixed(100)
    X["y"] = np.arange(100.0)
    assert MultiTaskRegressor(**SMALL).fit(X, y["spend"].to_numpy()).task_names_ == ("y",)
    with pytest.raises(InputError, match="column 'spend': is in X and in y; take it out of X"):
        MultiTaskRegressor(**SMALL).fit(X.assign(spend=1.0), y["spend"])


def test_pickles_predict_the_same(fitted: Any) -> None:
    model, X, _ = fitted
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))  # noqa: S301


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sharing": "mmeo"}, r"sharing.use: nothing is named 'mmeo'.*did you mean 'mmoe'\?"),
        ({"epochs": 0, "batch_size": 0}, r"(?s)2 problems.*train.epochs: found 0.*train.batch_size: found 0"),
        ({"sharing": "shared_bottom"}, "sharing.experts: unknown option of shared_bottom"),
        ({"validation_fraction": 1.5}, "validation_fraction: is 1.5; choose a share below 1"),
        ({"config": {"train": {"seeds": 3}}}, "config.train.seeds: belongs to runs with a folder.*use polytask.fit"),
        ({"features": {"town": {"kindd": "drop"}}}, r"features.town.kindd: unknown key.*did you mean 'kind'\?"),
        ({"tasks": {"clik": "binary"}}, r"y, column 'clik': is missing; did you mean 'click'\?"),
        ({"tasks": {"click": "binry"}}, r"tasks.click.kind: is 'binry'; did you mean 'binary'\?"),
        ({"tasks": {"click": "regression"}}, "y, column 'click': holds no numbers"),
        ({"tasks": {"click": {"kind": "binary", "label": "x"}}}, "tasks.click.label: is the column of y"),
        ({"tasks": {"click": {"kind": "binary", "gama": 2}}}, r"tasks.click.gama.*did you mean 'gamma'\?"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiTaskEstimator(**{**SMALL, **options}).fit(*mixed(60))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array(["a"] * 60), "y, column 'y': has 1 class, .*'a'.*; a classifier needs rows of at least 2"),
        (np.array(["a", 1] * 30, dtype=object), "y, column 'y': mixes int and str; convert"),
        (np.full(60, np.nan), "y, column 'y': has no class: no label is observed"),
        (np.linspace(0, 1, 60), "Unknown label type: continuous"),
    ],
)
def test_what_is_wrong_with_classes_is_said(y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiTaskClassifier(**SMALL).fit(mixed(60)[0], y)


def test_what_is_wrong_with_weights_and_columns_is_said(fitted: Any) -> None:
    X, y = mixed(60)
    for weights, message in (([1.0] * 59, "has the shape"), ([-1.0] * 60, "60 of 60 are negative")):
        with pytest.raises(InputError, match=f"sample_weight: {message}"):
            MultiTaskRegressor(**SMALL).fit(X, y["spend"], sample_weight=weights)
    with pytest.raises(InputError, match="y: has 2 columns for 3 tasks"):
        fitted[0].score(X, np.zeros((60, 2)))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted[0].predict(X.drop(columns="age"))
    with pytest.raises(InputError, match="column 'mix': mixed types"):
        MultiTaskRegressor(**SMALL).fit(X.assign(mix=[1, "a"] * 30), y["spend"])
