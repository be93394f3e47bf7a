from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest
import torch

import polytask
from polytask.errors import UserError

SMALL = {"epochs": 2, "batch_size": 64, "device": "cpu"}
PARTS: dict[str, Any] = {
    "sharing": {"use": "mmoe", "experts": 2, "widths": [8]},
    "drop": ["row", "weight"],
    "train": SMALL,
    "verbose": False,
}


@pytest.fixture
def flat(table: pa.Table) -> pa.Table:
    return table.drop_columns(["history"])


def as_path(table: pa.Table, folder: Path) -> Path:
    pq.write_table(table, folder / "log.parquet")
    return folder / "log.parquet"


def as_csv(table: pa.Table, folder: Path) -> str:
    pc_csv.write_csv(table, folder / "log.csv")
    return str(folder / "log.csv")


@pytest.mark.parametrize(
    "convert",
    [
        lambda table, folder: table,
        lambda table, folder: table.to_pandas(),
        lambda table, folder: pl.from_arrow(table),
        lambda table, folder: {
            name: column.to_pylist() for name, column in zip(table.column_names, table, strict=True)
        },
        as_path,
        as_csv,
    ],
    ids=["arrow", "pandas", "polars", "mapping", "parquet", "csv"],
)
def test_every_kind_of_table_gives_the_same_run(convert: Callable[..., Any], flat: pa.Table, tmp_path: Path) -> None:
    tasks = {"click": "binary", "spend": "regression"}
    drop = [*PARTS["drop"], "topic", "stars", "visits"]
    expected = polytask.fit(flat, tasks=tasks, **{**PARTS, "drop": drop})
    found = polytask.fit(convert(flat, tmp_path), tasks=tasks, **{**PARTS, "drop": drop})
    assert found.scores == expected.scores


def test_kinds_are_read_off_the_labels(flat: pa.Table, tmp_path: Path) -> None:
    run = polytask.fit(
        flat, tasks=["click", "topic", "spend", "visits"], **{**PARTS, "drop": ["row", "weight", "stars"]}
    )
    assert {task.name: task.kind for task in run.bundle.model.tasks} == {
        "click": "binary", "topic": "multiclass", "spend": "regression", "visits": "count",
    }  # fmt: skip
    assert set(run.scores) == {"validation", "test"} and run.scores["test"]["click"]["auc"] > 0.55
    frame = pd.DataFrame({"user": [1, 99], "item": ["apple", "kiwi"], "age": [40.0, None]})
    found = run.predict(frame)
    assert found.column_names == ["click", "topic_art", "topic_music", "topic_sport", "spend", "visits"]
    saved = run.save(tmp_path / "saved")
    assert polytask.load(saved).predict(frame).equals(found)
    assert polytask.predict(saved, frame).equals(found)
    assert polytask.evaluate(saved, flat).keys() == {"click", "topic", "spend", "visits"}


def test_two_words_are_a_binary_label(flat: pa.Table) -> None:
    words = pa.array(["yes" if value else "no" for value in flat["visits"].to_pylist()])
    data = flat.append_column("came", words)
    run = polytask.fit(data, tasks=["came"], **{**PARTS, "drop": [*PARTS["drop"], "visits"]})
    config = json.loads((run.bundle_path / "schema.json").read_text())
    assert config["preprocessing"]["labels"][0]["classes"] == ["no", "yes"]


def test_mistakes_are_told_together(flat: pa.Table) -> None:
    with pytest.raises(UserError) as caught:
        polytask.fit(flat, tasks=["clik", "spand"], **PARTS)
    assert [problem.remedy for problem in caught.value.problems] == ["did you mean 'click'?", "did you mean 'spend'?"]
    constant = flat.append_column("one", pa.array([1] * len(flat))).append_column("none", pa.nulls(len(flat)))
    with pytest.raises(UserError) as caught:
        polytask.fit(constant, tasks=["one", "none"], **PARTS)
    assert "is constant: 1" in caught.value.problems[0].what and "holds no value" in caught.value.problems[1].what
    with pytest.raises(UserError, match=r"train.epoch: .*did you mean 'epochs'"):
        polytask.fit(flat, tasks=["click"], **{**PARTS, "train": {"epoch": 1}})
    with pytest.raises(UserError, match="did you mean 'mmoe'"):
        polytask.fit(flat, tasks=["click"], **{**PARTS, "sharing": "mmeo"})


def test_given_parts_and_a_kept_folder(flat: pa.Table, new_table: Callable[..., pa.Table], tmp_path: Path) -> None:
    parts = {
        name: new_table(200, seed).drop_columns(["history"]) for seed, name in enumerate(("validation", "test"), 5)
    }
    run = polytask.fit(
        flat, tasks={"spend": {"kind": "regression", "label": "spend", "where": "click == 1"}},
        out=tmp_path / "run", **parts, **{**PARTS, "drop": [*PARTS["drop"], "topic", "stars", "visits"]},
    )  # fmt: skip
    inside = np.asarray(parts["test"]["click"].fill_null(0)) == 1
    assert run.scores["test"]["spend"]["rows"] == int((inside & parts["test"]["spend"].is_valid().to_numpy()).sum())
    assert run.path == tmp_path / "run" and (run.path / "bundle" / "MODEL_CARD.md").exists()
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["data"].keys() == {"train", "validation", "test"} and environment["packages"]["torch"]


def doubled(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return 2 * torch.nn.functional.binary_cross_entropy_with_logits(logits[..., 0], labels, reduction="none")


def test_a_loss_may_be_a_function_that_has_an_import_path(flat: pa.Table, tmp_path: Path) -> None:
    click = {"kind": "binary", "label": "click"}
    run = polytask.fit(flat, tasks={"click": {**click, "loss": doubled}}, **PARTS)
    assert run.predict(flat).num_rows == flat.num_rows
    assert f'loss = "{__name__}:doubled"' in (run.save(tmp_path / "bundle") / "config.toml").read_text()
    with pytest.raises(UserError, match=r"tasks.click.loss: <function .*lambda.* import path"):
        polytask.fit(flat, tasks={"click": {**click, "loss": lambda logits, labels: labels}}, **PARTS)


def test_one_name_does_as_a_list_of_one(flat: pa.Table) -> None:
    run = polytask.fit(flat, tasks="click", keys="row", split="random", **{**PARTS, "drop": "weight"})
    assert run.predict(flat).column_names == ["row", "click"]
    with pytest.raises(UserError, match="no column '3'"):
        polytask.fit(flat, tasks=[3], **PARTS)  # type: ignore[list-item]
