"""What was trained, and whether it was worth it."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.reporting.blocks import Block, Tiles
from polytask.reporting.material import Material
from polytask.reporting.metrics import direction, label
from polytask.reporting.runs import Run
from polytask.reporting.sections.gains import Line, lines, overall
from polytask.reporting.words import count, known, listed, mean, number, percent, signed

MOST_TILES = 12


def headline(material: Material) -> tuple[str, str, Sequence[Block]]:
    """Title, verdict, and a tile per task."""
    runs = [run for run in material.runs if not run.compared]
    if material.comparisons:
        sentences = [str(sentence) for found in material.comparisons.values() for sentence in found["verdict"][:1]]
        return f"Comparison: {listed(list(material.comparisons))}", " ".join(sentences), _compared(material)
    if not runs:
        return _others(material), "", ()
    if len(runs) > 1:
        return listed([run.name for run in runs], most=4), _several(runs), ()
    (run,) = runs
    title = f"{run.name}: {run.method}, {count(len(run.tasks), 'task')}"
    found = lines(run)
    tiles = [Tiles([_tile(line) for line in found])] if 0 < len(found) <= MOST_TILES else []
    going = "" if run.finished >= run.planned or not found else f"Not finished, {run.finished} of {run.planned} seeds. "
    return title, going + verdict(run, found), tiles


def _compared(material: Material) -> Sequence[Block]:
    """What a comparison has weighed, in numbers."""
    found = next(iter(material.comparisons.values()))
    leader = next((one for one in found["methods"] if one["name"] == found.get("leader")), None)
    tiles = [
        ("methods", str(len(found["methods"])), count(len(found.get("seeds") or []), "seed"), ""),
        ("tasks", str(len(found["measures"])), f"{found.get('part', 'test')} rows", ""),
    ]
    if leader is not None:
        low, high = known(leader["delta"].get("low")), known(leader["delta"].get("high"))
        tone = "good" if low > 0 else "bad" if high < 0 else ""
        noise = "" if low != low else f"{percent(low, sign=True)} to {percent(high, sign=True)}"
        tiles.append((f"Δm of {leader['name']}", percent(known(leader["delta"]["mean"]), 2, sign=True), noise, tone))
    return [Tiles(tiles)]


def _others(material: Material) -> str:
    kinds = (
        ("Pareto front", material.fronts),
        ("Sweep", material.sweeps),
        ("Task affinity", material.affinities),
        ("Score fusion", material.fusions),
    )
    return " · ".join(f"{kind}: {listed(list(files))}" for kind, files in kinds if files)


def verdict(run: Run, found: Sequence[Line]) -> str:
    """Is one model better than one per task? One sentence, with its noise."""
    if not found:
        step = max((training.curves.last for training in run.seeds), default=0)
        return f"Not finished: {count(step, 'step')} trained so far, no scores yet."
    seeds = max(len(line.ours) for line in found)
    judged = [line for line in found if line.gains]
    if not judged:
        part = f"{count(len(found), 'task')} scored on {run.part} rows, {count(seeds, 'seed')}."
        more = "The comparison below says what sharing brings." if run.compared else (
            "Without single-task baselines nobody knows whether sharing paid: polytask train --baselines."
        )  # fmt: skip
        return f"{part} {more}"
    gained = f"{overall(judged)} ({run.part} rows)"
    if seeds == 1:
        up = sum(line.gain > 0 for line in judged)
        return f"{gained}; better on {up} of {len(judged)} tasks, but one seed says nothing about noise."
    good = [line.task for line in judged if line.tone == "good"]
    bad = [line.task for line in judged if line.tone == "bad"]
    rest = len(judged) - len(good) - len(bad)
    parts = [f"{listed(good)} gain{'s' * (len(good) == 1)}"] if good else []
    parts += [f"{listed(bad)} pay{'s' * (len(bad) == 1)}"] if bad else []
    parts += [f"{count(rest, 'task')} within the noise of {seeds} seeds"] if rest else []
    return f"{gained}: {'; '.join(parts)}."


def _tile(line: Line) -> tuple[str, str, str, str]:
    value = number(mean(list(line.ours.values())))
    if not line.gains:
        return line.task, value, label(line.metric), ""
    arrow = "▲" if line.gain > 0 else "▼" if line.gain < 0 else "="
    return line.task, value, f"{label(line.metric)} {arrow} {signed(line.gain)}", line.tone


def _several(runs: Sequence[Run]) -> str:
    """Who is best at what."""
    found = {run.name: {line.task: line for line in lines(run)} for run in runs}
    tasks = list(dict.fromkeys(task for own in found.values() for task in own))
    wins: dict[str, list[str]] = {}
    for task in tasks:
        own = {name: lines_[task] for name, lines_ in found.items() if task in lines_}
        metric = next(iter(own.values())).metric
        values = {name: mean(list(line.ours.values())) for name, line in own.items() if line.metric == metric}
        best = max(values, key=lambda name: (direction(metric) or 1) * values[name])
        wins.setdefault(best, []).append(task)
    if not wins:
        return f"{count(len(runs), 'run')}; none of them has scores yet."
    parts = [f"{name} has the best mean score for {listed(own)}" for name, own in wins.items()]
    seeds = min(len(run.seeds) for run in runs)
    noise = "one seed says nothing about noise" if seeds == 1 else f"see the spread over {seeds} seeds"
    return f"{'; '.join(parts)} ({noise})."
