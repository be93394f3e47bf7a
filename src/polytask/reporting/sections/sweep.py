"""The trials of a search: how good, how soon, and which settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section, Spec, Table
from polytask.reporting.files import Gaps
from polytask.reporting.words import count, known, listed, number

MOST_ROWS, MOST_AXES = 200, 10
Trials = Sequence[Mapping[str, Any]]


def sweep(files: Mapping[str, Mapping[str, Any]], gaps: Gaps) -> Section:
    """Per sweep its history, its settings side by side, and its best trials.

    Args:
        files: ``sweep.json`` by name.
        gaps: Gets what is missing.
    """
    section = Section("sweep", "Sweep")
    for name, found in files.items():
        _show(section, f"{name}: " if len(files) > 1 else "", found)
    if not section.blocks:
        gaps.add(section.title, "no sweep is given", "polytask sweep CONFIG searches settings; name its folder here")
    return section


def _show(section: Section, prefix: str, found: Mapping[str, Any]) -> None:
    trials, objectives = found["trials"], found["objectives"]
    complete = [one for one in trials if one.get("state") == "complete" and one.get("values")]
    best = next((one for one in complete if one["number"] == found.get("best")), None)
    states = {state: sum(one.get("state") == state for one in trials) for state in ("complete", "pruned", "failed")}
    text = f"{prefix}{count(len(trials), 'trial')}: " + ", ".join(
        f"{many} {state}" for state, many in states.items() if many
    )
    if best is not None:
        values = [
            f"{goal['name']} {number(known(value))}" for goal, value in zip(objectives, best["values"], strict=True)
        ]
        settings = [f"{name} = {_shown(value)}" for name, value in (best.get("params") or {}).items()]
        text += f". Best: trial {best['number']} ({best.get('method', '')}), {listed(values, most=8)}"
        text += f", with {listed(settings, most=12)}" if settings else ""
    section.say(text + ".")
    if len(objectives) > 1 and found.get("front"):
        section.say(f"{prefix}Efficient trials: {listed([str(one) for one in found['front']], most=20)}.")
    for place, goal in enumerate(objectives):
        if complete:
            section.blocks.append(_history(prefix, goal, place, complete, found.get("best"), small=len(objectives) > 1))
    names = _varied(complete)
    if len(complete) > 1 and names:
        section.blocks.append(_parallel(prefix, objectives[0], complete, names))
    _importances(section, prefix, found)
    section.blocks.append(_table(prefix, trials, objectives))


def _history(prefix: str, goal: Mapping[str, Any], place: int, trials: Trials, best: Any, *, small: bool) -> Chart:
    up = goal.get("direction") != "minimize"
    rows, record = [], -math.inf if up else math.inf
    for one in trials:
        value = known(one["values"][place])
        record = record if math.isnan(value) else max(record, value) if up else min(record, value)
        state = "best" if one["number"] == best else "trial"
        rows.append((one["number"], value, record, str(one.get("method", "")), state, _settings(one)))
    data = charts.columns_of(("trial", "value", "record", "method", "state", "settings"), rows)
    x = charts.axis("trial", "trial", axis={"tickMinStep": 1})
    several = len(set(data["method"])) > 1
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "interpolate": "step-after", "color": {"expr": "soft"}, "strokeWidth": 1.2},
            "encoding": {"x": x, "y": charts.axis("record", str(goal["name"]))},
        },
        {
            "mark": {"type": "point", "filled": True},
            "encoding": {
                "x": x,
                "y": charts.axis("value", str(goal["name"])),
                "color": charts.names("method", "", legend={} if several else None),
                "size": {"condition": {"test": "datum.state === 'best'", "value": 170}, "value": 45},
                "shape": {"condition": {"test": "datum.state === 'best'", "value": "diamond"}, "value": "circle"},
                "tooltip": charts.tooltip("trial", "method", "value", "settings"),
            },
        },
    ]
    at = next((row[0] for row in rows if row[1] == record), "")
    caption = (
        f"{goal['name']}: {number(record)} at trial {at} of {len(rows)} complete ones; the line is the best so far."
    )
    return Chart(f"{prefix}{goal['name']} by trial", {"layer": layers, "height": 240}, data, caption, small=small)


def _varied(trials: Trials) -> list[str]:
    names = dict.fromkeys(name for one in trials for name in (one.get("params") or {}))
    found = {name: {_shown((one.get("params") or {}).get(name)) for one in trials} for name in names}
    return [name for name in names if len(found[name]) > 1][:MOST_AXES]


def _parallel(prefix: str, goal: Mapping[str, Any], trials: Trials, names: Sequence[str]) -> Chart:
    """A line per trial through its settings, each from its least to its greatest value."""
    rows = []
    short = _short(names)
    for at, name in enumerate(names):
        given = [(one, (one.get("params") or {}).get(name)) for one in trials]
        places = _places([value for _, value in given])
        for (one, value), height in zip(given, places, strict=True):
            if height is not None:
                rows.append((one["number"], known(one["values"][0]), short[name], at, height, _shown(value)))
    data = charts.columns_of(("trial", "objective", "setting", "place", "height", "value"), rows)
    spec: Spec = {
        "mark": {"type": "line", "point": {"size": 30}, "opacity": 0.75},
        "height": 34 * len(names),
        "encoding": {
            "x": charts.axis(
                "height", "least to greatest", scale={"padding": 10, "nice": False}, axis={"labels": False}
            ),
            "y": charts.names("setting", None, axis={"grid": True, "labelLimit": 180}),
            "order": {"field": "place"},
            "detail": {"field": "trial"},
            "color": {"field": "objective", "type": "quantitative", "title": str(goal["name"])},
            "tooltip": charts.tooltip("trial", "setting", "value", "objective"),
        },
    }
    up = goal.get("direction") != "minimize"
    order = sorted(trials, key=lambda one: (-1 if up else 1) * known(one["values"][0]))[: max(1, len(trials) // 4)]
    shared = [f"{name} = {value}" for name in names if (value := _agreed(order, name)) is not None]
    caption = f"A line is a trial, each setting from its least to its greatest value; {goal['name']} is the colour."
    if len(order) > 1:
        caption += f" The best {len(order)} trials " + (
            f"agree on {listed(shared)}." if shared else "agree on no setting."
        )
    return Chart(f"{prefix}Settings", spec, data, caption)


def _short(names: Sequence[str]) -> dict[str, str]:
    """The last part of a key, where that tells it apart."""
    last = {name: name.rpartition(".")[2] for name in names}
    return {name: end if list(last.values()).count(end) == 1 else name for name, end in last.items()}


def _agreed(trials: Trials, name: str) -> str | None:
    values = {_shown((one.get("params") or {}).get(name)) for one in trials}
    return values.pop() if len(values) == 1 else None


def _places(values: Sequence[Any]) -> list[float | None]:
    """From 0 to 1: numbers by size (over two decades by their logarithm), others in their order."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len([value for value in values if value is not None]):
        order = list(dict.fromkeys(_shown(value) for value in values if value is not None))
        return [None if value is None else order.index(_shown(value)) / max(len(order) - 1, 1) for value in values]
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low > 100:
        return [None if value is None else math.log(value / low) / math.log(high / low) for value in values]
    return [None if value is None else (value - low) / (high - low) if high > low else 0.5 for value in values]


