"""`polytask report`, and the reports that other commands write at their end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_folders import affinity, comparison, front, run, sweep

import polytask.reporting
from polytask.cli import main

Call = Callable[..., tuple[int, str, str]]
CONFIG = '[data]\nsource = "log.parquet"\n' + "".join(
    f'[tasks.{task}]\nkind = "binary"\nlabel = "{task}"\n' for task in ("click", "like")
)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


def test_the_page_goes_into_the_first_folder_or_where_it_is_told(call: Call, tmp_path: Path) -> None:
    folder, other = run(tmp_path / "run"), run(tmp_path / "other")
    assert call("report", folder)[:2] == (0, f"report: {folder / 'report.html'}\n")
    assert call("report", folder, other, "-o", tmp_path / "new" / "both.html")[0] == 0
    assert "run and other" in (tmp_path / "new" / "both.html").read_text(encoding="utf-8")
    assert not (other / "report.html").exists()


def test_wrong_paths_are_told_with_what_to_name(call: Call, tmp_path: Path) -> None:
    code, _, errors = call("report", tmp_path / "nowhere", tmp_path)
    assert code == 2 and "nowhere: does not exist" in errors and "holds nothing to report" in errors
    assert "name run folders" in errors and "Traceback" not in errors


def test_without_a_browser_the_page_is_there_all_the_same(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polytask.cli.report.show_page", lambda page: False)
    code, out, _ = call("report", run(tmp_path / "run"), "--open")
    assert code == 0 and "no browser here" in out and (tmp_path / "run" / "report.html").exists()


@pytest.fixture
def trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose training makes a folder at once."""
    (tmp_path / "log.toml").write_text(CONFIG, encoding="utf-8")

    def train_run(config: Any, out: Path, **options: Any) -> None:
        run(out)

    monkeypatch.setattr("polytask.training.run.train_run", train_run)
    for place, make in (
        ("comparing.run.run_comparison", comparison), ("tradeoffs.run.run_pareto", front),
        ("tuning.run.run_sweep", sweep), ("grouping.run.run_grouping", affinity),
    ):  # fmt: skip
        monkeypatch.setattr(f"polytask.{place}", lambda config, options, out, make=make, **more: make(out))
    return tmp_path / "log.toml"


@pytest.mark.parametrize(
    ("verb", "section"),
    [
        ("train", "Learning curves"), ("compare", "Leaderboard"), ("pareto", "Pick a preference"), ("sweep", "Trials"),
        ("group", "Suggested groups"),
    ],
)  # fmt: skip
def test_commands_write_a_report_unless_told_otherwise(
    call: Call, trains: Path, tmp_path: Path, verb: str, section: str
) -> None:
    code, out, errors = call(verb, trains, "--out", tmp_path / "with")
    assert (code, errors) == (0, "") and f"report: {tmp_path / 'with' / 'report.html'}" in out
    assert section in (tmp_path / "with" / "report.html").read_text(encoding="utf-8")
    code, out, _ = call(verb, trains, "--out", tmp_path / "without", "--no-report")
    assert code == 0 and "report" not in out and not (tmp_path / "without" / "report.html").exists()


def test_a_front_that_is_chosen_from_again_is_shown_again(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = front(tmp_path / "front"), SimpleNamespace(bundle_path=tmp_path / "front" / "bundle")
    monkeypatch.setattr("polytask.tradeoffs.again.choose_again", lambda *arguments, **more: found)
    monkeypatch.setattr("polytask.tradeoffs.words.show", lambda *arguments: None)
    assert call("pareto", folder, "--no-report")[0] == 0 and not (folder / "report.html").exists()
    code, out, _ = call("pareto", folder)
    assert code == 0 and f"report: {folder / 'report.html'}" in out and (folder / "report.html").exists()


def test_a_failing_report_loses_nothing(
    call: Call, trains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> Path:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(polytask.reporting, "write_report", fails)
    code, _, errors = call("train", trains, "--out", tmp_path / "run")
    assert code == 0 and "cannot be written (RuntimeError: out of ink)" in errors and "polytask report" in errors
    assert (tmp_path / "run" / "scores.json").exists()
