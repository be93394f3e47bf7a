"""Trainings kept as files: does those that have none yet, in this process or in several with one thread each."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from rich.console import Console

from polytask.errors import Problem, UserError
from polytask.files import make_folder, write_json


class Job(Protocol):
    """A training to do, as a value that can be sent to another process."""

    @property
    def file(self) -> str:
        """Keeps the outcome, in the folder of cells."""


class Outcome(Protocol):
    """A training that is done."""

    def as_json(self) -> dict[str, Any]:
        """For a file."""


AnyJob = TypeVar("AnyJob", bound=Job)
AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


class Lab(Protocol[AnyJob, AnyOutcome]):  # type: ignore[misc]
    """Does jobs, and keeps in memory what they have in common."""

    def train(self, job: AnyJob) -> AnyOutcome:
        """One training."""


_LABS: list[Lab[Any, Any]] = []  # of a worker process: its only one


@dataclass(frozen=True, slots=True)
class Cells(Generic[AnyJob, AnyOutcome]):
    """Keeps every outcome as a file of its own, and does only what has none.

    Attributes:
        lab: Of this process.
        make_lab: Makes one in a worker process, to which it is sent.
        read: An outcome from the content of its file; None: it does not belong to the job, which is done again.
        say: A finished training in words.
        folder: Of the files.
        workers: Trainings at a time, each in a process of its own; 1: in this one. Results do not depend on it.
        console: Where progress is said; None: nowhere.
    """

    lab: Lab[AnyJob, AnyOutcome]
    make_lab: Callable[[], Lab[AnyJob, AnyOutcome]]
    read: Callable[[AnyJob, Mapping[str, Any]], AnyOutcome | None]
    say: Callable[[AnyJob, AnyOutcome], str]
    folder: Path
    workers: int
    console: Console | None

    def do(self, title: str, jobs: Sequence[AnyJob]) -> list[AnyOutcome]:
        """The outcomes of all jobs, in their order.

        Args:
            title: What they are, for messages.
            jobs: What to do.

        Raises:
            UserError: The data are at fault, or a worker process ended.
        """
        found = {job.file: outcome for job in jobs if (outcome := self._kept(job)) is not None}
        missing, began = [job for job in jobs if job.file not in found], time.monotonic()
        for number, (job, outcome) in enumerate(self._each(missing), 1):
            make_folder((self.folder / job.file).parent)
            write_json(self.folder / job.file, outcome.as_json())
            found[job.file] = outcome
            left = (time.monotonic() - began) / number * (len(missing) - number)
            if self.console is not None:
                place = f"{title} {len(found)} of {len(jobs)}"
                text = f"{place}: {self.say(job, outcome)}; about {left / 60:.0f} min left"
                self.console.print(text, highlight=False, markup=False, soft_wrap=True)
        return [found[job.file] for job in jobs]

    def _each(self, jobs: Sequence[AnyJob]) -> Iterator[tuple[AnyJob, AnyOutcome]]:
        """Outcomes as they come."""
        if self.workers == 1 or len(jobs) < 2:
            yield from ((job, self.lab.train(job)) for job in jobs)
            return
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(
                self.workers, context, initializer=_begin, initargs=(self.make_lab,)
            ) as pool:  # fmt: skip
                futures = {pool.submit(_train, job): job for job in jobs}
                try:
                    for future in as_completed(futures):
                        yield futures[future], future.result()
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        except BrokenProcessPool as error:
            what = "one of them ended in the middle of a training, perhaps for want of memory"
            raise UserError(
                Problem(f"--workers {self.workers}", what, "go on with --resume and fewer workers")
            ) from error

    def _kept(self, job: AnyJob) -> AnyOutcome | None:
        file = self.folder / job.file
        try:
            return self.read(job, json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
        except json.JSONDecodeError:
            return None  # cut short by something other than polytask: the training is done again


def _begin(make_lab: Callable[[], Lab[Any, Any]]) -> None:
    """In a new worker process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    torch.set_num_threads(1)
    _LABS[:] = [make_lab()]


def _train(job: Any) -> Any:
    return _LABS[0].train(job)
