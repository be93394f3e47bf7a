"""The fused score: what each weighting of the predictions gives to its objective and to every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section, Spec, Table, Tone
from polytask.reporting.files import Gaps
from polytask.reporting.metrics import label
from polytask.reporting.runs import Run
from polytask.reporting.words import known, listed, number

Found = Mapping[str, Any]
MOST_CHARTS = 12
STATES = ("tried", "efficient", "one prediction alone", "chosen")


def fusion(runs: Sequence[Run], files: Mapping[str, Found], gaps: Gaps) -> Section:
    """Objective against the ranking quality of each task, the chosen weights, and whether floors are met.

    Args:
        runs: The first seed of each may hold ``fusion.json``.
        files: Such files by name.
        gaps: Gets what is missing.
    """
    section = Section("fusion", "Score fusion")
    found = {run.name: run.seeds[0].fusion for run in runs if run.seeds[0].fusion} | dict(files)
    for name, own in found.items():
        _show(section, f"{name}: " if len(found) > 1 else "", own)
    if not section.blocks:
        gaps.add(section.title, "no score is fused", "a table fusion in the configuration, or polytask fuse --json")
    return section


def _show(section: Section, prefix: str, found: Found) -> None:
    section.say(*(prefix + sentence for sentence in _words(found)))
    floors = found.get("floors") or {}
    tasks = [task for task in found["metrics"] if task in floors or not floors][:MOST_CHARTS]
    section.blocks += [_chart(prefix, task, found, small=len(tasks) > 1) for task in tasks]
    section.blocks.append(_table(prefix, found))


def objective(found: Found) -> str:
    """The objective's name, such as ``NDCG@10 of play_time``."""
    places = f"@{number(found.get('at'))}" if found["objective"] == "ndcg" else ""
    return f"{label(str(found['objective']))}{places} of {found['value']}"


def _words(found: Found) -> list[str]:
    points, parts = found["points"], found["parts"]
    weights = _weights(found["weights"])
    reached = listed([f"{number(known(own.get('objective')))} on {part} rows" for part, own in parts.items()])
    best = max(points, key=lambda one: _low(one["objective"]))
    texts = [
        f"The score is the {found['form']} of the predictions with the weights {weights}. {objective(found)} within "
        f"{found['group']} is {reached}; the most of {len(points)} weightings is {number(known(best['objective']))}."
    ]
    floors = found.get("floors") or {}
    told = []
    for task, floor in floors.items():
        values = [(part, known(own.get(task))) for part, own in parts.items()]
        said = [f"{number(value)} on {part} rows{'' if value >= floor else ' (missed)'}" for part, value in values]
        told.append(f"{task} at least {number(floor)}: {listed(said)}")
    if told:
        how = "met on the rows of the fit" if found.get("met") else "not met by any weighting"
        texts.append(f"Floors, {how}. {'; '.join(told)}.")
    return texts


def _low(value: Any) -> float:
    own = known(value)
    return own if own == own else float("-inf")


def _weights(weights: Mapping[str, Any]) -> str:
    order = sorted(weights, key=lambda name: -known(weights[name]))
    return listed([f"{name} {number(known(weights[name]), 3)}" for name in order], most=8)


def _state(place: int, found: Found) -> str:
    point = found["points"][place]
    alone = sum(known(one) > 0 for one in point["weights"].values()) == 1
    return STATES[3 if place == found["chosen"] else 2 if alone else 1 if point.get("efficient") else 0]


def _chart(prefix: str, task: str, found: Found, *, small: bool) -> Chart:
    metric = label(str(found["metrics"][task]))
    rows = [
        (known(point["quality"].get(task)), known(point["objective"]), _state(place, found), _weights(point["weights"]))
        for place, point in enumerate(found["points"])
    ]
    rows = sorted((row for row in rows if row[0] == row[0] and row[1] == row[1]), key=lambda row: STATES.index(row[2]))
    data = charts.columns_of(("quality", "objective", "weighting", "weights"), rows)
    chosen, faint = "datum.weighting === 'chosen'", "datum.weighting === 'tried'"
    layers: list[Spec] = [
        {
            "mark": {"type": "point", "filled": True, "strokeWidth": 1.5},
            "encoding": {
                "x": charts.axis("quality", f"{metric} of {task}"),
                "y": charts.axis("objective", objective(found)),
                "color": charts.names("weighting", ""),
                "opacity": {"condition": {"test": faint, "value": 0.35}, "value": 0.9},
                "size": {"condition": {"test": chosen, "value": 260}, "value": 36},
                "stroke": {"condition": {"test": chosen, "value": {"expr": "ink"}}, "value": None},
                "shape": {"condition": {"test": chosen, "value": "diamond"}, "value": "circle"},
                "tooltip": charts.tooltip("weights", "quality", "objective", "weighting"),
            },
        }
    ]
    floor = (found.get("floors") or {}).get(task)
    if floor is not None:
        line: Spec = {"data": {"values": [{}]}, "mark": {"type": "rule", "strokeDash": [4, 3]}}
        layers.append({**line, "encoding": {"x": {"datum": known(floor)}}})
    best = [row for row in rows if row[2] != "tried"]
    caption = f"A point is a weighting: how well it ranks by {task}, and {objective(found)}, on the rows of the fit."
    if best:
        one, other = max(best, key=lambda row: row[1]), max(best)
        caption += f" The most for {task} is {number(other[0])}, with {number(other[1])} of the objective;"
        caption += f" the most of the objective is {number(one[1])}, with {number(one[0])} for {task}."
    caption += " The dashed line is the floor." if floor is not None else ""
    return Chart(f"{prefix}{task} against the objective", {"layer": layers, "height": 260}, data, caption, small=small)


def _table(prefix: str, found: Found) -> Table:
    tasks, floors = list(found["metrics"]), found.get("floors") or {}
    rows: list[list[Any]] = []
    for part, own in found["parts"].items():
        cells = [_cell(known(own.get(task)), floors.get(task)) for task in tasks]
        rows.append([f"chosen, {part} rows", number(known(own.get("objective"))), *cells])
    for place, point in enumerate(found["points"]):
        if _state(place, found) == STATES[2]:
            name = next(task for task, weight in point["weights"].items() if known(weight) > 0)
            cells = [_cell(known(point["quality"].get(task)), floors.get(task)) for task in tasks]
            rows.append([f"{name} alone", number(known(point["objective"])), *cells])
    metrics = [f"{task}, {label(str(found['metrics'][task]))}" for task in tasks]
    caption = f"How well the score ranks within {found['group']}: by the objective, and by the label of each task."
    caption += " Red is below its floor." if floors else ""
    return Table(["score", objective(found), *metrics], rows, title=f"{prefix}What the score gives", caption=caption)


def _cell(value: float, floor: Any) -> Tone:
    below = floor is not None and value < known(floor)
    return Tone(f"{number(value)}{' ▼' if below else ''}", "bad" if below else "")
