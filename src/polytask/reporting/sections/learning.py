"""Learning curves: training losses and validation metrics per task, with the step whose weights were kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section
from polytask.reporting.files import Gaps
from polytask.reporting.metrics import direction, label, primary
from polytask.reporting.records import smoothed
from polytask.reporting.runs import Run, Training
from polytask.reporting.words import known, listed, number, percent

MANY, MOST_CURVES, WINDOW = 12, 8, 15


def learning(runs: Sequence[Run], gaps: Gaps) -> Section:
    """A chart per task (a list to choose from where there are many): losses, then validation metrics."""
    section = Section("learning", "Learning curves")
    curves = _named(runs)
    if not any(training.curves.steps or training.curves.evaluations for _, training, _ in curves):
        gaps.add(section.title, "no step or evaluation is recorded", "records.jsonl is written by polytask train")
        return section
    tasks = list(dict.fromkeys(task for run in runs for task in run.tasks))
    losses = {task: _losses(curves, task) for task in tasks}
    metrics = {task: _metrics(curves, task) for task in tasks}
    whole = sum(len(_named([run], most=10**9)) for run in runs)
    which = "first seed of each run is" if len(runs) > 1 else f"first {len(curves)} of {whole} seeds are"
    shown = f"The {which} shown. " if len(curves) < whole else ""
    chosen = [run.name for run in runs if run.compared]
    whose = f"Of {listed(chosen)}, which validation chose. " if chosen else ""
    section.say(
        whose
        + shown
        + "Losses are means over neighbouring steps. A dashed line marks the step whose weights were kept; "
        "validation rows alone decide which."
    )
    for title, found in (("training loss", losses), ("validation", metrics)):
        kept = {task: one for task, one in found.items() if one is not None}
        if len(kept) < MANY:
            section.blocks += [_one(f"{task}: {title}", one) for task, one in kept.items()]
        else:
            section.blocks.append(_many(title.capitalize(), kept))
    return section


class _Curves:
    """Curves of one task: per training its name, steps and values; the name of the values, and the steps to mark."""

    def __init__(self, y: str, caption: str, points: bool) -> None:
        self.y, self.caption, self.points = y, caption, points
        self.rows: list[tuple[int, float, str]] = []
        self.best: list[int] = []
        self.change = np.nan

    def add(self, name: str, steps: Sequence[int], values: Sequence[float], best: int | None) -> None:
        pairs = zip(steps, values, strict=True)
        self.rows += [(step, float(value), name) for step, value in pairs if np.isfinite(value)]
        self.best += [] if best is None else [best]


def _named(runs: Sequence[Run], most: int = MOST_CURVES) -> list[tuple[str, Training, Run]]:
    """Trainings with their names; of several runs, the first seeds first."""
    if len(runs) == 1:
        found = [("model" if one.seed is None else f"seed {one.seed}", one, runs[0]) for one in runs[0].seeds]
        return found[:most]
    return [(run.name, run.seeds[0], run) for run in runs][:most]


def _best(training: Training) -> int | None:
    kept = [record["step"] for record in training.curves.evaluations if record.get("best") is True]
    return kept[-1] if kept else None


def _losses(curves: Sequence[tuple[str, Training, Run]], task: str) -> _Curves | None:
    found, ends = _Curves("loss", "", points=False), []
    for name, training, run in curves:
        own = training.curves
        if task not in run.tasks or run.tasks.index(task) >= own.losses.shape[1]:
            continue
        values = own.losses[:, run.tasks.index(task)]
        smooth = smoothed(values, min(WINDOW, max(1, len(values) // 8)))
        found.add(name, own.steps, list(smooth), _best(training))
        ends += [(smooth[np.isfinite(smooth)][[0, -1]])] if np.isfinite(smooth).any() else []
    if not found.rows:
        return None
    first, last = np.mean(ends, axis=0)
    found.change = (last - first) / abs(first) if first else np.nan
    change = f" ({percent((last - first) / abs(first), sign=True)})" if first else ""
    found.caption = f"The training loss of {task} went from {number(first)} to {number(last)}{change}."
    return found


def _metrics(curves: Sequence[tuple[str, Training, Run]], task: str) -> _Curves | None:
    scores = next(
        (
            record["scores"][task]
            for _, training, _ in curves
            for record in training.curves.evaluations
            if isinstance(record["scores"].get(task), dict)
        ),
        None,
    )
    metric = None if scores is None else primary(curves[0][2].task(task), scores)
    if metric is None:
        return None
    found, reached = _Curves(label(metric), "", points=True), []
    for name, training, _ in curves:
        rows = [(one["step"], one["scores"].get(task)) for one in training.curves.evaluations]
        pairs = [(step, known(own.get(metric))) for step, own in rows if isinstance(own, dict)]
        found.add(name, [step for step, _ in pairs], [value for _, value in pairs], _best(training))
        at_best = dict(pairs).get(_best(training) or -1, np.nan)
        reached += [at_best] if np.isfinite(at_best) else []
    if not found.rows:
        return None
    found.caption = f"{label(metric)} of {task} on validation rows ({_better(metric)})"
    kept = f": {number(float(np.mean(reached)))} at the kept step" if reached else ""
    found.caption += kept + (f", mean over {len(reached)} trainings." if len(reached) > 1 else ".")
    return found


def _better(metric: str) -> str:
    return {1: "greater is better", -1: "smaller is better", 0: "neither way is better"}[direction(metric)]


def _one(title: str, found: _Curves) -> Chart:
    data = charts.columns_of(("step", "value", "series"), found.rows)
    several = len(set(data["series"])) > 1
    return charts.lines(
        title, data, found.caption, y=found.y, colour="" if several else None, points=found.points, small=True,
        best=found.best, height=180,
    )  # fmt: skip


def _many(title: str, found: dict[str, _Curves]) -> Chart:
    """One chart for all tasks, one at a time."""
    rows = [(task, *row) for task, one in found.items() for row in one.rows]
    data = charts.columns_of(("task", "step", "value", "series"), rows)
    points = next(iter(found.values())).points
    chart = charts.lines(title, data, "", y="metric" if points else "loss", colour="", points=points)
    caption = f"{title} of {len(found)} tasks, one at a time."
    changes = {task: one.change for task, one in found.items() if np.isfinite(one.change)}
    if changes:
        low, high = min(changes, key=changes.__getitem__), max(changes, key=changes.__getitem__)
        caption += f" It fell most for {low} ({percent(changes[low], sign=True)})"
        caption += f" and least for {high} ({percent(changes[high], sign=True)})."
    return Chart(title, charts.chooser(chart.spec, list(found), next(iter(found))), data, caption)
