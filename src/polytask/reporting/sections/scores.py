"""Scores over seeds, beside single-task networks and other runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section, Table, Tone
from polytask.reporting.files import Gaps
from polytask.reporting.metrics import direction, label
from polytask.reporting.runs import Run
from polytask.reporting.sections.gains import Line, divisor, left_out, lines, unit
from polytask.reporting.words import count, listed, mean, number, percent, signed, spread

MOST_CHARTS = 12
ALONE = "one network per task"
ROOM = {"padding": 10}


def scores(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Tables for all tasks, gains in one chart, and the seeds of each task."""
    section = Section("scores", "Scores")
    runs = [run for run in runs if not run.compared]
    if not runs:
        return section  # a comparison or a front says more
    found = {run.name: lines(run) for run in runs}
    if not any(found.values()):
        gaps.add(section.title, "no run has finished a seed", "scores.json is written at the end of each training")
        return section
    if not any(line.alone for own in found.values() for line in own):
        what = "there are none, so that the price or gain of sharing is unknown"
        gaps.add("Single-task baselines", what, "polytask train --baselines")
    if any(line.gains for own in found.values() for line in own):
        section.blocks.append(_gains(found))
    section.blocks.append(_table(runs, found))
    section.blocks += _seeds(runs, found)
    section.blocks.append(_all(runs))
    return section


def _gains(found: Mapping[str, Sequence[Line]]) -> Chart:
    every = [line for own in found.values() for line in own]
    metric, rows = unit(every), []
    for name, own in found.items():
        for line in own:
            by = divisor(line, metric) / (100 if metric is None else 1)
            rows += [(line.task, name, gain / by, line.gain / by) for gain in line.gains if by == by]
    data = charts.columns_of(("task", "run", "gain", "mean"), rows)
    several, title = len(found) > 1, f"gain over one network per task, {metric or '%'}"
    colour = charts.names("run", "", legend={} if several else None)
    channel = {"y": charts.names("task", None)} | ({"yOffset": {"field": "run"}} if several else {})
    layers = [
        {"data": {"values": [{}]}, "mark": "rule", "encoding": {"x": {"datum": 0}}},
        {
            "mark": {"type": "point", "size": 42, "opacity": 0.55},
            "encoding": channel
            | {"x": charts.axis("gain", title, scale=ROOM), "color": colour}
            | {"tooltip": charts.tooltip("task", "run", "gain")},
        },
        {
            "mark": {"type": "tick", "thickness": 3, "size": 18},
            "encoding": channel | {"x": charts.axis("mean", title, scale=ROOM), "color": colour},
        },
    ]
    parts = [_signs(own, f"{name}: " if several else "") for name, own in found.items()]
    left = left_out(every)
    caption = f"A dot per seed, a bar at the mean. {' '.join(parts)}"
    caption += f" Not drawn: {listed(left)}, whose single-task score is near 0." if left else ""
    spec = {"layer": layers, "height": (34 if len(rows) < 40 else 18) * len(set(data["task"])) * len(found)}
    return Chart("Gain over one network per task", spec, data, caption)


def _signs(own: Sequence[Line], prefix: str) -> str:
    above = [line.task for line in own if line.gain > 0]
    below = [line.task for line in own if line.gain < 0]
    parts = [f"{listed(names)} {where} 0" for names, where in ((above, "above"), (below, "below")) if names]
    return f"{prefix}{'; '.join(parts) or 'no difference'}."


def _table(runs: Sequence[Run], found: Mapping[str, Sequence[Line]]) -> Table:
    alone = any(line.alone for own in found.values() for line in own)
    several = len(runs) > 1
    headings = ["task", "metric", *(["run"] if several else [])]
    headings += [*(["one network per task"] if alone else []), "one model", *(["gain", "gain, %"] if alone else [])]
    rows = []
    for name, own in found.items():
        for line in own:
            row: list[object] = [line.task, label(line.metric), *([name] if several else [])]
            row += [spread(list(line.alone.values()))] if alone else []
            row += [spread(list(line.ours.values()))]
            row += [Tone(signed(line.gain), line.tone), percent(line.relative, sign=True)] if alone else []
            rows.append(row)
    if several:
        order = {task: place for place, task in enumerate(dict.fromkeys(str(row[0]) for row in rows))}
        rows.sort(key=lambda row: order[str(row[0])])
    part, seeds = runs[0].part, max(len(run.seeds) for run in runs)
    noise = f"mean ± standard deviation over {count(seeds, 'seed')}" if seeds > 1 else "one seed"
    caption = f"{part.capitalize()} rows; {noise}." + (" Gains are positive where better." if alone else "")
    if any(line.near_zero for own in found.values() for line in own):
        caption += " Where the single-task score is near 0, there is no gain in %."
    return Table(headings, rows, caption=caption)


def _seeds(runs: Sequence[Run], found: Mapping[str, Sequence[Line]]) -> list[Chart]:
    """Per task a strip of dots, where there is more than one dot to compare."""
    tasks = list(dict.fromkeys(line.task for own in found.values() for line in own))
    if len(tasks) > MOST_CHARTS:
        return []
    strips = [_strip(task, {name: _of(own, task) for name, own in found.items()}) for task in tasks]
    return [strip for strip in strips if strip is not None]


def _of(own: Sequence[Line], task: str) -> Line | None:
    return next((line for line in own if line.task == task), None)


def _strip(task: str, by_run: Mapping[str, Line | None]) -> Chart | None:
    several = len(by_run) > 1
    rows, metric = [], ""
    for name, line in by_run.items():
        if line is None:
            continue
        metric = line.metric
        for model, values in ((name if several else "one model", line.ours), (ALONE, line.alone)):
            rows += [(model, "-" if seed is None else str(seed), value) for seed, value in values.items()]
    rows = sorted(dict.fromkeys(rows), key=lambda row: row[0] == ALONE)
    if len(rows) < 2:
        return None
    data = charts.columns_of(("model", "seed", "value"), rows)
    who = charts.names("model", None)
    layers = [
        {
            "mark": {"type": "point", "size": 42, "opacity": 0.6},
            "encoding": {
                "x": charts.axis("value", label(metric), scale=ROOM),
                "y": who,
                "color": charts.names("model", None, legend=None),
                "tooltip": charts.tooltip("model", "seed", "value"),
            },
        },
        {
            "mark": {"type": "tick", "thickness": 3, "size": 16},
            "encoding": {
                "x": {"field": "value", "type": "quantitative", "aggregate": "mean", "title": label(metric)},
                "y": who,
                "color": charts.names("model", None, legend=None),
            },
        },
    ]
    means = {who: mean([value for name, _, value in rows if name == who]) for who in dict.fromkeys(data["model"])}
    order = sorted(means, key=lambda who: -(direction(metric) or 1) * means[who])
    caption = f"{label(metric)} of {task}, best first: " + ", ".join(f"{who} {number(means[who])}" for who in order)
    return Chart(task, {"layer": layers, "height": 30 * len(set(data["model"]))}, data, caption + ".", small=True)


def _all(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        for part in dict.fromkeys(part for training in run.seeds for part in training.parts):
            first = next(training.parts[part] for training in run.seeds if part in training.parts)
            for task, metrics in first.items():
                for metric in metrics:
                    ours = spread(list(run.values(task, metric, part).values()))
                    alone = run.alone(task, metric, part).values()
                    rows.append([task, metric, part, run.name, ours, spread(list(alone)) if alone else "–"])
    headings = ["task", "metric", "part", "run", "one model", "one network per task"]
    return Table(headings, rows, title="All metrics of all parts", folded=True)