def _importances(section: Section, prefix: str, found: Mapping[str, Any]) -> None:
    for method in found.get("methods") or []:
        shares = method.get("importances")
        if shares:
            order = sorted(shares, key=lambda name: -known(shares[name]))
            parts = [f"{name} {number(known(shares[name]), 2)}" for name in order]
            whose = f"{prefix}What mattered for {method.get('name', '')}"
            section.say(f"{whose}: {listed(parts, most=8)} (shares of the variance explained).")


def _table(prefix: str, trials: Trials, objectives: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for one in trials[:MOST_ROWS]:
        values = one.get("values") or [None] * len(objectives)
        rows.append(
            [str(one["number"]), str(one.get("method", "")), str(one.get("state", "")),
             *(number(known(value)) for value in values),
             number(known(one.get("seconds")), 3), number(one.get("step")), _settings(one)]
        )  # fmt: skip
    headings = ["trial", "method", "state", *(str(goal["name"]) for goal in objectives), "seconds", "step", "settings"]
    few = f"The first {MOST_ROWS} of {len(trials)}." if len(trials) > MOST_ROWS else ""
    return Table(headings, rows, title=f"{prefix}Trials", caption=few, folded=True)


def _settings(trial: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_shown(value)}" for name, value in (trial.get("params") or {}).items())


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
