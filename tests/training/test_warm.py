from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console

from polytask.config import Config
from polytask.data.vocabulary import UNSEEN
from polytask.errors import UserError
from polytask.training.run import RunResult, train_run
from polytask.training.single import new_training
from polytask.training.warm import extended, roles_of

TASKS = ("click", "spend", "topic")


@pytest.fixture
def trained(tmp_path: Path, new_config: Callable[..., Config], table: pa.Table) -> RunResult:
    return train_run(new_config(TASKS), tmp_path / "first", data=table, check=False)


def with_new_ids(table: pa.Table) -> pa.Table:
    user = pa.array(np.asarray(table["user"]) + 25)  # 25 to 64: some known, some not
    item = pa.array(["figs" if value == "dates" else value for value in table["item"].to_pylist()])
    table = table.set_column(table.schema.get_field_index("user"), "user", user)
    return table.set_column(table.schema.get_field_index("item"), "item", item)


def warm_prepared(config: Config, trained: RunResult, prepared_run: Callable[..., Any], data: pa.Table) -> Any:
    from dataclasses import replace

    from polytask.tables import open_tables
    from polytask.training.prepared import prepare

    tables = open_tables(config, data)
    tables = replace(tables, roles=roles_of(trained.bundle.preprocessor, tables.roles))
    prepared = prepare(tables, buffer=1000)
    return replace(prepared, preprocessor=extended(trained.bundle.preprocessor, prepared.preprocessor))


def test_predictions_on_old_rows_are_unchanged_before_training(
    trained: RunResult, new_config: Callable[..., Config], prepared_run: Callable[..., Any],
    table: pa.Table, new_table: Callable[..., pa.Table],
) -> None:  # fmt: skip
    config = new_config(TASKS, train={"warm_start": str(trained.bundle_path)})
    prepared = warm_prepared(config, trained, prepared_run, with_new_ids(new_table(400, 5)))
    model = new_training(config, prepared, 9).model.eval()
    from polytask.serving import Bundle

    warm = Bundle(config, prepared.preprocessor, model, {})
    old, new = trained.predict(table), warm.predict(table)
    for name in ("click", "spend", "topic_music"):
        np.testing.assert_array_equal(old[name].to_numpy(), new[name].to_numpy())


def test_new_ids_get_rows_of_their_own_that_start_as_the_unseen_row(
    trained: RunResult, new_config: Callable[..., Config], prepared_run: Callable[..., Any],
    new_table: Callable[..., pa.Table],
) -> None:  # fmt: skip
    config = new_config(TASKS, train={"warm_start": str(trained.bundle_path)})
    prepared = warm_prepared(config, trained, prepared_run, with_new_ids(new_table(400, 5)))
    before, after = trained.bundle.preprocessor, prepared.preprocessor
    assert set(after.spaces["item"].values.to_pylist()) == {"apple", "bread", "cheese", "dates", "figs"}
    assert after.spaces["item"].values[:4] == before.spaces["item"].values
    old, model = trained.bundle.model.encoder.table, new_training(config, prepared, 9).model
    for name, (start, rows) in after.space_rows().items():
        source, known = before.space_rows()[name]
        assert torch.equal(model.encoder.table[start : start + known], old[source : source + known])
        fresh = model.encoder.table[start + known : start + rows]
        assert torch.equal(fresh, old[source + UNSEEN].expand_as(fresh))
        assert (rows > known) == (name in ("vocabulary item", "vocabulary user")), name


def test_a_warm_run_goes_on_learning_and_its_bundle_knows_the_new_ids(
    tmp_path: Path, trained: RunResult, new_config: Callable[..., Config], new_table: Callable[..., pa.Table]
) -> None:
    data = with_new_ids(new_table(400, 5))
    config = new_config(TASKS, train={"warm_start": str(trained.bundle_path), "baselines": True, "epochs": 1})
    warm = train_run(config, tmp_path / "warm", data=data, check=False)
    from polytask.serving import predict_to

    def unseen(run: RunResult) -> int:
        return predict_to(run.bundle, data, tmp_path / "out.parquet").unseen.get("user", 0)

    assert unseen(trained) > 100 and unseen(warm) < 20  # those of the validation and test rows only
    assert warm.baselines.keys() == set(TASKS)


def test_small_new_data_are_read_as_the_bundle_reads_them(
    tmp_path: Path, trained: RunResult, new_config: Callable[..., Config], table: pa.Table
) -> None:
    few = table.slice(0, 60).set_column(table.schema.get_field_index("age"), "age", pa.array([40.0] * 60))
    config = new_config(TASKS, train={"warm_start": str(trained.bundle_path), "epochs": 1})
    warm = train_run(config, tmp_path / "warm", data=few, check=False)
    assert warm.bundle.preprocessor.columns[2] == trained.bundle.preprocessor.columns[2]


def test_another_architecture_is_refused(
    tmp_path: Path, trained: RunResult, new_config: Callable[..., Config], table: pa.Table
) -> None:
    for change in ({"sharing": {"use": "ple"}}, {"encoder": {"embedding": 8}}, {"towers": {"widths": [3]}}):
        config = new_config(TASKS, train={"warm_start": str(trained.bundle_path)}, **change)
        with pytest.raises(UserError, match=r"train.warm_start: the bundle's architecture differs \(.*use encoder"):
            train_run(config, tmp_path / "warm", data=table, check=False)


def test_columns_that_the_bundle_lacks_are_named_and_missing_ones_refused(
    trained: RunResult, new_config: Callable[..., Config], table: pa.Table, tmp_path: Path
) -> None:
    config = new_config(TASKS, train={"warm_start": str(trained.bundle_path), "steps": 1})
    console = Console(file=io.StringIO(), width=300)
    wider = table.append_column("shop", pa.array([f"shop {row % 7}" for row in range(len(table))]))
    train_run(config, tmp_path / "wider", data=wider, check=False, console=console)
    assert "train.warm_start: the bundle does not know shop: not used" in console.file.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(
        UserError, match=r"column 'age': is a feature of the bundle in train\.warm_start, and the table"
    ):
        train_run(config, tmp_path / "narrower", data=table.drop_columns(["age"]), check=False)


def test_other_tasks_are_refused(
    tmp_path: Path, trained: RunResult, new_config: Callable[..., Config], table: pa.Table
) -> None:
    config = new_config(("click", "visits"), train={"warm_start": str(trained.bundle_path)})
    with pytest.raises(UserError, match=r"the bundle has the tasks click \(binary\), spend \(regression\), topic"):
        train_run(config, tmp_path / "warm", data=table, check=False)


def test_text_where_numbers_were_is_refused(
    tmp_path: Path, trained: RunResult, new_config: Callable[..., Config], table: pa.Table
) -> None:
    names = pa.array([f"u{value}" for value in table["user"].to_pylist()])
    changed = table.set_column(table.schema.get_field_index("user"), "user", names)
    config = new_config(TASKS, train={"warm_start": str(trained.bundle_path)})
    with pytest.raises(UserError, match="column 'user': held numbers when the bundle was trained, holds text now"):
        train_run(config, tmp_path / "warm", data=changed, check=False)
