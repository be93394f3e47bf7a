from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from polytask.training.interrupt import delayed_interrupt


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_waits_and_the_second_does_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    with delayed_interrupt() as interrupted:
        assert not interrupted()
        press()
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_get_no_signals() -> None:
    found: list[bool] = []

    def work() -> None:
        with delayed_interrupt() as interrupted:
            found.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


FAMILY = """
import multiprocessing, os, sys, time
from pathlib import Path
from polytask.training.interrupt import delayed_interrupt, end_with_parent

def work(folder):
    os.setpgrp()
    end_with_parent()
    with delayed_interrupt() as interrupted:
        Path(folder, "begun").touch()
        while not interrupted():
            time.sleep(0.01)
        Path(folder, "saved").touch()

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1],), daemon=True)
    child.start()
    child.join()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_children_save_and_end_when_the_parent_is_gone(tmp_path: Path, how: int) -> None:
    (tmp_path / "family.py").write_text(FAMILY)
    with subprocess.Popen([sys.executable, tmp_path / "family.py", tmp_path]) as parent:
        waited_for(tmp_path / "begun")
        parent.send_signal(how)
    waited_for(tmp_path / "saved")


def waited_for(file: Path) -> None:
    until = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < until, f"{file.name} did not come"
        time.sleep(0.02)
