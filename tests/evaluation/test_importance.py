"""Permutation importance against shuffled raw tables, and where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from polytask.data.block import Block
from polytask.data.reader import to_batch
from polytask.evaluation import importance
from polytask.evaluation.importance import permutation_importance
from polytask.evaluation.predicted import predict_observed
from polytask.model import Model
from polytask.serving.bundle import fitted_model

TASKS = ("click", "topic", "stars", "spend", "visits")


@pytest.fixture
def made(new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table) -> Callable[..., Any]:
    def build(tasks: Any = TASKS, data: pa.Table | None = None, **sections: Any) -> tuple[Model, Any, Any]:
        config = new_config(tasks, **sections)
        prepared = prepared_run(config, table if data is None else data)
        torch.manual_seed(0)
        return fitted_model(config, prepared.preprocessor), prepared.preprocessor, prepared

    return build


def encoded(preprocessor: Any, data: pa.Table) -> Block:
    (batch,) = data.combine_chunks().to_batches()
    return preprocessor.encode(batch, labels=True)


def test_it_is_what_shuffled_raw_columns_give(made: Callable[..., Any], table: pa.Table) -> None:
    seconds = pa.array(np.random.default_rng(0).integers(0, 10**7, len(table)).astype("datetime64[s]"))
    options = {"history": {"kind": "sequence"}, "age": {"kind": "numeric", "encoding": "piecewise"}}
    data = table.append_column("at", seconds).append_column("old", pa.array(table["age"].to_numpy() > 40))
    model, preprocessor, _ = made(data=data, features=options)
    found = permutation_importance(model, preprocessor, encoded(preprocessor, data), seed=3)
    assert (found.rows, found.repeats) == (600, 3)
    chance = np.random.default_rng(3)
    data = data.take(chance.permutation(600))
    orders = [chance.permutation(600) for _ in range(3)]
    model.eval()

    def losses(raw: pa.Table) -> dict[str, float]:
        made = predict_observed(model, to_batch(encoded(preprocessor, raw), preprocessor))
        return {name: one.loss for name, one in made.items()}

    before = losses(data)
    assert set(found.tasks["click"]) == {"user", "item", "age", "history", "at", "old"}
    for column in found.tasks["click"]:
        place = data.schema.get_field_index(column)
        after = [losses(data.set_column(place, column, data[column].take(order))) for order in orders]
        for task in TASKS:
            rises = [one[task] / before[task] - 1 for one in after]
            assert found.tasks[task][column].rise == pytest.approx(np.mean(rises), abs=1e-6)
            assert found.tasks[task][column].spread == pytest.approx(np.std(rises), abs=1e-6)


def test_a_column_that_is_not_read_has_none(made: Callable[..., Any], table: pa.Table) -> None:
    model, preprocessor, _ = made(encoder={"norm": "none"})
    first, rows = preprocessor.space_rows()["vocabulary user"]
    with torch.no_grad():
        model.encoder.table[first : first + rows] = 0.0
    model.train()
    found = permutation_importance(model, preprocessor, encoded(preprocessor, table))
    assert model.training
    for task in TASKS:
        assert found.tasks[task]["user"].rise == pytest.approx(0.0, abs=1e-7)
        assert abs(found.tasks[task]["age"].rise) > 1e-6


def test_many_features_have_fewer_rows_and_repeats(
    made: Callable[..., Any], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, preprocessor, _ = made(("click",))
    monkeypatch.setattr(importance, "BUDGET", 4 * 2 * 100)
    monkeypatch.setattr(importance, "FEWEST_ROWS", 50)
    found = permutation_importance(model, preprocessor, encoded(preprocessor, table))
    assert (found.rows, found.repeats) == (100, 2)


def test_a_task_without_rows_has_none(made: Callable[..., Any], table: pa.Table) -> None:
    model, preprocessor, _ = made(("click", "spend"))
    block = encoded(preprocessor, table)
    block.observed[1] = False
    found = permutation_importance(model, preprocessor, block)
    assert np.isnan(found.tasks["spend"]["age"].rise) and np.isfinite(found.tasks["click"]["age"].rise)
