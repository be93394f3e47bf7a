"""The measured figures as rows, and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.quality.bootstrap import Floats, Resampled, resample, task_aucs
from benchmarks.quality.candidates import LIGHTGBM, ONE, SINGLE, Candidate
from benchmarks.quality.labels import Labels
from benchmarks.quality.published import PUBLISHED, best

SPARSE = 0.005
"""Tasks with a smaller share of positives in the training part have a mean of their own."""
WIDTH = 23


@dataclass(frozen=True)
class Report:
    """All figures of one run.

    Attributes:
        name: The configuration.
        labels: Of the test part.
        rates: Per task, the share of positives in the training part.
        candidates: In the order of the columns.
        aucs: Per candidate its test AUC, ``[seeds, tasks]``.
        resampled: The paired bootstrap.
        resamples: Its size.
    """

    name: str
    labels: Labels
    rates: Mapping[str, float]
    candidates: Sequence[Candidate]
    aucs: Mapping[str, Floats]
    resampled: Resampled
    resamples: int

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Lines of the table: each task, the mean of all, and of the sparse ones."""
        tasks = self.labels.tasks
        lines: dict[str, tuple[str, ...]] = {task: (task,) for task in tasks}
        sparse = tuple(task for task in tasks if self.rates[task] < SPARSE)
        if len(tasks) > 1:
            lines[f"mean of all {len(tasks)}"] = tasks
        if 1 < len(sparse) < len(tasks):
            lines[f"mean of sparse {len(sparse)}"] = sparse
        return lines

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What is compared: the one model with what else there is."""
        names = [candidate.name for candidate in self.candidates]
        return [(ONE, other) for other in (LIGHTGBM, SINGLE) if ONE in names and other in names]

    def rows(self) -> list[dict[str, Any]]:
        """One row per line and candidate, and one per line and comparison."""
        found: list[dict[str, Any]] = []
        for line, tasks in self.groups.items():
            columns = [self.labels.tasks.index(task) for task in tasks]
            for candidate in self.candidates:
                values = self.aucs[candidate.name][:, columns].mean(axis=1)
                held_out = np.asarray(candidate.validation)[:, columns].mean(axis=1)
                together = self.resampled.averaged[candidate.name][0, columns].mean()
                row: dict[str, Any] = {"kind": "auc", "task": line, "tasks": list(tasks), "candidate": candidate.name}
                row |= {"mean": float(values.mean()), "std": _spread(values), "seeds": values.tolist()}
                row |= {"averaged_predictions": float(together), "validation": held_out.tolist()}
                found.append(row)
            for left, right in self.pairs:
                row = {"kind": "difference", "task": line, "tasks": list(tasks), "candidate": left, "less": right}
                for key, averaged in (("mean_of_seeds", False), ("averaged_predictions", True)):
                    row[key] = asdict(self.resampled.difference(left, right, tasks, averaged=averaged))
                found.append(row)
        return found

    def text(self) -> str:
        """The table of scores, the differences with their intervals, and the notes."""
        return "\n".join([*self._scores(), "", *self._differences(), *self._notes()])

    def _scores(self) -> list[str]:
        names = [candidate.name for candidate in self.candidates]
        published = self.name in PUBLISHED
        seeds = len(self.candidates[0].predictions)
        over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
        title = f"{self.name}: test AUC ({self.labels.rows:,} rows), {over}"
        head = f"{'task':<18}{'positive':>10}" + (f"{'published best':>17}" if published else "")
        lines = [title, head + "".join(f"{name:>{WIDTH}}" for name in names)]
        for line, tasks in self.groups.items():
            rate = f"{100 * self.rates[line]:.2f} %" if line in self.rates else ""
            cells = f"{line:<18}{rate:>10}"
            if published:
                figure = best(self.name, line)
                cells += f"{'' if figure is None else f'{figure:.4f}':>17}"
            columns = [self.labels.tasks.index(task) for task in tasks]
            for name in names:
                values = self.aucs[name][:, columns].mean(axis=1)
                spread = f" ± {_spread(values):.4f}" if seeds > 1 else ""
                cells += f"{f'{values.mean():.4f}{spread}':>{WIDTH}}"
            lines.append(cells.rstrip())
        return lines

    def _differences(self) -> list[str]:
        lines = []
        for left, right in self.pairs:
            units = int(self.labels.units.max()) + 1
            unit = "rows" if self.labels.unit == "row" else f"values of {self.labels.unit}"
            lines.append(
                f"{left} less {right}: test AUC with 95 % interval, paired bootstrap over {units:,} {unit} "
                f"({self.resamples:,} resamples)"
            )
            lines.append(f"{'task':<18}{'mean of the seeds':>32}{'averaged predictions':>32}")
            for line, tasks in self.groups.items():
                cells = f"{line:<18}"
                for averaged in (False, True):
                    found = self.resampled.difference(left, right, tasks, averaged=averaged)
                    mark = "*" if found.low > 0.0 or found.high < 0.0 else " "
                    cells += f"{f'{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]{mark}':>32}"
                lines.append(cells.rstrip())
            lines.append("")
        return lines

    def _notes(self) -> list[str]:
        lines = (
            ["* the interval does not hold 0; it speaks of other test rows, not of other seeds"] if self.pairs else []
        )
        for entry in PUBLISHED.get(self.name, ()):
            figures = ", ".join(f"{task} {auc:.4f}" for task, auc in entry.auc.items())
            lines.append(f"published: {figures} ({entry.method}; {entry.source})")
        return lines


def make_report(
    name: str, labels: Labels, rates: Mapping[str, float], candidates: Sequence[Candidate], resamples: int
) -> Report:
    """Takes scores and resamples of all candidates."""
    models = {candidate.name: candidate.predictions for candidate in candidates}
    aucs = {model: task_aucs(predictions, labels) for model, predictions in models.items()}
    drawn = resample(models, labels, resamples=resamples)
    return Report(name, labels, rates, candidates, aucs, drawn, resamples)


def _spread(values: Floats) -> float:
    """Standard deviation over seeds; 0 for one seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
