"""Does trainings that have no file yet, in this process or in several with one thread each."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from rich.console import Console

from polytask.data.images import LabelledImages
from polytask.errors import Problem, UserError
from polytask.files import make_folder, write_json
from polytask.reproduce.sener.experiment import SenerExperiment
from polytask.reproduce.sener.images import load
from polytask.reproduce.sener.training import Job, Outcome, train

_LABS: list[Lab] = []  # of a worker process: its only one


class Lab:
    """Does jobs; the images of a group are made once and stay in memory.

    Args:
        experiment: All settings.
    """

    def __init__(self, experiment: SenerExperiment) -> None:
        self._experiment = experiment
        self._parts: dict[int, Mapping[str, LabelledImages]] = {}

    def parts(self, group: int) -> Mapping[str, LabelledImages]:
        """The images of a group, by its number."""
        if group not in self._parts:
            self._parts[group] = load(self._experiment.groups[group], seed=self._experiment.seed)
        return self._parts[group]

    def train(self, job: Job) -> Outcome:
        """One training."""
        with torch.random.fork_rng(devices=[]):
            return train(job, self._experiment.groups[job.group], self.parts(job.group))[1]


class Workshop:
    """Keeps every outcome as a file of its own, and does only what has none.

    Args:
        lab: Of this process.
        experiment: All settings.
        folder: Of the files.
        workers: Trainings at a time, each in a process of its own; 1: in this one. Results do not depend on it.
        console: Where progress is said; None: nowhere.
    """

    def __init__(
        self, lab: Lab, experiment: SenerExperiment, folder: Path, workers: int, console: Console | None
    ) -> None:
        self._lab, self._experiment, self._folder, self._workers = lab, experiment, folder, workers
        self._console = console

    def do(self, title: str, jobs: Sequence[Job]) -> list[Outcome]:
        """The outcomes of all jobs, in their order.

        Args:
            title: What they are, for messages.
            jobs: What to do.

        Raises:
            UserError: The data are at fault, or a worker process ended.
        """
        found = {job: outcome for job in jobs if (outcome := self._kept(job)) is not None}
        missing, began = [job for job in jobs if job not in found], time.monotonic()
        for number, (job, outcome) in enumerate(self._each(missing), 1):
            make_folder((self._folder / job.file).parent)
            write_json(self._folder / job.file, outcome.as_json())
            found[job] = outcome
            left = (time.monotonic() - began) / number * (len(missing) - number)
            result = outcome.diverged or f"validation accuracy {outcome.objective:.4f}"
            place, rate = f"{title} {len(found)} of {len(jobs)}", f"learning rate {job.learning_rate:g}"
            self._say(f"{place}: {job.variant.name}, {rate}: {result}; about {left / 60:.0f} min left")
        return [found[job] for job in jobs]

    def _each(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Outcomes as they come."""
        if self._workers == 1 or len(jobs) < 2:
            yield from ((job, self._lab.train(job)) for job in jobs)
            return
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(
                self._workers, context, initializer=_begin, initargs=(self._experiment,)
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
                Problem(f"--workers {self._workers}", what, "go on with --resume and fewer workers")
            ) from error

    def _kept(self, job: Job) -> Outcome | None:
        file = self._folder / job.file
        try:
            found = Outcome(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
        except json.JSONDecodeError:
            return None  # cut short by something other than polytask: the training is done again
        # more seeds than before leave the choice of the learning rate alone, but files can be copied
        return found if found is not None and found.learning_rate == job.learning_rate else None

    def _say(self, text: str) -> None:
        if self._console is not None:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _begin(experiment: SenerExperiment) -> None:
    """In a new worker process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    torch.set_num_threads(1)
    _LABS[:] = [Lab(experiment)]


def _train(job: Job) -> Outcome:
    return _LABS[0].train(job)
