"""Methods over seeds: the verdict, the leaderboard, who gains and who pays, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Cell, Chart, Section, Spec, Table, Tone
from polytask.reporting.files import Gaps
from polytask.reporting.metrics import label
from polytask.reporting.words import count, known, listed, mean, number, percent, signed, spread

KINDS = {"shared": "shared", "single": "one network per task", "lightgbm": "LightGBM per task"}
Found = Mapping[str, Any]


def comparison(files: Mapping[str, Found], gaps: Gaps) -> Section:
    """All of ``comparison.json``.

    Args:
        files: By name.
        gaps: Gets what is missing.
    """
    section = Section("comparison", "Comparison")
    for name, found in files.items():
        _show(section, f"{name}: " if len(files) > 1 else "", found)
    if not section.blocks:
        what = "no comparison is given"
        gaps.add(section.title, what, "polytask compare CONFIG trains methods over seeds; name its folder here")
    return section


def _show(section: Section, prefix: str, found: Found) -> None:
    methods = found["methods"]
    section.say(*(prefix + str(sentence) for sentence in found.get("verdict") or []))
    section.blocks += [
        _leaderboard(prefix, found),
        _board(prefix, found),
        _seesaw(prefix, found),
        _gains(prefix, found),
    ]
    section.blocks.append(_costs(prefix, methods))
    failed = [
        [key, str(one["failure"].get("kind", "")), str(one["failure"].get("what", ""))]
        for key, one in (found.get("runs") or {}).items()
        if one.get("failure")
    ]
    if failed:
        section.blocks.append(
            Table(["run", "kind", "what happened"], failed, title=f"{prefix}{count(len(failed), 'run')} failed")
        )


def _leaderboard(prefix: str, found: Found) -> Chart:
    rows: list[tuple[Cell, ...]] = []
    for method in found["methods"]:
        if method["kind"] == "single":
            continue  # the reference, at 0
        delta = method["delta"]
        values = [known(one) for one in delta.get("seeds") or [delta.get("mean")]]
        for value in values:
            rows.append(
                (
                    str(method["name"]),
                    KINDS.get(method["kind"], str(method["kind"])),
                    100 * value,
                    *(100 * known(delta.get(end)) for end in ("mean", "low", "high")),
                )
            )
    data = charts.columns_of(("method", "kind", "seed", "mean", "low", "high"), rows)
    place, colour = charts.names("method", None), charts.names("kind", "")
    title = "mean relative gain over one network per task (Δm), %"
    layers: list[Spec] = [
        {"data": {"values": [{}]}, "mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"datum": 0}}},
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {"y": place, "x": charts.axis("low", title), "x2": {"field": "high"}, "color": colour},
        },
        {
            "mark": {"type": "point", "size": 30, "opacity": 0.5},
            "encoding": {
                "y": place,
                "x": charts.axis("seed", title),
                "color": colour,
                "tooltip": charts.tooltip("method", "seed"),
            },
        },
        {
            "mark": {"type": "tick", "thickness": 3, "size": 16},
            "encoding": {
                "y": place,
                "x": charts.axis("mean", title),
                "color": colour,
                "tooltip": charts.tooltip("method", "mean", "low", "high"),
            },
        },
    ]
    leader = found.get("leader")
    caption = "A dot per seed, a bar at the mean, a line for the 95 % interval."
    first = next((method for method in found["methods"] if method["name"] == leader), None)
    if first is not None:
        reached = percent(known(first["delta"]["mean"]), 2, sign=True)
        caption += f" {leader} is chosen on validation; on {found.get('part', 'test')} rows it reaches {reached}."
    return Chart(f"{prefix}Leaderboard", {"layer": layers, "height": 30 * len(set(data["method"]))}, data, caption)


def _board(prefix: str, found: Found) -> Table:
    rows = []
    for method in found["methods"]:
        delta = method["delta"]
        rows.append(
            [str(method["name"]), _toned(delta, relative=True), _interval(delta, relative=True),
             number(known(method.get("rank")), 3), number(known(method.get("p_baseline")), 2),
             number(known(method.get("p_leader")), 2),
             Tone(str(method.get("failed", 0)), "bad" if method.get("failed") else "")]
        )  # fmt: skip
    headings = ["method", "Δm", "95 % interval", "mean rank", "p, best baseline", "p, leader", "failed"]
    seeds = len(found.get("seeds") or [])
    left = found.get("left_out") or []
    caption = f"{str(found.get('part', 'test')).capitalize()} rows, {count(seeds, 'seed')}; "
    caption += "p of paired t tests, corrected by Holm."
    caption += f" Left out of Δm: {listed([str(one) for one in left])}." if left else ""
    return Table(headings, rows, caption=caption)


def _seesaw(prefix: str, found: Found) -> Chart:
    methods = [method for method in found["methods"] if method["kind"] != "single"]
    tasks = [str(measure["task"]) for measure in found["measures"]]
    alone: Found = next((method for method in found["methods"] if method["kind"] == "single"), {"tasks": {}})
    base = {task: _mean(own["scores"]) for task, own in alone["tasks"].items()}
    values = np.array(
        [[_relative(method["tasks"].get(task), base.get(task)) for task in tasks] for method in methods]
    ).reshape(len(methods), len(tasks))
    best = [
        f"{task} gains most from {methods[int(np.nanargmax(column))]['name']}"
        for task, column in zip(tasks, values.T, strict=True)
        if np.isfinite(column).any() and np.nanmax(column) > 0
    ]
    caption = "Relative gain over one network per task in %, positive where better. " + (
        f"{listed(best, most=4)}." if best else "No task gains."
    )
    return charts.matrix(
        f"{prefix}Who gains, who pays",
        [str(method["name"]) for method in methods],
        tasks,
        100 * values,
        caption,
        signed=True,
        row="",
        column="",
        unit="gain, %",
    )


def _mean(scores: Sequence[Any]) -> float:
    return mean([value for value in map(known, scores) if value == value])


def _relative(own: Any, base: float | None) -> float:
    if not own or base is None or not np.isfinite(base) or base == 0:
        return float("nan")
    return known(own["gain"]["mean"]) / abs(float(base))


def _gains(prefix: str, found: Found) -> Table:
    tasks = [(str(one["task"]), str(one["metric"])) for one in found["measures"]]
    rows = []
    for method in found["methods"]:
        for task, metric in tasks:
            own = method["tasks"].get(task)
            if own:
                single = method["kind"] == "single"
                scores = spread([known(one) for one in own["scores"]])
                gain = "" if single else _toned(own["gain"])
                rows.append(
                    [str(method["name"]), task, label(metric), scores, gain, "" if single else _interval(own["gain"])]
                )
    headings = ["method", "task", "metric", "score", "gain", "95 % interval"]
    caption = (
        "Gains over one network per task of the same seed, positive where better; marked where the interval excludes 0."
    )
    return Table(headings, rows, title=f"{prefix}Scores and gains by task", caption=caption, folded=True)


def _costs(prefix: str, methods: Sequence[Found]) -> Table:
    rows = []
    for method in methods:
        cost = method.get("cost") or {}
        rows.append(
            [
                str(method["name"]),
                *(number(known(cost.get(name)), 3) for name in ("seconds", "parameters", "rows_per_second", "memory")),
            ]
        )
    headings = ["method", "training, s", "parameters", "rows/s", "memory, MiB"]
    return Table(
        headings, rows, title=f"{prefix}Costs", caption="Per seed, for all tasks: models of single tasks are added up."
    )


def _toned(gain: Found, *, relative: bool = False) -> Tone:
    mean, low, high = (known(gain.get(name)) for name in ("mean", "low", "high"))
    text = percent(mean, 2, sign=True) if relative else signed(mean)
    return Tone(
        f"{'▲' if low > 0 else '▼' if high < 0 else '·'} {text}", "good" if low > 0 else "bad" if high < 0 else ""
    )


def _interval(gain: Found, *, relative: bool = False) -> str:
    low, high = known(gain.get("low")), known(gain.get("high"))
    if low != low:
        return "–"
    return (
        f"{percent(low, 2, sign=True)} to {percent(high, 2, sign=True)}"
        if relative
        else f"{signed(low)} to {signed(high)}"
    )
