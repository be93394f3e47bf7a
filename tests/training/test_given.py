"""What functions are given beside a table, and what they refuse."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import polytask
from polytask.errors import UserError
from polytask.training.given import given

SMALL = {"epochs": 1, "device": "cpu"}


def of(data: Any, **options: Any) -> Any:
    unset = {"tasks": None, "train": None, "more": None}
    return given(data, allow_code=(), read=lambda file: ("read", file), otherwise=dict, **{**unset, **options})


def test_further_tables_stand_beside_what_is_given(table: pa.Table) -> None:
    more = {"data": {"drop": ["topic"], "keys": ["row"]}, "train": {"epochs": 9, "seed": 3}, "sharing": {"use": "ple"}}
    config, _, rows = of(table, tasks=["click", "spend"], train={"epochs": 1}, more=more)
    assert config.data.drop == ("topic",) and config.data.keys == ("row",) and config.data.source == "memory"
    assert (config.train.epochs, config.train.seed, config.sharing.use) == (1, 3, "ple")
    assert [task.kind for task in config.tasks.values()] == ["binary", "regression"]
    assert rows.rows == len(table)


def test_a_configuration_has_its_own_tables(table: pa.Table) -> None:
    config, _, _ = of(table, tasks=["click", "spend"])
    assert of(config)[0] is config and of("log.toml")[:2] == ("read", of("log.toml")[1])
    with pytest.raises(UserError, match="tasks, train, config: given beside a configuration"):
        of(config, more={"data": {"drop": ["topic"]}})
    with pytest.raises(UserError, match="tasks: missing"):
        of(table)
    with pytest.raises(UserError, match=r"label clik: no column 'clik'.*did you mean 'click'"):
        of(table, tasks=["clik"])
    with pytest.raises(UserError, match=r"shering: unknown key.*did you mean 'sharing'"):
        of(table, tasks=["click"], more={"shering": {}})


def test_fit_takes_further_tables_and_says_what_it_is(table: pa.Table) -> None:
    run = polytask.fit(
        table, tasks={"click": "binary", "spend": "regression"}, drop=["row", "weight", "topic"],
        sharing="shared_bottom", train=SMALL, config={"encoder": {"embedding": 3}, "data": {"keys": ["stars"]}},
        verbose=False,
    )  # fmt: skip
    assert run.bundle.config.encoder.options["embedding"] == 3
    assert repr(run) == f"RunResult({str(run.path)!r}, tasks=['click', 'spend'], parts=['validation', 'test'], seeds=1)"
