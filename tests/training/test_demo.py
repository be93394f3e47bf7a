from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from polytask.errors import Problem, UserError
from polytask.training import demo

CONFIG = """
data = { source = "log.parquet", drop = ["row", "topic", "stars", "visits", "weight", "history"] }
tasks.click = { kind = "binary", label = "click" }
tasks.spend = { kind = "regression", label = "spend" }
sharing = { use = "mmoe", experts = 2, widths = [8] }
train = { epochs = 1, batch_size = 64, baselines = true, device = "cpu" }
"""


@pytest.fixture
def preset(tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small preset in the place of the real ones."""
    pq.write_table(table, tmp_path / "log.parquet")
    file = tmp_path / "preset.toml"
    file.write_text(CONFIG)
    monkeypatch.setattr(demo.presets, "path", lambda name: file)
    return file


def text_of(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_trains_with_baselines_and_can_be_repeated(preset: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    first = demo.run_demo("census-income", tmp_path / "run", console)
    assert first.baselines.keys() == {"click", "spend"} and "one network per task" in text_of(console)
    assert "2 tasks (click, spend), one model" in text_of(console)
    (tmp_path / "run" / "mark").touch()
    again = demo.run_demo("census-income", tmp_path / "run", console)
    assert again.scores == first.scores and not (tmp_path / "run" / "mark").exists()


def test_an_interrupted_demo_is_taken_up_again(preset: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    demo.run_demo("census-income", tmp_path / "run", console)
    (tmp_path / "run" / "baselines" / "spend" / "scores.json").unlink()
    done = (tmp_path / "run" / "scores.json").stat().st_mtime_ns
    demo.run_demo("census-income", tmp_path / "run", console)
    assert (tmp_path / "run" / "scores.json").stat().st_mtime_ns == done
    assert (tmp_path / "run" / "baselines" / "spend" / "scores.json").exists()


def test_a_run_of_the_users_own_is_never_removed(preset: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    demo.run_demo("census-income", tmp_path / "run", console)
    preset.write_text(CONFIG.replace("epochs = 1", "epochs = 2"))
    with pytest.raises(UserError, match="holds a run already"):
        demo.run_demo("census-income", tmp_path / "run", console)
    assert (tmp_path / "run" / "scores.json").exists()


def test_without_data_and_network_it_says_so_and_simulates(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def locate(self) -> None:
            return None

        def fetch(self, progress: object) -> None:
            raise UserError(Problem("census-income", "cannot be downloaded: no network", "try again later"))

    monkeypatch.setattr(demo.named, "get", lambda name: Missing())
    console = Console(file=io.StringIO(), width=160)
    assert demo._available(console) == "short-video"
    assert "no network" in text_of(console) and "goes on with simulated data (short-video) instead" in text_of(console)
