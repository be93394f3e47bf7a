"""What is refused of a folder: another command's work, another process at work, damaged files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from polytask.config import Config, absolute
from polytask.errors import UserError
from polytask.tables import Tables, open_tables
from polytask.training.folder import ENVIRONMENT, LOCK, check_folder, run_folder
from polytask.training.single import read_scores

HOLDS = (
    "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); input()"
)


@pytest.fixture
def work(table: pa.Table, new_config: Callable[..., Config]) -> tuple[Config, Tables]:
    config = absolute(new_config())
    return config, open_tables(config, table)


def test_a_folder_of_another_command_is_named_and_never_gone_on_with(tmp_path: Path, work: Any) -> None:
    with run_folder(tmp_path / "out", *work, command="sweep"):
        pass
    for resume in (False, True):
        with pytest.raises(UserError, match="out: holds a sweep, made by polytask sweep; name another --out for a run"):
            check_folder(tmp_path / "out", *work, resume=resume)
    check_folder(tmp_path / "out", *work, resume=True, command="sweep")
    with pytest.raises(UserError, match="holds a sweep already; add --resume"):
        check_folder(tmp_path / "out", *work, resume=False, command="sweep")


def test_a_folder_from_before_commands_were_written_down_is_gone_on_with(tmp_path: Path, work: Any) -> None:
    with run_folder(tmp_path / "out", *work):
        pass
    file = tmp_path / "out" / ENVIRONMENT
    facts = json.loads(file.read_text())
    assert facts.pop("command") == "train"
    file.write_text(json.dumps(facts))
    check_folder(tmp_path / "out", *work, resume=True)


def test_two_processes_never_write_one_folder(tmp_path: Path, work: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", HOLDS, str(out / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "held\n"
        check_folder(out, *work, resume=False)  # nothing but a lock is an empty folder
        with pytest.raises(UserError, match="another polytask process is at work in it"), run_folder(out, *work):
            raise AssertionError
        other.kill()
    with run_folder(out, *work):  # the lock ends with its process
        pass


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, work: Any) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(UserError, match=r"\.lock: cannot be written .*name another --out"), run_folder(tmp_path, *work):
        raise AssertionError


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, work: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be made"), run_folder(tmp_path / "file" / "out", *work):
        raise AssertionError


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"scores": 3}', '{"scores": {"test": {"a": {"auc": "x"}}}}', "[" * 99_999]
)
def test_damaged_scores_are_told_with_a_way_out(tmp_path: Path, text: str) -> None:
    file = tmp_path / "scores.json"
    file.write_text(text)
    with pytest.raises(
        UserError, match=r"scores.json: cannot be read .*delete it, and run the same command with --resume"
    ):
        read_scores(file)
