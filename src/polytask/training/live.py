"""The report of a run while it goes on: a page that is written again and reloads itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape

from polytask.errors import Problem
from polytask.training.folder import CONFIG
from polytask.training.loop import Record, Training
from polytask.training.progress import show_finding

PAUSE = 10.0
"""Seconds between two writings, at least."""
SHARE = 0.02
"""Share of the time that writing may take."""


class LiveReport:
    """Writes ``RUN/report.html`` as a run goes on, and for the last time when the block ends.

    What goes wrong with it is told once, and training goes on.

    Args:
        out: The run folder.
        console: Where the page's path is shown.
        show: Opens a page; whether it could.
        pause: Seconds between two writings, at least; longer where writing takes more than 2 % of the time.
    """

    def __init__(self, out: Path, console: Console, *, show: Callable[[Path], bool], pause: float = PAUSE) -> None:
        self._out, self._page, self._console, self._show = out, out / "report.html", console, show
        self._least = self._pause = pause
        self._due, self._begun, self._broken = 0.0, False, False

    def tell(self, problem: Problem) -> None:
        """Findings are shown elsewhere."""

    def start(self, title: str, training: Training, folder: Path) -> None:
        """Writes the page for the first time and opens it."""
        if self._begun:
            return
        self._begun = True
        if self._write(self._pause):
            how = "open in the browser" if self._show(self._page) else "no browser here"
            self._console.print(f"report: {escape(str(self._page))} ({how})", highlight=False, soft_wrap=True)

    def see(self, record: Record) -> None:
        """Writes the page again when it is time."""
        if time.monotonic() >= self._due:
            self._write(self._pause)

    def finish(self) -> None:
        """The next seed or baseline goes into the same page."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._begun and (self._out / CONFIG).exists():
            self._write(None)

    def _write(self, refresh: float | None) -> bool:
        """Whether the page is there."""
        if self._broken:
            return False
        from polytask.reporting import write_report

        started = time.monotonic()
        try:
            write_report([self._out], self._page, refresh=refresh)
        except Exception as error:  # noqa: BLE001  # a page is not worth a training
            self._broken = True
            what = f"cannot be written ({type(error).__name__}: {error})"
            show_finding(Problem(str(self._page), what, "training goes on without it", "warning"), self._console)
            return False
        now = time.monotonic()
        self._pause = max(self._least, (now - started) / SHARE)
        self._due = now + self._pause
        return True
