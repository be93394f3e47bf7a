"""Does the jobs of all chains, in this process or in several with one thread each, and says what remains."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from polytask.errors import Problem, UserError
from polytask.reproduce.census.chain import Chain
from polytask.reproduce.census.experiment import CensusExperiment
from polytask.reproduce.census.lab import Lab
from polytask.reproduce.census.outcome import Job, Outcome

_LABS: list[Lab] = []  # of a worker process: its only one


def work(
    experiment: CensusExperiment, folder: Path, chains: Sequence[Chain], *, workers: int, console: Console | None
) -> None:
    """Does all that the chains still have to do; every outcome is kept as soon as it is there.

    Args:
        experiment: All settings.
        folder: Where relative paths of the experiment start.
        chains: What to do. Their results do not depend on the number of workers.
        workers: Trainings at a time, each in a process of its own; 1: in this one.
        console: Where progress is shown; None: nowhere.

    Raises:
        UserError: The data are at fault, or a worker process ended.
    """
    _say(console, remaining(chains, workers))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with _executor(experiment, folder, workers) as pool, _progress(console) as progress:
            bar = progress.add_task("", total=sum(chain.total for chain in chains))
            _loop(pool, chains, workers, progress, bar, console)
    except BrokenProcessPool as error:
        what = "one of them ended in the middle of a training, perhaps for want of memory"
        raise UserError(Problem(f"--workers {workers}", what, "go on with --resume and fewer workers")) from error
    finally:
        torch.set_num_threads(threads)


def remaining(chains: Sequence[Chain], workers: int) -> str:
    """A sentence on what is left to do, and how long it takes at the mean cost of what is done."""
    done, total = sum(chain.done for chain in chains), sum(chain.total for chain in chains)
    text = f"{done} of {total} trainings done"
    if not 0 < done < total:
        return text
    every = [outcome.seconds for chain in chains for outcome in (*chain.trials, *chain.runs.values())]
    mean = sum(every) / len(every)
    left = 0.0
    for chain in chains:
        own = [outcome.seconds for outcome in (*chain.trials, *chain.runs.values())]
        left += (chain.total - chain.done) * (sum(own) / len(own) if own else mean)
    return f"{text}; about {left / 3600 / workers:,.2f} h left"


def _loop(
    pool: Executor, chains: Sequence[Chain], workers: int, progress: Progress, bar: Any, console: Console | None
) -> None:
    running: dict[Future[Outcome], tuple[Chain, Job]] = {}
    while True:
        for chain in chains:
            while len(running) < workers and (job := chain.next()) is not None:
                running[pool.submit(_train, job)] = chain, job
        progress.update(bar, completed=sum(chain.done for chain in chains), description=_named(running.values()))
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            chain, job = running.pop(future)
            chain.take(job, future.result())
            if (news := _news(chain)) is not None:
                _say(console, f"{chain.name}: {news}; {remaining(chains, workers)}")


def _news(chain: Chain) -> str | None:
    """What a chain has just reached, if anything."""
    if chain.done == chain.total:
        return "done"
    if not chain.tuned or chain.runs:
        return None
    return f"settings chosen, validation AUC of {chain.objective} {chain.chosen().objective(chain.objective):.4f}"


def _named(running: Any) -> str:
    return ", ".join(sorted({chain.name for chain, _ in running}))


def _say(console: Console | None, text: str) -> None:
    if console is not None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Here(Executor):
    """Does a job when it is submitted."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        _LABS.clear()


def _executor(experiment: CensusExperiment, folder: Path, workers: int) -> Executor:
    if workers == 1:
        _LABS[:] = [Lab(experiment, folder)]
        return _Here()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(experiment, folder))


def _begin(experiment: CensusExperiment, folder: Path) -> None:
    """In a new worker process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    torch.set_num_threads(1)
    _LABS[:] = [Lab(experiment, folder)]


def _train(job: Job) -> Outcome:
    return _LABS[0].train(job)


def _progress(console: Console | None) -> Progress:
    hidden = console is None or not console.is_terminal
    columns = BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    return Progress(*columns, console=console, transient=True, disable=hidden)
