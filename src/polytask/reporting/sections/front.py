"""What can be had for what: points over preferences, the one that is shipped, and sliders to pick another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Cell, Chart, Choice, Section, Spec, Table, Tone
from polytask.reporting.charts import Values
from polytask.reporting.files import Gaps
from polytask.reporting.words import count, known, listed, number

KINDS = ("smaller", "greater")
MOST_POINTS, MOST_TASKS = 400, 12


@dataclass(frozen=True)
class Front:
    """Points, means over seeds.

    Attributes:
        tasks: Their names.
        signs: 1 where greater values are better, -1 where smaller ones are.
        labels: Per point its method.
        preferences: Per point what was asked for.
        values: Per point and task what was reached.
        seeds: How many seeds the means rest on.
        chosen: The point that is shipped; None where that is not known.
        words: What was asked for when it was chosen.
    """

    tasks: list[str]
    signs: Values
    labels: list[str]
    preferences: Values
    values: Values
    seeds: int
    chosen: int | None
    words: str

    @property
    def efficient(self) -> list[bool]:
        """Per point, whether no other one is as good for all tasks and better for one."""
        better = self.signs * self.values
        return [
            not ((better >= own).all(1) & (better > own).any(1)).any()  # its equals do not beat it
            for own in better
        ]


def read_front(columns: Mapping[str, Sequence[Any]], said: Mapping[str, Any]) -> Front:
    """A front from the columns of its file.

    Args:
        columns: ``label``, ``seed``, ``preference.TASK``, and ``smaller.TASK`` or ``greater.TASK``.
        said: ``pareto.json``, which knows the chosen point; empty without.
    """
    values = [(*name.partition("."), cells) for name, cells in columns.items()]
    reached = {task: (kind, cells) for kind, _, task, cells in values if kind in KINDS and task}
    tasks = list(reached)
    asked = [columns[f"preference.{task}"] for task in tasks]
    points: dict[tuple[Any, ...], list[list[float]]] = {}
    labels = [str(label) for label in columns["label"]]
    for row, label in enumerate(labels):
        key = (label, *(known(cells[row]) for cells in asked))
        points.setdefault(key, []).append([known(cells[row]) for _, cells in reached.values()])
    means = {key: np.mean(rows, axis=0) for key, rows in points.items()}
    means = {key: mean for key, mean in means.items() if np.isfinite(mean).all()}
    chosen = said.get("chosen") or {}
    wanted = (str(chosen.get("method")), *(known(one) for one in chosen.get("preference") or ()))
    keys = list(means)
    return Front(
        tasks,
        np.array([1.0 if kind == "greater" else -1.0 for kind, _ in reached.values()]),
        [str(key[0]) for key in keys],
        np.array([key[1:] for key in keys], dtype=float).reshape(len(keys), len(tasks)),
        np.array(list(means.values())).reshape(len(keys), len(tasks)),
        max((len(rows) for rows in points.values()), default=0),
        keys.index(wanted) if wanted in keys else None,
        str(chosen.get("words", "")),
    )


def front(files: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]], gaps: Gaps) -> Section:
    """A chart of the front, its table, and a control to pick a preference.

    Args:
        files: Per name the front and ``pareto.json`` beside it.
        gaps: Gets what is missing.
    """
    section = Section("front", "Pareto front")
    for name, (found, said) in files.items():
        own = read_front(found["columns"], said)
        if len(own.values) and len(own.tasks) > 1:
            _show(section, f"{name}: " if len(files) > 1 else "", own)
    if not section.blocks:
        what = "no front is given" if not files else "the front holds no points of two tasks"
        gaps.add(section.title, what, "polytask pareto CONFIG trains one; name its folder here")
    return section


def _show(section: Section, prefix: str, own: Front) -> None:
    efficient = own.efficient
    kept = [place for place, good in enumerate(efficient) if good]
    shown = sorted({*kept, *range(min(len(own.values), MOST_POINTS))})[: max(MOST_POINTS, len(kept))]
    noise = f", means over {count(own.seeds, 'seed')}" if own.seeds > 1 else ""
    text = f"{prefix}{count(len(own.values), 'point')}{noise}; {len(kept)} of them are efficient: "
    text += "no other one is as good for all tasks and better for one."
    if own.chosen is not None:
        reached = [
            f"{task} {number(float(value))}" for task, value in zip(own.tasks, own.values[own.chosen], strict=True)
        ]
        text += f" Shipped: {listed(reached, most=8)}" + (f" ({own.words})." if own.words else ".")
    section.say(text)
    section.blocks.append(_chart(prefix, own, shown, efficient))
    scaled = _scaled(own, kept)
    start = kept.index(own.chosen) if own.chosen in kept else int(np.argmax(scaled.min(1)))
    if len(own.tasks) <= MOST_TASKS:
        points = [
            {"name": _name(own, place), "number": place, "values": [number(float(one)) for one in own.values[place]]}
            for place in kept
        ]
        section.blocks.append(Choice(own.tasks, points, scaled.tolist(), start))
    rows = [
        [
            _name(own, place),
            Tone("efficient", "good") if efficient[place] else "",
            *(number(float(one)) for one in own.values[place]),
        ]
        for place in shown
    ]
    headings = ["point", "", *(f"{task} ({_way(sign)})" for task, sign in zip(own.tasks, own.signs, strict=True))]
    section.blocks.append(Table(headings, rows, title=f"{prefix}All points", folded=True))


def _chart(prefix: str, own: Front, shown: Sequence[int], efficient: Sequence[bool]) -> Chart:
    """Two tasks at a time; lists choose which where there are more."""
    rows: list[tuple[Cell, ...]] = []
    for place in shown:
        preference = ", ".join(number(float(one), 2) for one in own.preferences[place])
        state = "shipped" if place == own.chosen else "efficient" if efficient[place] else "beaten"
        rows.append((place, own.labels[place] or "front", preference, state, *map(float, own.values[place])))
    fields = [f"v{task}" for task in range(len(own.tasks))]
    data = charts.columns_of(("number", "method", "preference", "state", *fields), rows)
    two = len(own.tasks) == 2
    titles = [f"{task} ({_way(sign)})" for task, sign in zip(own.tasks, own.signs, strict=True)]
    params: list[Spec] = [{"name": "chosen", "value": -1}]
    room = {"padding": 14, "nice": False}
    where = {
        "x": charts.axis("first", titles[0] if two else "first task", scale=room),
        "y": charts.axis("second", titles[1] if two else "second task", scale=room),
    }
    if not two:
        for which, start in (("first", 0), ("second", 1)):
            bind = {
                "input": "select",
                "options": list(range(len(own.tasks))),
                "labels": titles,
                "name": f"{which} task ",
            }
            params.append({"name": f"{which}_task", "value": start, "bind": bind})
    transform = [
        {"calculate": "datum.v0" if two else "datum['v' + first_task]", "as": "first"},
        {"calculate": "datum.v1" if two else "datum['v' + second_task]", "as": "second"},
    ]
    zoom = {"name": "view", "select": {"type": "interval", "zoom": "wheel![event.shiftKey]"}, "bind": "scales"}
    several = len(set(data["method"])) > 1
    dots: Spec = {
        "mark": {"type": "point", "filled": True},
        "params": [zoom],
        "encoding": where
        | {
            "color": charts.names("method", "", legend={} if several else None),
            "opacity": {"condition": {"test": "datum.state === 'beaten'", "value": 0.3}, "value": 0.95},
            "size": {"condition": {"test": "datum.state === 'shipped'", "value": 170}, "value": 55},
            "shape": {"condition": {"test": "datum.state === 'shipped'", "value": "diamond"}, "value": "circle"},
            "tooltip": [*charts.tooltip("method", "preference", "state")]
            + [{"field": name, "title": task} for name, task in zip(fields, own.tasks, strict=True)],
        },
    }
    ring: Spec = {
        "mark": {"type": "point", "filled": False, "size": 320, "strokeWidth": 2.5, "color": {"expr": "warm"}},
        "encoding": where | {"opacity": {"condition": {"test": "datum.number === chosen", "value": 1}, "value": 0}},
    }
    line: Spec = {
        "transform": [{"filter": "datum.state !== 'beaten'"}],
        "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.5, "color": {"expr": "soft"}},
        "encoding": where | {"order": {"field": "first"}},
    }
    best = [int(np.argmax(sign * column)) for sign, column in zip(own.signs, own.values.T, strict=True)]
    ends = [
        f"{task} reaches {number(float(own.values[top, at]))}"
        for at, (task, top) in enumerate(zip(own.tasks, best, strict=True))
    ]
    shipped = " The diamond is shipped." if own.chosen is not None else ""
    caption = f"At their best, {listed(ends, most=6)}.{shipped} The ring is the preference below. "
    caption += "Drag to move, Shift and wheel to zoom, double-click to go back."
    layers = [*([line] if two and not several else []), dots, ring]
    spec = {"layer": layers, "height": 340, "params": params, "transform": transform}
    return Chart(f"{prefix}Front", spec, data, caption, listens=True)


def _scaled(own: Front, kept: Sequence[int]) -> Values:
    """Values of the efficient points from 0, their worst, to 1, their best."""
    better = (own.signs * own.values)[list(kept)]
    low, high = better.min(0), better.max(0)
    span = np.where(high > low, high - low, 1.0)
    return np.where(high > low, (better - low) / span, 1.0)


def _name(own: Front, place: int) -> str:
    preference = " : ".join(number(float(one), 2) for one in own.preferences[place])
    return f"{own.labels[place]} {preference}".strip()


def _way(sign: float) -> str:
    return "greater is better" if sign > 0 else "smaller is better"
