"""Which tasks help each other, and which groups that suggests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section, Table
from polytask.reporting.charts import Values
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.sections.gates import table
from polytask.reporting.words import known, listed, number, signed

SMALL = 1e-3
"""Affinities of one step below this are told in millionths."""
METHODS = {"lookahead": "look-ahead in one training", "pairs": "trainings of pairs"}


def affinity(runs: Sequence[Run], files: Mapping[str, Mapping[str, Any]], gaps: Gaps) -> Section:
    """Heat maps of affinities, with suggested groups where a file holds them.

    Args:
        runs: May hold look-ahead affinities in their probes.
        files: ``affinity.json`` by name.
        gaps: Gets what is missing.
    """
    section = Section("affinity", "Task affinity")
    for name, found in files.items():
        method = str(found.get("method", ""))
        how = METHODS.get(method, method)
        prefix = f"{name}: " if len(files) > 1 else ""
        names = [str(task) for task in found["tasks"]]
        if found.get("groups"):
            groups = [" + ".join(map(str, group)) for group in found["groups"]]
            section.say(f"{prefix}Suggested groups: {listed(groups, most=12)} (score {number(found.get('score'))}).")
        section.blocks.append(_matrix(f"{prefix}Affinity, from {how}", names, table(found["affinity"])))
        if found.get("candidates"):
            rows = [
                [" · ".join(" + ".join(map(str, group)) for group in one["groups"]), number(known(one.get("score")))]
                for one in found["candidates"][:20]
            ]
            section.blocks.append(Table(["groups", "score"], rows, title=f"{prefix}Other groupings", folded=True))
    for run in runs:
        probes = [probe["affinity"] for probe in run.seeds[0].curves.probes if probe.get("affinity")]
        stacked = [table(one) for one in probes if len(one) == len(run.tasks)]
        if stacked:
            prefix = f"{run.name}: " if len(runs) > 1 else ""
            title = f"{prefix}Look-ahead affinity, mean over {len(stacked)} probes"
            section.blocks.append(_matrix(title, run.tasks, _mean(stacked)))
    if not section.blocks:
        gaps.add(section.title, "no affinities were measured", "polytask group CONFIG measures them")
    return section


def _matrix(title: str, names: Sequence[str], values: Values) -> Chart:
    unit = "affinity"
    if np.isfinite(values).any() and np.nanmax(np.abs(values)) < SMALL:
        values, unit = values * 1e6, "ppm of the loss"
    others = np.where(np.eye(len(names), dtype=bool), np.nan, values)
    caption = "How much following one task's gradient (rows) lowers another task's loss (columns)."
    if np.isfinite(others).any():
        best, worst = (np.unravel_index(int(pick(others)), others.shape) for pick in (np.nanargmax, np.nanargmin))
        caption += f" Most helpful: {names[int(best[0])]} to {names[int(best[1])]} ({signed(float(others[best]))})"
        caption += f"; least: {names[int(worst[0])]} to {names[int(worst[1])]} ({signed(float(others[worst]))})."
    if unit != "affinity":
        caption += f" In {unit}."
    return charts.matrix(
        title, names, names, values, caption, signed=True, row="followed", column="affected", unit=unit
    )


def _mean(stacked: Sequence[Values]) -> Values:
    whole = np.stack(stacked)
    known = np.isfinite(whole)
    sums, counts = np.where(known, whole, 0.0).sum(0), known.sum(0)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
