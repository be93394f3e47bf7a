from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from polytask.cli import main

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from blocks import ROOT, tour

ROWS = 4_000


def run(line: str) -> int:
    """Runs one command line of the documents in this process, on fewer rows than it says."""
    words = shlex.split(line.replace("--rows 20000", f"--rows {ROWS}"), comments=True)
    assert words.pop(0) == "polytask", f"not a command line of polytask: {line}"
    hook = sys.excepthook
    try:
        with pytest.raises(SystemExit) as exit_:
            main(words)
    finally:
        sys.excepthook = hook
    return int(exit_.value.code or 0)


@pytest.fixture(scope="session")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A folder in which the command lines of the README were run."""

    @cache
    def get() -> Path:
        folder = tmp_path_factory.mktemp("tour")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for line in tour("README.md"):
                assert run(line) == 0, line
        return folder

    return get


@pytest.fixture
def example() -> Callable[[str], Path]:
    """A file of the examples."""
    return lambda name: ROOT / "examples" / name
