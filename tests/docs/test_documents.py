"""What the documents say works: command lines, Python, TOML."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from blocks import Block, all_blocks, blocks, tour

import polytask
from polytask.config import parse_config

BASE: dict[str, Any] = {"data": {"source": "log.parquet"}, "tasks": {"click": {"kind": "binary", "label": "click"}}}
CONTRIBUTING = Path("CONTRIBUTING.md")


def test_the_tour_ends_with_predictions(toured: Callable[[], Path]) -> None:
    folder = toured()
    scores = pq.read_table(folder / "scores.parquet")
    assert scores.column_names == ["impression_id", "click", "like", "share"]
    assert len(scores) == pq.read_metadata(folder / "log.parquet").num_rows
    assert (folder / "runs/first/baselines/click/scores.json").exists()


def test_the_first_page_takes_the_same_tour() -> None:
    assert list(tour("docs/start.md")) == list(tour("README.md"))


@pytest.mark.parametrize("block", [block for block in all_blocks("python") if block.page != CONTRIBUTING], ids=str)
def test_python_blocks_run(block: Block, toured: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toured())
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_toml_blocks_are_configurations(block: Block) -> None:
    table = tomllib.loads(block.text)
    parse_config({**BASE, **table} if not table.keys() >= BASE.keys() else table)


def test_a_wrong_toml_block_would_be_found() -> None:
    with pytest.raises(polytask.UserError, match="did you mean 'experts'"):
        parse_config({**BASE, "sharing": {"use": "mmoe", "expert": 4}})


@contextmanager
def written(title: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file of CONTRIBUTING that has this title, as an importable module."""
    (text,) = (block.text for block in blocks(CONTRIBUTING, "python") if block.title == title)
    (folder / title).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.modules.pop(title.removesuffix(".py"), None)


@pytest.mark.parametrize("title", ["my_sharing.py", "my_balancer.py"])
def test_the_worked_components_pass_the_checks(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = title.removesuffix(".py")
    checks = [block for block in blocks(CONTRIBUTING, "python") if block.title == "check" and module in block.text]
    assert len(checks) == 1
    with written(title, tmp_path, monkeypatch):
        exec(compile(checks[0].text, str(checks[0]), "exec"), {})


def test_the_worked_components_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Any) -> None:
    options = {
        "tasks": {"click": "binary", "stars": "ordinal", "visits": "count"},
        "drop": ["topic", "spend", "weight"],
        "train": {"epochs": 1, "batch_size": 64, "warmup": 0.0, "patience": 0},
        "verbose": False,
    }
    sharing = {"use": "my_sharing:neighbours", "experts": 2, "widths": [8]}
    with written("my_sharing.py", tmp_path, monkeypatch), written("my_balancer.py", tmp_path, monkeypatch):
        allowed = ["my_sharing", "my_balancer"]
        run = polytask.fit(table, sharing=sharing, balancer="my_balancer:even", allow_code=allowed, **options)
        assert run.scores["test"].keys() == {"click", "stars", "visits"}
        assert run.predict(table.slice(0, 5)).num_rows == 5
        with pytest.raises(polytask.UserError, match="did you mean 'experts'"):
            polytask.fit(table, sharing={**sharing, "expert": 3}, allow_code=allowed, **options)
        with pytest.raises(polytask.UserError, match="pass --allow-code my_sharing"):
            polytask.fit(table, sharing=sharing, **options)
