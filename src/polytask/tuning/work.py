"""Does jobs, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import torch

from polytask.balancing.engine import NonFiniteError
from polytask.errors import Problem
from polytask.training.interrupt import end_with_parent, how_it_ended
from polytask.training.loop import Record, Training
from polytask.training.prepared import Prepared
from polytask.training.single import train_one
from polytask.tuning.search import Job
from polytask.tuning.trial import Objective, Outcome, Rule, Tell, run_trial


class Jobs(Protocol):
    """Where jobs come from, and their outcomes go."""

    def take(self) -> Job | None:
        """The next one that may begin; None: none now."""

    def done(self, job: Job, outcome: Outcome) -> None:
        """It is over."""


class Display(Protocol):
    """Shows how far the jobs are."""

    def begin(self, job: Job) -> None:
        """A job begins."""

    def step(self, job: Job, share: float) -> None:
        """A share of it is done."""

    def end(self, job: Job, outcome: Outcome) -> None:
        """It is over."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What every process has: the data, prepared once.

    Attributes:
        prepared: The data.
        objectives: What is wanted.
        rule: Which trials are stopped early.
        threads: Of torch.
    """

    prepared: Prepared
    objectives: tuple[Objective, ...]
    rule: Rule
    threads: int

    def do(self, job: Job, tell: Tell) -> Outcome:
        """Does a job; what it raises is its outcome.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
        """
        try:
            if job.folder is not None:
                train_one(
                    job.config, self.prepared, job.folder, seed=job.index, title=job.title, watcher=_Listener(tell)
                )
                return Outcome("complete")
            return run_trial(job.config, self.prepared, self.objectives, self.rule, job.earlier, tell)
        except NonFiniteError as error:
            return Outcome("failed", what=f"diverged: {error}")
        except Exception as error:  # noqa: BLE001  # whatever a trial raises, it loses that trial alone
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
            return Outcome("failed", what=what)


class _Listener:
    """A watcher of a final training that passes on which share is done."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._steps, self._told = tell, 1, 0.0

    def tell(self, problem: Problem) -> None:
        """What stops nothing was said before the first trial."""

    def start(self, title: str, training: Training, folder: Path) -> None:
        """Learns how long the run is."""
        self._steps = max(training.steps, 1)

    def see(self, record: Record) -> None:
        """Tells, for every hundredth at most."""
        if (share := record.step / self._steps) >= self._told + 0.01:
            self._told = share
            self._tell(share)

    def finish(self) -> None:
        """Nothing is open."""


def do_jobs(bench: Bench, jobs: Jobs, display: Display, *, workers: int) -> None:
    """Does all jobs.

    Args:
        bench: Does one.
        jobs: All of them.
        display: Shows how far it is.
        workers: Jobs at a time, each in a process of its own; 1: in this one.

    Raises:
        KeyboardInterrupt: After Ctrl-C; jobs in flight are lost.
    """
    if workers == 1:
        _here(bench, jobs, display)
    else:
        _elsewhere(bench, jobs, display, workers)


def _here(bench: Bench, jobs: Jobs, display: Display) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(bench.threads)
    try:
        while (job := jobs.take()) is not None:
            display.begin(job)
            outcome = bench.do(job, lambda share, job=job: display.step(job, share))  # type: ignore[misc]
            jobs.done(job, outcome)
            display.end(job, outcome)
    finally:
        torch.set_num_threads(before)


def _elsewhere(bench: Bench, jobs: Jobs, display: Display, workers: int) -> None:
    context, crew = multiprocessing.get_context("spawn"), list[_Worker]()
    with ExitStack() as stack:
        while True:
            while (idle := _idle(crew)) is not None or len(crew) < workers:
                job = jobs.take()
                if job is None:
                    break
                if idle is None:  # no process is started that has nothing to do
                    crew.append(idle := stack.enter_context(_Worker(context, bench)))
                idle.begin(job)
                display.begin(job)
            busy = {worker.pipe: worker for worker in crew if worker.job is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                job, heard = worker.hear()
                if isinstance(heard, float):
                    display.step(job, heard)
                    continue
                jobs.done(job, heard)
                display.end(job, heard)
                if not worker.alive:
                    crew.remove(worker)


def _idle(crew: Sequence[_Worker]) -> _Worker | None:
    return next((worker for worker in crew if worker.job is None), None)


class _Worker:
    """A process that does one job after another.

    Args:
        context: How it is started.
        bench: Goes there once, with the prepared data.

    Attributes:
        pipe: What is heard of it.
        job: What it does now.
    """

    def __init__(self, context: SpawnContext, bench: Bench) -> None:
        self.job: Job | None = None
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, bench), daemon=True)
        self._process.start()
        theirs.close()  # else the end of the process would not be heard

    @property
    def alive(self) -> bool:
        """Whether the process goes on."""
        return self._process.is_alive()

    def begin(self, job: Job) -> None:
        """Hands it a job."""
        self.job = job
        with suppress(BrokenPipeError):  # its end is heard below
            self.pipe.send(job)

    def hear(self) -> tuple[Job, float | Outcome]:
        """Which share of its job is done, or the outcome; that of a process that ended is a failure."""
        assert self.job is not None
        job = self.job
        try:
            heard: float | Outcome = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            heard = Outcome("failed", what=how_it_ended(self._process))
        if not isinstance(heard, float):
            self.job = None
        return job, heard

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pipe.close()
        if self.job is not None:
            self._process.kill()
        self._process.join()


def _serve(pipe: Connection, bench: Bench) -> None:
    """In a process of its own: does what comes through the pipe."""
    os.setpgrp()  # Ctrl-C reaches the parent alone, which ends this process
    end_with_parent()
    torch.set_num_threads(bench.threads)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        while True:
            job = pipe.recv()
            pipe.send(bench.do(job, pipe.send))
