"""What the balancer made of the tasks, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Section
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.words import listed, number

MOST = 16


def weights(runs: Sequence[Run], gaps: Gaps) -> Section:
    """A curve per task; a sentence where the weights are constant."""
    section = Section("weights", "Balancer weights")
    for run in runs:
        curves, prefix = run.seeds[0].curves, f"{run.name}: " if len(runs) > 1 else ""
        names = run.tasks
        if not curves.steps or curves.weights.shape[1] != len(names) or not np.isfinite(curves.weights).any():
            continue
        low, high = np.nanmin(curves.weights), np.nanmax(curves.weights)
        if high - low <= 1e-6 * max(abs(high), 1e-12):
            section.say(f"{prefix}All weights stayed {number(float(high))}.")
            continue
        spans = np.nanmax(curves.weights, 0) - np.nanmin(curves.weights, 0)
        shown = sorted(np.argsort(-np.nan_to_num(spans))[:MOST])
        last = {names[place]: _last(curves.weights[:, place]) for place in range(len(names))}
        order = sorted((name for name in last if last[name] == last[name]), key=lambda name: -last[name])
        caption = f"At the end {listed([f'{name} {number(last[name], 3)}' for name in order], most=6)}."
        if len(shown) < len(names):
            caption = f"The {len(shown)} of {len(names)} tasks whose weights moved most. {caption}"
        data = charts.series(curves.steps, {names[place]: curves.weights[:, place] for place in shown})
        title = (
            f"{prefix}{_get(run)}, seed {run.seeds[0].seed}"
            if run.seeds[0].seed is not None
            else f"{prefix}{_get(run)}"
        )
        section.blocks.append(charts.lines(title, data, caption, y="weight", colour=""))
    if not section.blocks:
        gaps.add(section.title, "no weights are recorded", "records.jsonl is written by polytask train")
    return section


def _last(values: charts.Values) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else float("nan")


def _get(run: Run) -> str:
    balancer = run.config.get("balancer")
    return f"Weights of {balancer['use']}" if isinstance(balancer, dict) and "use" in balancer else "Weights"
