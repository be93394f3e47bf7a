from __future__ import annotations

import io
import sys
import types
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from killing import Bomb, KilledError
from rich.console import Console

from polytask.cli.browser import show_page
from polytask.config import Config
from polytask.training import live
from polytask.training.live import LiveReport
from polytask.training.run import train_run


class Writer:
    """Stands for `polytask.reporting.write_report`: keeps how it was called, and what of the run it could see."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls: list[tuple[float | None, int]] = []
        self._fails_at = fails_at

    def __call__(self, paths: Sequence[Path], out: Path, *, refresh: float | None = None) -> Path:
        if len(self.calls) == self._fails_at:
            raise ZeroDivisionError("no such chart")
        records = paths[0] / "records.jsonl"
        self.calls.append((refresh, len(records.read_text().splitlines()) if records.exists() else 0))
        out.write_text("<html>")
        return out


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Writer], Writer]:
    def put(writer: Writer) -> Writer:
        module = types.ModuleType("polytask.reporting")
        module.write_report = writer  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "polytask.reporting", module)
        return writer

    return put


def silent() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_page_follows_the_run(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, writer: Callable[[Writer], Writer]
) -> None:
    calls, console, opened = writer(Writer()).calls, silent(), list[Path]()
    config = new_config(("click",), train={"epochs": 3, "probe": 0})
    with LiveReport(tmp_path / "run", console, show=lambda page: not opened.append(page), pause=0.0) as watcher:
        train_run(config, tmp_path / "run", data=table, watchers=[watcher])
    assert opened == [tmp_path / "run/report.html"] and "open in the browser" in said(console)
    assert [refresh is None for refresh, _ in calls] == [False] * (len(calls) - 1) + [True]
    lines = [seen for _, seen in calls]
    assert lines == sorted(lines) and lines[0] == 0 and lines[-1] == 27 and 0 < lines[1] <= 27  # each line at once


def test_it_is_written_when_it_is_time(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, writer: Callable[[Writer], Writer]
) -> None:
    calls = writer(Writer()).calls
    with LiveReport(tmp_path / "run", silent(), show=lambda page: False) as watcher:
        train_run(new_config(("click",), train={"epochs": 2}), tmp_path / "run", data=table, watchers=[watcher])
    assert [refresh for refresh, _ in calls] == [live.PAUSE, None]


def test_a_slow_page_is_written_less_often(tmp_path: Path, writer: Callable[[Writer], Writer]) -> None:
    now = iter([0.0, 1.0])
    writer(Writer())
    report = LiveReport(tmp_path, silent(), show=lambda page: False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live.time, "monotonic", lambda: next(now))
        assert report._write(10.0)
    assert report._due == pytest.approx(1.0 + 1.0 / live.SHARE)


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_page_that_cannot_be_written_is_told_of_once(
    fails_at: int,
    tmp_path: Path,
    new_config: Callable[..., Config],
    table: pa.Table,
    writer: Callable[[Writer], Writer],
) -> None:
    writer(Writer(fails_at))
    console = silent()
    with LiveReport(tmp_path / "run", console, show=lambda page: False, pause=0.0) as watcher:
        result = train_run(
            new_config(("click",), train={"epochs": 1}), tmp_path / "run", data=table, watchers=[watcher]
        )
    assert said(console).count("no such chart") == 1 and "training goes on without it" in said(console)
    assert result.scores["test"]["click"]["auc"] > 0


def test_an_interrupted_run_leaves_a_page_that_rests(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, writer: Callable[[Writer], Writer]
) -> None:
    calls = writer(Writer()).calls
    report = LiveReport(tmp_path / "run", silent(), show=lambda page: False)
    with pytest.raises(KilledError), report as watcher:
        train_run(new_config(("click",)), tmp_path / "run", data=table, watchers=[watcher, Bomb(5)])
    assert calls[-1][0] is None


def test_pages_open_where_there_is_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not show_page(tmp_path / "a b.html") and not opened
    monkeypatch.setenv("DISPLAY", ":0")
    assert show_page(tmp_path / "a b.html") and opened == [f"file://{tmp_path}/a%20b.html"]

    def fail(address: str) -> bool:
        raise webbrowser.Error("no browser")

    monkeypatch.setattr(webbrowser, "open", fail)
    assert not show_page(tmp_path / "a.html")
