"""Ctrl-C that waits until a checkpoint can be written."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType


@contextmanager
def delayed_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside the block, the first Ctrl-C is only noted; a second one interrupts at once.

    Yields:
        Whether Ctrl-C was pressed. In other threads than the main one, which get no signals, it never was.
    """
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_parent() -> None:
    """In a process that `multiprocessing` began: when the parent ends, however it does, this is Ctrl-C here."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=follow, name="polytask parent", daemon=True).start()


def how_it_ended(process: BaseProcess) -> str:
    """What is to be said of a process whose end came before its answer."""
    process.join()
    code = process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"its process ended with {how}" + (", perhaps for want of memory" if code == -9 else "")
