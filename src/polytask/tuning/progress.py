"""One progress line for all trials, with an estimate of the time that is left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from polytask.comparing.progress import estimate, in_words
from polytask.tuning.search import Job
from polytask.tuning.trial import Objective, Outcome


class SweepDisplay:
    """A bar on a terminal, a line per trial elsewhere.

    Args:
        console: Where; None shows nothing.
        workers: Trials at a time.
        objectives: What is wanted.
    """

    def __init__(self, console: Console | None, workers: int, objectives: Sequence[Objective]) -> None:
        self._console, self._workers, self._objectives = console, workers, objectives
        self._seconds: dict[str, list[float]] = {}
        self._left: dict[str, int] = {}
        self._begun: dict[str, tuple[Job, float, float]] = {}  # job, when, share
        self._best: float | None = None
        self._progress: Progress | None = None
        self._bar, self._total, self._word = TaskID(0), 0, "trials"

    @contextmanager
    def show(self, left: Mapping[str, int], kept: Mapping[str, Sequence[Outcome]], word: str) -> Iterator[None]:
        """Open while jobs are done.

        Args:
            left: Per method, how many are to be done.
            kept: Per method, what is there of earlier visits.
            word: What is counted.
        """
        self._left, self._word = dict(left), word
        self._total = sum(left.values()) + sum(map(len, kept.values()))
        self._seconds |= {name: [one.seconds for one in own if one.seconds > 0] for name, own in kept.items()}
        for one in (one for own in kept.values() for one in own):
            self._note(one)
        if self._console is not None and any(kept.values()):
            self._console.print(
                f"{sum(map(len, kept.values()))} of {self._total} {word} are there already", highlight=False
            )
        hidden = self._console is None or not self._console.is_terminal
        columns = (
            BarColumn(bar_width=24), TextColumn("{task.fields[done]}"), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), TextColumn("[dim]{task.fields[now]}"),
        )  # fmt: skip
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as self._progress:
            self._bar = self._progress.add_task("", total=self._total, done="", left="", now="")
            self._update()
            yield

    def begin(self, job: Job) -> None:
        """A job begins."""
        self._begun[job.title] = (job, time.monotonic(), 0.0)
        self._update()

    def step(self, job: Job, share: float) -> None:
        """A share of it is done."""
        self._begun[job.title] = (job, self._begun[job.title][1], share)
        self._update()

    def end(self, job: Job, outcome: Outcome) -> None:
        """It is over."""
        seconds = time.monotonic() - self._begun.pop(job.title)[1]
        self._seconds.setdefault(job.method, []).append(seconds)
        self._left[job.method] -= 1
        better = self._note(outcome)
        self._update()
        if self._console is None or (self._console.is_terminal and outcome.state != "failed" and not better):
            return
        done = self._total - sum(self._left.values())
        text = f"{done} of {self._total}  {job.title}: {self._how(outcome, seconds)}{', the best so far' * better}"
        left = in_words(self.seconds_left) if sum(self._left.values()) else ""
        self._console.print(text + f"; {left}" * bool(left), highlight=False, markup=False, soft_wrap=True)

    @property
    def seconds_left(self) -> float:
        """An estimate; NaN before anything is known."""
        waiting = [(job.method, share) for job, _, share in self._begun.values()]
        for name, count in self._left.items():
            begun = sum(job.method == name for job, _, _ in self._begun.values())
            waiting += [(name, 0.0)] * (count - begun)
        return estimate(self._seconds, waiting) / self._workers

    def _how(self, outcome: Outcome, seconds: float) -> str:
        if outcome.state == "failed":
            return f"failed: {outcome.what}"
        if not outcome.steps:
            return f"{seconds:,.1f} s"
        if outcome.state == "pruned":
            return f"stopped after step {outcome.step}, {seconds:,.1f} s"
        values = zip(self._objectives, outcome.values, strict=True)
        return ", ".join(f"{one.name} {value:.4f}" for one, value in values) + f", {seconds:,.1f} s"

    def _note(self, outcome: Outcome) -> bool:
        """Whether it is the best so far of a single objective."""
        if len(self._objectives) > 1 or not outcome.values:
            return False
        gain = self._objectives[0].gain(outcome.values[0])
        if self._best is not None and gain <= self._best:
            return False
        first, self._best = self._best is None, gain
        return not first

    def _update(self) -> None:
        if self._progress is None:
            return
        left = sum(self._left.values())
        shares = sum(share for _, _, share in self._begun.values())
        done = self._total - left
        self._progress.update(
            self._bar, completed=done + shares, done=f"{done} of {self._total} {self._word}",
            left=in_words(self.seconds_left) if left else "", now=", ".join(self._begun),
        )  # fmt: skip
