"""Does all runs of a plan, in this process or in several, with an overall progress line."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from types import TracebackType
from typing import Self

import torch

from polytask.comparing.lab import Lab
from polytask.comparing.outcome import Failure, Outcome
from polytask.comparing.plan import Run
from polytask.comparing.progress import Display
from polytask.training.interrupt import end_with_parent, how_it_ended

PATIENCE = 60.0
"""Seconds in which an interrupted process saves its run."""


def do_runs(lab: Lab, runs: Sequence[Run], display: Display, *, workers: int) -> dict[str, Outcome]:
    """The outcomes of all runs by their keys; those with a file are read.

    Args:
        lab: Does a run.
        runs: What to do; the outcomes do not depend on the number of workers.
        display: Shows how far it is.
        workers: Runs at a time, each in a process of its own; 1: in this one.

    Raises:
        KeyboardInterrupt: After Ctrl-C; the runs in flight saved their last step.
    """
    threads = lab.config.train.threads or 1
    found = {run.key: Outcome.read(lab.out / run.key) for run in runs}
    kept = {key: outcome for key, outcome in found.items() if outcome is not None}
    missing = [run for run in runs if run.key not in kept]
    with display.show(runs, kept):
        if workers == 1 or len(missing) < 2:
            return kept | _here(lab, missing, display, threads)
        return kept | _elsewhere(lab, missing, display, min(workers, len(missing)), threads)


def _here(lab: Lab, runs: Sequence[Run], display: Display, threads: int) -> dict[str, Outcome]:
    before, found = torch.get_num_threads(), {}
    torch.set_num_threads(threads)
    try:
        for run in runs:
            display.begin(run)
            found[run.key] = lab.attempt(run, lambda share, run=run: display.step(run, share))  # type: ignore[misc]
            display.end(run, found[run.key])
    finally:
        torch.set_num_threads(before)
    return found


def _interrupt(crew: Sequence[_Worker]) -> None:
    for worker in crew:
        worker.interrupt()


def _elsewhere(lab: Lab, runs: Sequence[Run], display: Display, workers: int, threads: int) -> dict[str, Outcome]:
    context, waiting = multiprocessing.get_context("spawn"), list(reversed(runs))
    found: dict[str, Outcome] = {}
    with ExitStack() as stack:
        crew = [stack.enter_context(_Worker(context, lab, threads)) for _ in range(workers)]
        stack.callback(_interrupt, crew)  # all of them, before the first is waited for
        while True:
            for worker in crew:
                if worker.run is None and waiting:
                    display.begin(worker.begin(waiting.pop()))
            busy = {worker.pipe: worker for worker in crew if worker.run is not None}
            if not busy:
                return found
            for pipe in wait(list(busy), timeout=1.0):
                worker = busy[pipe]  # type: ignore[index]
                run, heard = worker.hear()
                if isinstance(heard, float):
                    display.step(run, heard)
                    continue
                found[run.key] = heard
                display.end(run, heard)
                if heard.failure is not None and not worker.alive:
                    crew.remove(worker)
                    if waiting:
                        crew.append(stack.enter_context(_Worker(context, lab, threads)))


class _Worker:
    """A process that does one run after another.

    Args:
        context: How it is started.
        lab: Goes there once, with the prepared data.
        threads: Of torch, in it.

    Attributes:
        pipe: What is heard of it.
        run: What it does now.
    """

    def __init__(self, context: SpawnContext, lab: Lab, threads: int) -> None:
        self.run: Run | None = None
        self._out, self._told = lab.out, False
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, lab, threads), daemon=True)
        self._process.start()
        theirs.close()  # else the end of the process would not be heard

    @property
    def alive(self) -> bool:
        """Whether the process goes on."""
        return self._process.is_alive()

    def begin(self, run: Run) -> Run:
        """Hands it a run."""
        self.run = run
        with suppress(BrokenPipeError):  # its end is heard below
            self.pipe.send(run)
        return run

    def hear(self) -> tuple[Run, float | Outcome]:
        """Which share of its run is done, or the outcome; that of a process that ended is a failure."""
        assert self.run is not None
        run = self.run
        try:
            heard: float | Outcome = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            heard = Outcome(failure=Failure("crashed", how_it_ended(self._process)))
            heard.write(self._out / run.key)
        if not isinstance(heard, float):
            self.run = None
        return run, heard

    def interrupt(self) -> None:
        """Has it save its step and end; told once."""
        if self._told:
            return
        self._told = True
        if self.run is None:
            self.pipe.close()  # it waits for a run, and finds none
        elif self.alive and self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGINT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.interrupt()
        self._process.join(PATIENCE)
        if self.alive:
            self._process.kill()


def _serve(pipe: Connection, lab: Lab, threads: int) -> None:
    """In a process of its own: does what comes through the pipe."""
    os.setpgrp()  # Ctrl-C reaches the parent alone, which passes it on once: a second one would not wait for the save
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        while True:
            run = pipe.recv()
            pipe.send(lab.attempt(run, pipe.send))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
