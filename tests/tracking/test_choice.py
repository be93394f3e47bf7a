"""Which loggers a run has: by name, from the command line, of one's own."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

import polytask
from polytask.config import Config, load_config, parse_config
from polytask.errors import MissingExtraError, UserError
from polytask.training import watchers
from polytask.training.run import train_run

TABLE: dict[str, Any] = {"data": {"source": "a.csv"}, "tasks": {"click": {"kind": "binary", "label": "click"}}}
OWN = """
from pathlib import Path


class Lines:
    points = 1000

    def __init__(self, run):
        self.id = run.name
        self.file = run.root / "own.txt"

    def log(self, points):
        with self.file.open("a") as file:
            file.writelines(f"{point.step} {sorted(point.values)}\\n" for point in points)

    def finish(self, scores):
        with self.file.open("a") as file:
            file.write(f"end {scores['final/steps']}\\n")


class Broken(Lines):
    def log(self, points):
        raise ConnectionError("server gone")


no_function = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_loggers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_loggers"
    sys.modules.pop("own_loggers", None)


def test_an_unknown_logger_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UserError) as caught:
        parse_config({**TABLE, "train": {"log": ["tensorbord", "mlflow", "logs:mine"], "epoch": 3}})
    text = [str(problem) for problem in caught.value.problems]
    assert any("train.epoch: unknown key" in line for line in text)
    assert any(line.startswith("train.log[0]") and "did you mean 'tensorboard'?" in line for line in text)
    assert any(line.startswith("train.log[2]") and "--allow-code logs" in line for line in text)
    assert len(text) == 3


def test_one_name_is_no_list() -> None:
    with pytest.raises(UserError, match=r"train\.log: found 'mlflow'; it should be a list"):
        parse_config({**TABLE, "train": {"log": "mlflow"}})


def test_missing_packages_are_named_before_anything_is_read(
    tmp_path: Path, new_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "find_spec", lambda name: None)
    nothing = {"data": object()}  # no table: reading it would fail
    with pytest.raises(MissingExtraError, match=r"pip install 'polytask\[wandb\]'"):
        train_run(new_config(("click",), train={"log": ["wandb"]}), tmp_path / "run", **nothing)
    with pytest.raises(UserError, match=r"(?s)polytask\[tensorboard\].*polytask\[mlflow\]"):
        train_run(new_config(("click",), train={"log": ["tensorboard", "mlflow"]}), tmp_path / "run", **nothing)
    assert not (tmp_path / "run").exists()


def test_a_logger_of_ones_own(tmp_path: Path, own: str, table: pa.Table) -> None:
    train = {"epochs": 2, "batch_size": 100, "log": [f"{own}:Lines"]}
    run = polytask.fit(
        table, tasks={"click": "binary"}, train=train, out=tmp_path / "run", verbose=False, allow_code=[own],
        drop=["topic", "stars", "spend", "visits", "weight"],
    )  # fmt: skip
    lines = (tmp_path / "run/own.txt").read_text().splitlines()
    assert any("'validation/click/auc'" in line and line.startswith("10 ") for line in lines)
    assert lines[-1] == "end 10.0"
    assert run.predict(table.slice(0, 3)).num_rows == 3
    assert polytask.load(run.bundle_path).predict(table.slice(0, 3)).num_rows == 3  # needs no --allow-code


def test_a_logger_that_breaks_costs_one_line(
    tmp_path: Path, own: str, new_config: Callable[..., Config], table: pa.Table
) -> None:
    train = {"log": [f"{own}:Broken"], "epochs": 8}
    console = Console(file=io.StringIO(), width=200)
    config = new_config(("click",), train=train, allow_code=(own,))
    result = train_run(config, tmp_path / "run", data=table, console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("server gone") == 1 and "training goes on without it" in text
    assert result.scores["test"]["click"]["auc"] > 0
    with pytest.warns(UserWarning, match="server gone"):  # nobody is shown anything: Python is told
        train_run(config, tmp_path / "quiet", data=table)


def test_what_is_no_function_is_refused(own: str) -> None:
    with pytest.raises(UserError, match=r"train\.log\[0\]: .*no function 'no_function'"):
        parse_config({**TABLE, "train": {"log": [f"{own}:no_function"]}}, allow_code=[own])


def test_the_command_line_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polytask.cli import main, train

    seen: list[Config] = []
    monkeypatch.setattr(train, "_run", lambda config, out, **options: seen.append(config))
    file = tmp_path / "log.toml"
    file.write_text('[data]\nsource = "a.csv"\n[tasks.click]\nkind = "binary"\nlabel = "click"\n')
    with pytest.raises(SystemExit):
        main(["train", str(file), "--out", "run", "--log", "tensorboard, wandb"])
    assert seen[0].train.log == ("tensorboard", "wandb")
    assert load_config(file).train.log == ()
