from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from polytask.config import Config
from polytask.training.loop import EvaluationRecord
from polytask.training.progress import TerminalWatcher
from polytask.training.run import train_run
from polytask.training.single import new_training
from polytask.training.step import StepRecord


def test_a_terminal_shows_losses_per_task(
    new_config: Callable[..., Config], prepared_run: Callable[..., Any], table: pa.Table
) -> None:
    config = new_config(("click", "spend"))
    training = new_training(config, prepared_run(config, table), 0)
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    watcher = TerminalWatcher(console)
    watcher.start("mmoe, 2 tasks", training, Path("run"))
    watcher.see(StepRecord(1, 0, 64, (0.5, math.nan), (1.0, 0.0), 1.0))
    watcher.see(StepRecord(2, 0, 64, (1.0, 2.0), (1.0, 1.0), 1.0))
    # an absent task keeps its last loss; the others are smoothed
    assert watcher.losses == "click 0.5100  spend 2.0000"
    scores = {"click": {"auc": 0.7}, "spend": {"r2": math.nan}}
    watcher.see(EvaluationRecord(2, scores, 0.25, True))
    watcher.finish()
    watcher.finish()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "up to 16 steps" in text and "click auc 0.7000  spend r2 -" in text and "best" in text


def test_no_console_no_output(
    tmp_path: Any, new_config: Callable[..., Config], table: pa.Table, capfd: pytest.CaptureFixture[str]
) -> None:
    train_run(new_config(("click",), train={"epochs": 1}), tmp_path / "run", data=table)
    assert capfd.readouterr() == ("", "")


def test_a_file_gets_lines_and_no_bar(tmp_path: Any, new_config: Callable[..., Config], table: pa.Table) -> None:
    console = Console(file=io.StringIO(), width=160)
    config = new_config(("click", "spend"), train={"epochs": 2, "baselines": True})
    train_run(config, tmp_path / "run", data=table, console=console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert sum("score" in line and "step" in line for line in lines) == 6
    assert any(line.startswith("click alone: up to 16 steps") for line in lines)
    assert "\x1b" not in "".join(lines) and any("one network per task" in line for line in lines)
    assert lines[-1] == f"run folder: {tmp_path / 'run'}"
