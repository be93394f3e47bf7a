"""Segments against the same reports on the rows of each value."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from polytask.data.reader import to_batch
from polytask.evaluation import report_gates, score
from polytask.evaluation.segments import segment
from polytask.serving.bundle import fitted_model


@pytest.fixture
def made(new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table) -> tuple[Any, ...]:
    config = new_config(("click", "spend"))
    preprocessor = prepared_run(config, table).preprocessor
    torch.manual_seed(0)
    (batch,) = table.combine_chunks().to_batches()
    return fitted_model(config, preprocessor), preprocessor, preprocessor.encode(batch, labels=True)


def test_every_value_has_the_gates_and_scores_of_its_rows(made: tuple[Any, ...], table: pa.Table) -> None:
    model, preprocessor, block = made
    found = segment(model, preprocessor, block, "item", table["item"])
    counts = table["item"].to_pandas().value_counts()
    assert sorted(found.values) == sorted(counts.index) and found.rows == tuple(counts[list(found.values)])
    assert list(found.rows) == sorted(found.rows, reverse=True)
    for place, value in enumerate(found.values):
        rows = np.flatnonzero(table["item"].to_numpy(zero_copy_only=False) == value)
        batch = to_batch(block.take(rows), preprocessor)
        ((level,), _), scores = report_gates(model, [batch]), score(model, [batch])
        assert found.gates["level1"][place] == level.mean
        assert found.scores["click"]["values"][place] == scores["click"]["auc"]
    assert found.scores["click"]["metric"] == "auc" and found.scores["spend"]["metric"] == "r2"


def test_the_most_frequent_values_and_missing_ones(made: tuple[Any, ...]) -> None:
    model, preprocessor, block = made
    values = pa.array([None if row % 2 else row % 40 for row in range(600)])
    found = segment(model, preprocessor, block, "x", values)
    assert found.values[0] is None and found.rows[0] == 300
    assert len(found.values) == 8 and all(isinstance(value, int) for value in found.values[1:])
    yes = segment(model, preprocessor, block, "x", pa.array([row % 3 == 0 for row in range(600)]))
    assert yes.values == (False, True) and yes.rows == (400, 200)


@pytest.mark.parametrize("values", [["a", None, "b"] * 200, [None] * 600, [datetime(2026, 1, 1), None, None] * 200])
def test_values_of_all_types(made: tuple[Any, ...], values: list[Any]) -> None:
    model, preprocessor, block = made
    plain = pa.array(values)
    types = [plain] if plain.null_count == 600 else [plain, plain.dictionary_encode(), pa.chunked_array([plain])]
    for array in types:
        found = segment(model, preprocessor, block, "x", array)
        assert sum(found.rows) == 600 and found.rows[found.values.index(None)] == plain.null_count
        json.dumps(found.values)
