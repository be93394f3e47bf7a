"""Scores over seeds beside the single-task baselines, and the table that shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from rich.markup import escape
from rich.table import Table

from polytask.evaluation.scores import Scores
from polytask.tasks import Task

AllScores = Mapping[str, Scores]


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds.

    Attributes:
        mean: The mean; NaN where a value is missing.
        std: The sample standard deviation; 0 for one seed.
        values: One per seed.
    """

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Mean and spread of some values."""
        known = not any(math.isnan(value) for value in values)
        spread = stdev(values) if known and len(values) > 1 else 0.0
        return cls(fmean(values) if known else math.nan, spread, tuple(values))

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "-"
        return f"{self.mean:.4f}" + (f" ± {self.std:.4f}" if len(self.values) > 1 else "")


def average(runs: Sequence[AllScores]) -> dict[str, Scores]:
    """The mean over seeds of every metric; NaN where one of them is."""
    return {
        part: {
            task: {metric: _mean([run[part][task][metric] for run in runs]) for metric in metrics}
            for task, metrics in tasks.items()
        }
        for part, tasks in runs[0].items()
    }


def _mean(values: Sequence[float]) -> float:
    # equal values stay as they are: numbers of rows are whole
    return values[0] if all(value == values[0] for value in values) else Spread.of(values).mean


def comparison(
    tasks: Sequence[Task],
    runs: Sequence[AllScores],
    baselines: Mapping[str, Sequence[AllScores]],
    *,
    title: str,
    rows: Mapping[str, int],
) -> Table:
    """One line per task and part's primary metric: the model, the single-task network, the difference.

    Args:
        tasks: The tasks, and joint probabilities, which have no baseline.
        runs: Scores per seed.
        baselines: Per task, the scores of its single-task network per seed; empty without baselines.
        title: Above the table.
        rows: Rows per part.
    """
    part = "test" if "test" in runs[0] else "validation"
    seeds = f"mean ± standard deviation over {len(runs)} seeds" if len(runs) > 1 else "one seed"
    table = Table(title=title, caption=f"{part} part, {rows.get(part, 0):,} rows; {seeds}")
    table.add_column("task")
    table.add_column("metric")
    for name in ("one network per task", "one model", "gain") if baselines else ("one model",):
        table.add_column(name, justify="right")
    for task in tasks:
        metrics = task.metrics()
        for name in _shown(task):
            ours = Spread.of([run[part][task.name][name] for run in runs])
            cells = [escape(task.name) if name == task.primary_metric else "", name]
            if task.name in baselines:
                single = Spread.of([run[part][task.name][name] for run in baselines[task.name]])
                table.add_row(*cells, str(single), str(ours), _gain(ours, single, metrics[name].higher_is_better))
            else:
                table.add_row(*cells, *(["-"] if baselines else []), str(ours))
    return table


def _shown(task: Task) -> tuple[str, ...]:
    second = {"binary": "normalized_entropy", "regression": "mae", "count": "mae"}.get(task.kind)
    names = [task.primary_metric, *([second] if second else [])]
    return tuple(dict.fromkeys(name for name in names if name in task.metrics()))


def _gain(ours: Spread, single: Spread, higher: bool | None) -> str:
    difference = ours.mean - single.mean
    if higher is None or math.isnan(difference):
        return ""
    gain = difference if higher else 0.0 - difference
    noise = math.hypot(ours.std, single.std)
    colour = "green" if gain > noise else "red" if gain < -noise else "white"
    return f"[{colour}]{gain:+.4f}[/{colour}]"
