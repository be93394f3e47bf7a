"""What a terminal shows while a run goes on."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from polytask.config import Config
from polytask.errors import Problem
from polytask.tables import Tables
from polytask.training.loop import EvaluationRecord, Record, Training
from polytask.training.prepared import Prepared, prepare
from polytask.training.step import StepRecord

_SMOOTHING = 0.98


class TerminalWatcher:
    """A progress bar with smoothed losses per task, and one line per evaluation.

    Args:
        console: Where; None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._names: tuple[str, ...] = ()
        self._metrics: dict[str, str] = {}
        self._smooth: list[float] = []
        self._told: set[Problem] = set()

    def tell(self, problem: Problem) -> None:
        """Prints a finding; that of several seeds once."""
        if self._console is not None and problem not in self._told:
            show_finding(problem, self._console)
        self._told.add(problem)

    def start(self, title: str, training: Training, folder: Path) -> None:
        """Opens the bar."""
        self._names = tuple(task.name for task in training.model.tasks)
        self._smooth = [math.nan] * len(self._names)
        scored = (*training.model.tasks, *training.model.joints.values())
        self._metrics = {task.name: task.primary_metric for task in scored}
        if self._console is None:
            return
        again = f" (goes on from step {training.step})" if training.step else ""
        self._console.print(f"[bold]{title}[/bold]: up to {training.steps:,} steps{again}", highlight=False)
        columns = (
            BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[losses]}", markup=False), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._progress.start()
        self._bar = self._progress.add_task("", total=training.steps, completed=training.step, losses="")

    def see(self, record: Record) -> None:
        """Moves the bar, or prints the evaluation."""
        if isinstance(record, StepRecord):
            self._smooth = [_smoothed(old, new) for old, new in zip(self._smooth, record.losses, strict=True)]
            if self._progress is not None and self._bar is not None:
                self._progress.update(self._bar, completed=record.step, losses=self.losses)
            return
        if self._console is not None and isinstance(record, EvaluationRecord):
            values = "  ".join(
                f"{escape(name)} {self._metrics[name]} {_number(scores[self._metrics[name]])}"
                for name, scores in record.scores.items()
            )
            mark = " [green]best[/green]" if record.best else ""
            line = f"  step {record.step:,}  score {_number(record.score)}  {values}{mark}"
            self._console.print(line, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        """Closes the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @property
    def losses(self) -> str:
        """The smoothed losses of the first tasks."""
        shown = [f"{name} {_number(loss)}" for name, loss in zip(self._names, self._smooth, strict=True)][:6]
        return "  ".join(shown) + (" ..." if len(self._names) > 6 else "")


def prepare_shown(config: Config, tables: Tables, console: Console | None) -> Prepared:
    """`prepare`, with a bar while the training rows are read."""
    with Progress(console=console, transient=True, disable=console is None or not console.is_terminal) as progress:
        bar = progress.add_task("reading the training rows", total=tables.train.rows)
        return prepare(
            tables, buffer=config.train.shuffle_buffer, progress=lambda rows: progress.update(bar, advance=rows)
        )


def show_finding(problem: Problem, console: Console) -> None:
    """Prints what stops nothing on one line."""
    colour = "yellow" if problem.severity == "warning" else "dim"
    line = f"[{colour}]{problem.severity}[/{colour}]  {escape(str(problem))}"
    console.print(line, highlight=False, soft_wrap=True)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _smoothed(old: float, new: float) -> float:
    if math.isnan(new):
        return old
    return new if math.isnan(old) else _SMOOTHING * old + (1.0 - _SMOOTHING) * new
