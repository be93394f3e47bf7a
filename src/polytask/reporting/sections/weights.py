"""What the balancer made of the tasks, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Section
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.words import listed, number

MOST = 8
CONSTANT = 1e-3
"""Weights that move by less than this share are constant up to rounding."""


def weights(runs: Sequence[Run], gaps: Gaps) -> Section:
    """A curve per task; a sentence where the weights are constant."""
    section = Section("weights", "Balancer weights")
    for run in runs:
        curves, prefix = run.seeds[0].curves, f"{run.name}: " if len(runs) > 1 else ""
        if not curves.steps or curves.weights.shape[1] != len(run.tasks):
            continue
        seen = np.flatnonzero(np.isfinite(curves.weights).any(0))
        names = [run.tasks[place] for place in seen]
        if not names:
            continue
        values = curves.weights[:, seen]
        middle, spans = np.nanmean(values, 0), np.nanmax(values, 0) - np.nanmin(values, 0)
        if (spans <= CONSTANT * np.abs(middle)).all():
            section.say(f"{prefix}{_constant(names, middle)}")
            continue
        shown = sorted(np.argsort(-spans)[:MOST])
        last = {name: float(column[np.isfinite(column)][-1]) for name, column in zip(names, values.T, strict=True)}
        order = sorted(names, key=lambda name: -last[name])
        caption = f"At the end {listed([f'{name} {number(last[name], 3)}' for name in order], most=6)}."
        if len(shown) < len(names):
            caption = f"The {len(shown)} of {len(names)} tasks whose weights moved most. {caption}"
        data = charts.series(curves.steps, {names[place]: values[:, place] for place in shown})
        title = (
            f"{prefix}{_get(run)}, seed {run.seeds[0].seed}"
            if run.seeds[0].seed is not None
            else f"{prefix}{_get(run)}"
        )
        section.blocks.append(charts.lines(title, data, caption, y="weight", colour=""))
    if not section.blocks:
        gaps.add(section.title, "no weights are recorded", "records.jsonl is written by polytask train")
    return section


def _constant(names: Sequence[str], values: charts.Values) -> str:
    if np.ptp(values) <= CONSTANT * np.abs(values).max():
        return f"All weights stayed {number(float(values.mean()), 3)}."
    shown = [f"{name} {number(float(one), 3)}" for name, one in zip(names, values, strict=True)]
    return f"All weights were constant: {listed(shown, most=12)}."


def _get(run: Run) -> str:
    balancer = run.config.get("balancer")
    return f"Weights of {balancer['use']}" if isinstance(balancer, dict) and "use" in balancer else "Weights"
