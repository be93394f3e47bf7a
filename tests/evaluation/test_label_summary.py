"""Sums over labels against pandas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from polytask.evaluation import label_summary
from polytask.evaluation.label_summary import LabelsSummary, summarize_labels

TASKS = ("click", "topic", "stars", "spend", "visits")


@pytest.fixture
def summary(new_config: Callable[..., Any], prepared_run: Callable[..., Any]) -> Callable[..., LabelsSummary]:
    def build(table: pa.Table, tasks: Any = TASKS, **sections: Any) -> tuple[LabelsSummary, Any]:
        prepared = prepared_run(new_config(tasks, **sections), table)
        return summarize_labels(prepared.parts, prepared.preprocessor.labels, prepared.part_rows), prepared

    return build


def frames(prepared: Any) -> dict[str, pd.DataFrame]:
    """The labels of every part as training reads them, NaN where unknown."""
    found = {}
    for name in prepared.parts:
        batches = list(prepared.reader(name).ordered(10_000))
        columns = {}
        for task in prepared.preprocessor.tasks:
            values = np.concatenate([batch.labels[task].numpy() for batch in batches]).astype(float)
            known = np.concatenate([batch.observed[task].numpy() for batch in batches])
            columns[task] = np.where(known, values, np.nan)
        found[name] = pd.DataFrame(columns)
    return found


def test_it_is_what_pandas_finds(summary: Callable[..., Any], new_table: Callable[..., pa.Table]) -> None:
    found, prepared = summary(new_table(2_000, 3))
    parts = frames(prepared)
    train = parts["train"]
    assert found.share == 1.0
    for task in TASKS:
        own = found.labels[task]
        assert own.observed == {name: int(frame[task].notna().sum()) for name, frame in parts.items()}
        if task != "topic":
            assert own.std == pytest.approx(train[task].std(ddof=0))
            assert own.mean == pytest.approx({name: frame[task].mean() for name, frame in parts.items()})
    assert np.isnan(found.labels["topic"].std) and np.isnan(found.labels["topic"].mean["train"])
    names = prepared.preprocessor.labels[1].classes
    counts = {names[int(code)]: rows for code, rows in train["topic"].value_counts().items()}
    assert found.labels["topic"].classes == counts and set(counts) == {"art", "music", "sport"}
    assert found.labels["click"].classes == {"0": (train["click"] == 0).sum(), "1": (train["click"] == 1).sum()}
    assert found.labels["spend"].classes is None
    known = train.notna().to_numpy().astype(float)
    np.testing.assert_allclose(found.overlap, known.T @ known / len(train))
    expected = train.corr()
    expected.loc["topic"] = expected["topic"] = np.nan
    np.testing.assert_allclose(found.correlation, expected, atol=1e-9)


def test_large_numbers_keep_their_spread(summary: Callable[..., Any], table: pa.Table) -> None:
    data = table.append_column("big", pa.array(1e6 + table["age"].to_numpy()))
    tasks = {name: {"kind": "regression", "label": name} for name in ("big", "spend")}
    found, prepared = summary(data, tasks)
    frame = frames(prepared)["train"]
    np.testing.assert_allclose(found.correlation, frame.corr(), atol=1e-6)
    assert found.labels["big"].std == pytest.approx(frame["big"].std(ddof=0), rel=1e-6)


def test_a_label_that_is_constant_where_both_are_known_has_no_correlation(
    summary: Callable[..., Any], table: pa.Table
) -> None:
    found, _ = summary(table, ("click", "stars"))  # stars are known where click == 1
    assert np.isnan(found.correlation[0][1]) and np.isnan(found.correlation[1][0])
    assert np.diag(found.correlation) == pytest.approx(1.0)


def test_of_many_rows_some_are_read(
    summary: Callable[..., Any], new_table: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_summary, "MOST_ROWS", 1_000)
    found, prepared = summary(new_table(4_000, 3), ("click", "visits"))
    train = frames(prepared)["train"]
    assert found.share == 0.25
    assert found.labels["visits"].observed["train"] == len(train)
    assert found.labels["click"].observed["train"] == pytest.approx(train["click"].notna().sum(), rel=0.05)
    assert sum(found.labels["click"].classes.values()) == pytest.approx(train["click"].notna().sum(), rel=0.05)
