"""One progress line for all runs, with an estimate of the time that is left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from polytask.comparing.outcome import Outcome
from polytask.comparing.plan import Run


class Display:
    """Shows how far a comparison is: a bar on a terminal, a line per finished run elsewhere.

    Args:
        console: Where; None shows nothing.
        workers: Runs at a time.
    """

    def __init__(self, console: Console | None, workers: int) -> None:
        self._console, self._workers = console, workers
        self._seconds: dict[str, list[float]] = {}  # per method, of finished runs on the clock
        self._begun: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self._left: dict[str, Run] = {}
        self._total = self._failed = 0
        self._progress: Progress | None = None
        self._bar = TaskID(0)

    @contextmanager
    def show(self, runs: Sequence[Run], kept: Mapping[str, Outcome]) -> Iterator[None]:
        """Open while the runs are done, of which some are kept from before."""
        self._total = len(runs)
        self._left = {run.key: run for run in runs if run.key not in kept}
        for run in runs:
            if run.key in kept and not math.isnan(kept[run.key].seconds):
                self._seconds.setdefault(run.method.name, []).append(kept[run.key].seconds)
        if self._console is not None and kept:
            self._console.print(f"{len(kept)} of {self._total} runs are there already", highlight=False)
        hidden = self._console is None or not self._console.is_terminal
        columns = (
            BarColumn(bar_width=24), TextColumn("{task.fields[runs]}"), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), TextColumn("[dim]{task.fields[now]}"),
        )  # fmt: skip
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as self._progress:
            self._bar = self._progress.add_task("", total=self._total, runs="", left="", now="")
            self._update()
            yield

    def begin(self, run: Run) -> None:
        """A run begins."""
        self._begun[run.key], self._shares[run.key] = time.monotonic(), 0.0
        self._update()

    def step(self, run: Run, share: float) -> None:
        """A share of it is done."""
        self._shares[run.key] = share
        self._update()

    def end(self, run: Run, outcome: Outcome) -> None:
        """It is done, or failed."""
        seconds = time.monotonic() - self._begun.pop(run.key)
        self._shares.pop(run.key)
        self._left.pop(run.key)
        self._seconds.setdefault(run.method.name, []).append(seconds)
        self._failed += outcome.failure is not None
        self._update()
        if self._console is None or (self._console.is_terminal and outcome.failure is None):
            return
        done = self._total - len(self._left)
        how = f"{seconds:,.1f} s" if outcome.failure is None else f"{outcome.failure.kind}: {outcome.failure.what}"
        text = f"{done} of {self._total}  {run.title}: {how}{'; ' * bool(self._left)}{in_words(self.seconds_left)}"
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @property
    def seconds_left(self) -> float:
        """An estimate; NaN before anything is known."""
        lengths = dict(self._seconds)
        now = time.monotonic()
        for key, share in self._shares.items():
            if share > 0.02:  # of a run that has begun: as if it went on at this speed
                lengths.setdefault(self._left[key].method.name, [(now - self._begun[key]) / share])
        waiting = [(run.method.name, self._shares.get(key, 0.0)) for key, run in self._left.items()]
        return estimate(lengths, waiting) / self._workers

    def _update(self) -> None:
        if self._progress is None:
            return
        done = self._total - len(self._left)
        now = ", ".join(self._left[key].title for key in self._begun)
        runs = f"{done} of {self._total} runs" + (f", {self._failed} failed" if self._failed else "")
        self._progress.update(
            self._bar, completed=done + sum(self._shares.values()), runs=runs, now=now,
            left=in_words(self.seconds_left) if self._left else "",
        )  # fmt: skip


def estimate(lengths: Mapping[str, Sequence[float]], waiting: Sequence[tuple[str, float]]) -> float:
    """Seconds of work that is left.

    Args:
        lengths: Seconds of runs, per method; a method without any takes the mean of the others.
        waiting: Of every run that is not done, its method and the share that is.

    Example:
        >>> estimate({"a": [10.0, 20.0]}, [("a", 0.5), ("b", 0.0)])
        22.5
    """
    means = {name: sum(own) / len(own) for name, own in lengths.items() if own}
    if not means:
        return math.nan
    usual = sum(means.values()) / len(means)
    return sum(means.get(name, usual) * (1 - share) for name, share in waiting)


def in_words(seconds: float) -> str:
    """A length of time as people say it.

    Example:
        >>> [in_words(seconds) for seconds in (40.0, 400.0, 8000.0, 0.0)]
        ['about 40 s left', 'about 7 min left', 'about 2.2 h left', '']
    """
    if math.isnan(seconds) or seconds <= 0:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 5_400 else f"about {seconds / 3_600:.1f} h left"
