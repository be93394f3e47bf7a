from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

ALL_TASKS: Mapping[str, Mapping[str, Any]] = {
    "click": {"kind": "binary", "label": "click"},
    "topic": {"kind": "multiclass", "label": "topic"},
    "stars": {"kind": "ordinal", "label": "stars", "where": "click == 1"},
    "spend": {"kind": "regression", "label": "spend", "weight": "weight"},
    "visits": {"kind": "count", "label": "visits"},
}


def make_table(rows: int = 600, seed: int = 0) -> pa.Table:
    """A log with every kind of column and label; labels follow the features, some are missing."""
    rng = np.random.default_rng(seed)
    user, age = rng.integers(0, 40, rows), rng.normal(40, 12, rows)
    item = np.array(["apple", "bread", "cheese", "dates"])[rng.integers(0, 4, rows)]
    taste = np.where(item == "apple", 1.0, -0.5) + (age - 40) / 12
    click = (taste + rng.normal(size=rows) > 0).astype(np.int64)
    lengths = rng.integers(0, 4, rows)
    history = [rng.integers(0, 15, length).tolist() for length in lengths]
    spend = 3.0 * taste + rng.normal(size=rows)
    table = {
        "row": np.arange(rows),
        "user": user,
        "item": item,
        "age": np.where(rng.random(rows) < 0.05, np.nan, age),
        "history": history,
        "click": pa.array(click, mask=rng.random(rows) < 0.1),
        "topic": np.array(["art", "music", "sport"])[np.clip((taste + 1.5).astype(int), 0, 2)],
        "stars": np.clip(np.round(taste + 2), 0, 4).astype(np.int64),
        "spend": pa.array(spend, mask=rng.random(rows) < 0.2),
        "visits": rng.poisson(np.exp(0.6 * taste)),
        "weight": rng.uniform(0.5, 2.0, rows),
    }
    return pa.table(table)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted CSV files and simulated logs go to a folder of the test session, not to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYTASK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def table() -> pa.Table:
    """600 rows of `make_table`."""
    return make_table()


@pytest.fixture(scope="session")
def new_table() -> Callable[..., pa.Table]:
    """Makes tables: ``new_table(rows, seed)``."""
    return make_table


def small_config(
    tasks: Any = tuple(ALL_TASKS), *, allow_code: tuple[str, ...] = (), **sections: Mapping[str, Any]
) -> Any:
    """A small, quick configuration: ``small_config(("click", "spend"), train={...}, sharing={...})``."""
    from polytask.config import parse_config

    chosen = tasks if isinstance(tasks, Mapping) else {name: ALL_TASKS[name] for name in tasks}
    taken = {task["label"] for task in chosen.values()} | {task.get("weight") for task in chosen.values()}
    small: dict[str, Any] = {
        "data": {
            "source": "memory",
            "keys": ["row"],
            "drop": [name for name in ("stars", "spend", "visits", "weight", "topic", "click") if name not in taken],
        },
        "encoder": {"embedding": 4},
        "sharing": {"use": "mmoe", "experts": 2, "widths": [8]},
        "towers": {"widths": [4]},
        "features": {"history": {"kind": "sequence"}, "user": {"kind": "categorical"}},
        "train": {"epochs": 2, "batch_size": 64, "device": "cpu", "patience": 0, "warmup": 0.0},
    }
    # another architecture brings options of its own
    kept = {name: {} if "use" in table or not table else small.get(name, {}) for name, table in sections.items()}
    given = {name: {**kept[name], **table} for name, table in sections.items()}
    return parse_config({**small, "tasks": chosen, **given}, allow_code=allow_code)


@pytest.fixture(scope="session")
def new_config() -> Callable[..., Any]:
    """`small_config`."""
    return small_config


@pytest.fixture
def prepared_run(tmp_path: Path) -> Callable[..., Any]:
    """Prepared data of a configuration: ``prepared_run(config, table)``."""

    def build(config: Any, data: pa.Table, **options: Any) -> Any:
        from polytask.tables import open_tables
        from polytask.training.prepared import prepare

        return prepare(open_tables(config, data), buffer=config.train.shuffle_buffer, **options)

    return build
