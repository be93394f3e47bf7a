"""Pieces of work in threads, each kept in a file when it is done, so that interrupted work goes on."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Protocol, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from polytask.files import whole_file
from polytask.reproduce.blocks import Arrays

Watch = Callable[[int], None]


class Named(Protocol):
    """A piece of work."""

    @property
    def name(self) -> str:
        """Of the file that keeps its result."""
        ...


Piece = TypeVar("Piece", bound=Named)


class Stopped(Exception):  # noqa: N818  # no error
    """Ends a thread whose work nobody waits for any more."""


class Workshop:
    """Does pieces of work side by side and keeps every result.

    Args:
        folder: Where results are kept, one file each.
        threads: How many pieces at a time, each on one thread.
        console: Where progress is shown; None: nowhere.

    Attributes:
        spent: Per title the seconds on the clock and the seconds of all processors; what was read costs nothing.
    """

    def __init__(self, folder: Path, threads: int, console: Console | None) -> None:
        self.spent: dict[str, tuple[float, float]] = {}
        self._folder, self._threads, self._console = folder, threads, console
        folder.mkdir(parents=True, exist_ok=True)

    def do(
        self, title: str, pieces: Sequence[Piece], work: Callable[[Piece, Watch], Arrays], size: Callable[[Piece], int]
    ) -> Mapping[Piece, Arrays]:
        """The results of all pieces, in their order; those with a file are read.

        Args:
            title: Shown beside the bar.
            pieces: What to do.
            work: Does one piece, and reports units of its size as they are done.
            size: Units of a piece.
        """
        begun = time.monotonic(), time.process_time()
        found = {piece: self._kept(piece) for piece in pieces}
        missing = [piece for piece in pieces if found[piece] is None]
        with self._progress() as progress:
            total = sum(size(piece) for piece in pieces)
            bar = progress.add_task(title, total=total, completed=total - sum(size(piece) for piece in missing))
            found |= self._missing(missing, work, lambda done: progress.advance(bar, done))
        self.spent[title] = time.monotonic() - begun[0], time.process_time() - begun[1]
        if self._console is not None and not self._console.is_terminal:
            text = f"{title}: {len(missing)} of {len(pieces)} pieces done now, {self.spent[title][0]:,.0f} s"
            self._console.print(text, highlight=False)
        return {piece: result for piece, result in found.items() if result is not None}

    def _missing(
        self, pieces: Sequence[Piece], work: Callable[[Piece, Watch], Arrays], advance: Watch
    ) -> dict[Piece, Arrays]:
        stop, before = Event(), torch.get_num_threads()

        def watch(done: int) -> None:
            if stop.is_set():
                raise Stopped
            advance(done)

        def one(piece: Piece) -> Arrays:
            if stop.is_set():
                raise Stopped
            with ExitStack() as on_error:
                on_error.callback(stop.set)  # what the others do is of no use then
                result = self._keep(piece, work(piece, watch))
                on_error.pop_all()
            return result

        try:
            torch.set_num_threads(1)  # one thread per piece is faster than all threads for one: pieces are independent
            with ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                futures = {piece: pool.submit(one, piece) for piece in pieces}
                try:
                    wait(futures.values(), return_when=FIRST_EXCEPTION)
                finally:
                    stop.set()
            errors = [error for future in futures.values() if (error := future.exception()) is not None]
            for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
                raise error
            return {piece: future.result() for piece, future in futures.items()}
        finally:
            torch.set_num_threads(before)

    def _progress(self) -> Progress:
        hidden = self._console is None or not self._console.is_terminal
        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), TimeRemainingColumn()
        return Progress(*columns, console=self._console, transient=True, disable=hidden)

    def _keep(self, piece: Named, arrays: Arrays) -> Arrays:
        with whole_file(self._folder / f"{piece.name}.npz") as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        return arrays

    def _kept(self, piece: Named) -> Arrays | None:
        file = self._folder / f"{piece.name}.npz"
        if not file.is_file():
            return None
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                return dict(stored)
        except (ValueError, zipfile.BadZipFile):
            return None  # cut short by something other than polytask: the piece is done again
