from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from sklearn.metrics import log_loss, roc_auc_score

import polytask
from polytask.config import Config
from polytask.errors import UserError
from polytask.evaluation import evaluate_bundle, score, selection_score
from polytask.training.run import RunResult, train_run

TASKS = {
    "click": {"kind": "binary", "label": "click", "group": "user", "exact_auc": True},
    "topic": {"kind": "multiclass", "label": "topic"},
    "bought": {"kind": "binary", "label": "spend > 0", "where": "click == 1", "weight": "weight", "exact_auc": True},
    "spend": {"kind": "regression", "label": "spend", "weight": "weight"},
}


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, new_config: Callable[..., Config], new_table: Callable[..., pa.Table]
) -> RunResult:
    config = new_config(TASKS, data={"drop": ["stars", "visits", "row"]})
    return train_run(config, tmp_path_factory.mktemp("scores") / "run", data=new_table(), check=False)


@pytest.fixture
def fresh(new_table: Callable[..., pa.Table]) -> pa.Table:
    return new_table(500, 9)


def columns(table: pa.Table, *names: str) -> list[np.ndarray]:
    return [table[name].to_numpy(zero_copy_only=False).astype(float) for name in names]


def test_metrics_are_those_of_the_observed_rows_of_the_sample_space(run: RunResult, fresh: pa.Table) -> None:
    found = evaluate_bundle(run.bundle, fresh)
    predicted = run.predict(fresh)
    click, spend, weight = columns(fresh, "click", "spend", "weight")
    seen = ~np.isnan(click)
    (p,) = columns(predicted, "click")
    assert found["click"]["rows"] == seen.sum() < 500
    assert found["click"]["auc"] == pytest.approx(roc_auc_score(click[seen], p[seen]), abs=1e-6)
    assert found["click"]["log_loss"] == pytest.approx(log_loss(click[seen], p[seen]), rel=1e-5)
    inside = (click == 1) & ~np.isnan(spend)
    (p,) = columns(predicted, "bought")
    assert found["bought"]["rows"] == inside.sum()
    expected = roc_auc_score(spend[inside] > 0, p[inside], sample_weight=weight[inside])
    assert found["bought"]["auc"] == pytest.approx(expected, abs=1e-6)
    inside = ~np.isnan(spend)
    (p,) = columns(predicted, "spend")
    expected = np.sqrt(np.average((spend[inside] - p[inside]) ** 2, weights=weight[inside]))
    assert found["spend"]["rmse"] == pytest.approx(expected, rel=1e-5)


def test_grouped_auc_is_the_mean_over_users(run: RunResult, fresh: pa.Table) -> None:
    found = evaluate_bundle(run.bundle, fresh)
    assert "gauc" in found["click"] and "gauc" not in found["bought"]
    click, user = columns(fresh, "click", "user")
    (p,) = columns(run.predict(fresh), "click")
    parts = []
    for one in np.unique(user):
        rows = (user == one) & ~np.isnan(click)
        if 0 < click[rows].sum() < rows.sum():
            parts.append((roc_auc_score(click[rows], p[rows]), rows.sum()))
    aucs, sizes = zip(*parts, strict=True)
    assert found["click"]["gauc"] == pytest.approx(np.average(aucs, weights=sizes), abs=1e-6)


def test_what_is_undefined_is_nan_and_does_not_select(run: RunResult, fresh: pa.Table) -> None:
    index = fresh.schema.get_field_index
    ones = fresh.set_column(index("click"), "click", pa.array([1] * 500))
    ones = ones.set_column(index("spend"), "spend", pa.nulls(500, pa.float64()))
    found = evaluate_bundle(run.bundle, ones)
    assert math.isnan(found["click"]["auc"]) and found["click"]["log_loss"] > 0
    assert math.isnan(found["spend"]["rmse"]) and found["spend"]["rows"] == 0
    known = [found[name]["improvement"] for name in ("click", "topic")]
    assert selection_score(found) == pytest.approx(sum(known) / 2)
    assert math.isnan(selection_score({name: {"improvement": math.nan} for name in found}))


def test_the_bundles_scores_are_those_of_its_own_test_rows(
    run: RunResult, fresh: pa.Table, tmp_path: Path, new_config: Callable[..., Config]
) -> None:
    config = new_config(TASKS, data={"drop": ["stars", "visits", "row"]})
    given = train_run(config, tmp_path / "run", data=fresh, validation=fresh, test=fresh, check=False)
    assert given.scores["test"] == given.scores["validation"] == evaluate_bundle(given.bundle, fresh)
    assert given.bundle.scores == given.scores


def test_missing_labels_and_foreign_classes_are_told(run: RunResult, fresh: pa.Table) -> None:
    with pytest.raises(UserError) as caught:
        polytask.evaluate(run.bundle_path, fresh.drop_columns(["topic", "weight"]))
    text = str(caught.value)
    assert "column 'topic': is missing (the model reads it as a label)" in text and "column 'weight'" in text


def test_what_was_guessed_or_left_out_is_told(run: RunResult, fresh: pa.Table) -> None:
    topics = pa.array(["war"] * 100 + fresh["topic"].to_pylist()[100:])
    users = pa.array([1000] * 7 + fresh["user"].to_pylist()[7:])
    other = fresh.set_column(fresh.schema.get_field_index("topic"), "topic", topics)
    other = other.set_column(fresh.schema.get_field_index("user"), "user", users)
    console = Console(file=io.StringIO(), width=60)
    found = evaluate_bundle(run.bundle, other, console)
    assert found["topic"]["rows"] == 400
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "100 rows of topic have a class that training had not seen; they are not scored" in text
    assert "values not seen in training: user 7" in text and "values missing or infinite: age" in text


def test_scoring_leaves_the_model_in_its_mode(run: RunResult, fresh: pa.Table) -> None:
    from polytask.data.reader import to_batch

    bundle = run.bundle
    rows: Any = fresh.combine_chunks().to_batches()[0]
    bundle.model.train()
    score(
        bundle.model, [to_batch(bundle.preprocessor.encode(rows, labels=True), bundle.preprocessor)], {"click": "user"}
    )
    assert bundle.model.training
    assert all(not parameter.grad for parameter in bundle.model.parameters())
