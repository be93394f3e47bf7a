"""The results as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from polytask.reproduce.neutral.experiment import SINGLE, STATIC
from polytask.reproduce.neutral.figure import TITLES
from polytask.reproduce.neutral.measured import Row

if TYPE_CHECKING:
    from polytask.reproduce.neutral.run import Measured, NeutralReproduction

Lines = list[list[str]]
WIDE = 6
"""Data sets with more tasks show their mean only."""


def overview(result: NeutralReproduction) -> tuple[list[str], Lines]:
    """Headings and rows over all data sets, best mean rank first: gain per data set, ranks, and distance to static."""
    mean, over = result.ranking.mean, result.over_data_sets.mean
    p = result.ranking.against(STATIC)
    headings = ["method", "mean rank", "by data sets", "p against static"]
    headings += [f"{one.data_set.title}, gain %" for one in result.measured] + ["step time / equal"]
    found: list[Mapping[str, Row]] = [{row.method: row for row in one.table} for one in result.measured]
    lines = []
    for name in [SINGLE, *sorted(mean, key=mean.__getitem__)]:
        ranks = [f"{mean[name]:.1f}", f"{over[name]:.1f}"] if name in mean else ["", ""]
        cost = [table[name].cost for table in found]
        times = "" if math.isnan(cost[0]) else f"{min(cost):.2f}-{max(cost):.2f}"
        probability = f"{p[name]:.2g}" if name in p else ""
        lines.append([title(name), *ranks, probability, *(gain(table[name]) for table in found), times])
    return headings, lines


def per_task(one: Measured) -> tuple[list[str], Lines]:
    """Headings and rows of one data set: its metric per task, what was chosen, seconds of a step."""
    few = len(one.tasks) <= WIDE
    metric = one.data_set.metric
    columns = [f"{task}, {metric}" for task in one.tasks] if few else [f"mean {metric} of {len(one.tasks)} tasks"]
    lines = []
    for row in one.table:
        values = row.test if few else row.test.mean(1, keepdims=True)
        cells = [_spread(column) for column in values.T]
        rates = ", ".join(dict.fromkeys(f"{rate:g}" for rate in row.learning_rates.values()))
        timed = "" if math.isnan(row.seconds) else f"{1000 * row.seconds:.1f}"
        lines.append([title(row.method), *cells, gain(row), rates, timed])
    return ["method", *columns, "gain %", "learning rate", "ms per step"], lines


def markdown(result: NeutralReproduction) -> str:
    """The verdict and all tables."""
    parts = [f"# {result.experiment.title}", "", *(f"- {sentence}" for sentence in result.verdict), ""]
    parts += _markdown(*overview(result))
    for one in result.measured:
        parts += [f"## {one.data_set.title}", "", chosen(one), ""]
        parts += _markdown(*per_task(one))
    return "\n".join(parts)


def chosen(one: Measured) -> str:
    """Rows of the parts, and the static weights that won."""
    counts = ", ".join(f"{count:,} {part}" for part, count in one.rows.items())
    weights = next(row.weights for row in one.table if row.method == STATIC)
    if set(weights) == {1.0}:
        words = "equal ones"
    elif len(weights) <= WIDE:
        words = ", ".join(f"{task} {weight:.2f}" for task, weight in zip(one.tasks, weights, strict=True))
    else:
        words = f"between {min(weights):.2f} and {max(weights):.2f}"
    return f"Rows: {counts}. Tuned static weights: {words}."


def title(method: str) -> str:
    """How tables call a method.

    Example:
        >>> title("equal"), title("mgda")
        ('equal weights', 'mgda')
    """
    return TITLES.get(method, method)


def gain(row: Row) -> str:
    """Mean and standard deviation over seeds."""
    lost = f" ({row.diverged} diverged)" * bool(row.diverged)
    return "-" + lost if math.isnan(row.mean) else f"{row.mean:+.2f} ± {row.std:.2f}{lost}"


def _spread(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "-"
    spread = f" ± {known.std(ddof=1):.4f}" if len(known) > 1 else ""
    return f"{known.mean():.4f}{spread}"


def _markdown(headings: Sequence[str], lines: Lines) -> list[str]:
    rule = ["---"] * len(headings)
    return ["| " + " | ".join(cells) + " |" for cells in (headings, rule, *lines)] + [""]
