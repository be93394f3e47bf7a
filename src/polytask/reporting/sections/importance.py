"""Which columns each task rests on, and which of them tasks share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.sections.common import why
from polytask.reporting.words import known, listed, percent

MOST_FEATURES, TOP, MOST_CHARTS = 24, 5, 12


def importance(runs: Sequence[Run], gaps: Gaps) -> Section:
    """A heat map of tasks by columns, and the first columns of each task."""
    section = Section("importance", "Feature importance")
    for run in runs:
        tasks = run.diagnostics.get("tasks") or {}
        rises = {
            task: {name: known(one.get("rise")) for name, one in (own.get("importance") or {}).items()}
            for task, own in tasks.items()
        }
        rises = {task: own for task, own in rises.items() if own}
        if rises:
            _show(section, f"{run.name}: " if len(runs) > 1 else "", rises, run)
    if not section.blocks:
        gaps.add(section.title, *why(runs, "no columns were shuffled"))
    return section


def _show(section: Section, prefix: str, rises: dict[str, dict[str, float]], run: Run) -> None:
    tops = {task: _top(own) for task, own in rises.items()}
    first = dict.fromkeys(name for top in tops.values() for name in top)
    shared = {name: [task for task, top in tops.items() if name in top] for name in first}
    common = sorted((name for name in shared if len(shared[name]) > 1), key=lambda name: -len(shared[name]))
    own = [name for name in shared if len(shared[name]) == 1]
    text = f"{prefix}How much the loss rises when a column is shuffled, as a share of the loss."
    if len(rises) > 1:
        listed_common = listed([f"{name} ({len(shared[name])} of {len(rises)} tasks)" for name in common], most=5)
        text += (
            f" Shared among the first {TOP} columns: {listed_common}."
            if common
            else " The tasks share none of their first columns."
        )
        text += f" Only one task: {listed([f'{name} ({shared[name][0]})' for name in own], most=5)}." if own else ""
    section.say(text)
    peaks = {
        name: max((own.get(name, 0.0) for own in rises.values()), default=0.0) for own in rises.values() for name in own
    }
    features = sorted(peaks, key=lambda name: -np.nan_to_num(peaks[name]))[:MOST_FEATURES]
    values = np.array([[own.get(name, np.nan) for name in features] for own in rises.values()])
    few = f"The {len(features)} most important of {len(peaks)} columns. " if len(features) < len(peaks) else ""
    best = {task: top[0] for task, top in tops.items() if top}
    caption = few + "First columns: " + listed([f"{name} for {task}" for task, name in best.items()], most=8) + "."
    section.blocks.append(
        charts.matrix(
            f"{prefix}Importance by task", features, list(rises), values.T, caption, row="column", column="task",
            unit="rise of the loss", limits=(0.0, max(float(np.nanmax(values, initial=0.0)), 1e-9)),
        )
    )  # fmt: skip
    if len(rises) <= MOST_CHARTS:
        section.blocks += [_bars(prefix, task, run) for task in rises]


def _top(own: dict[str, float]) -> list[str]:
    order = sorted((name for name in own if own[name] > 0), key=lambda name: -own[name])
    return order[:TOP]


def _bars(prefix: str, task: str, run: Run) -> Chart:
    found = run.diagnostics["tasks"][task]["importance"]
    order = sorted(found, key=lambda name: -np.nan_to_num(known(found[name].get("rise"))))[: 2 * TOP]
    rows = []
    for name in order:
        rise, spread = known(found[name].get("rise")), known(found[name].get("spread"))
        low, high = (rise - spread, rise + spread) if spread == spread else (rise, rise)
        rows.append((name, rise, low, high))
    data = charts.columns_of(("column", "rise", "low", "high"), rows)
    place = charts.names("column", None)
    layers = [
        {
            "mark": {"type": "bar", "cornerRadiusEnd": 3},
            "encoding": {
                "y": place,
                "x": charts.axis("rise", "rise of the loss", scale={"zero": True}, axis={"format": "%"}),
                "tooltip": charts.tooltip("column", "rise", "low", "high"),
            },
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {"y": place, "x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
        },
    ]
    first = ", ".join(f"{name} {percent(rise)}" for name, rise, _, _ in rows[:3])
    caption = f"{task} rests most on {first}; the lines show the spread over repeats."
    return Chart(f"{prefix}{task}", {"layer": layers, "height": 22 * len(rows)}, data, caption, small=True)
