"""Affinities as a heat map, tasks in the order of the groups."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polytask.errors import MissingExtraError
from polytask.files import whole_file
from polytask.grouping.affinity import Affinity
from polytask.grouping.objective import Groups, off_diagonal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#23272e", "#6b7280"
COLOURS = ("#a63d2f", "#e9b7a6", "#f7f7f5", "#a9cfd9", "#1f6f8b")
DIGITS_UP_TO = 16
"""Tasks up to which cells have their numbers."""


def draw(affinity: Affinity, groups: Groups, file: Path) -> None:
    """Draws affinities: rows help, columns are helped; frames are the suggested groups.

    Raises:
        MissingExtraError: Without the extra ``plot``.
    """
    try:
        figures = importlib.import_module("matplotlib.figure")
        colours = importlib.import_module("matplotlib.colors")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing affinities") from error
    order = [task for group in groups for task in group.serves]
    known, values = off_diagonal(affinity.mean)
    unit = affinity.unit
    shown = unit.factor * np.where(known > 0, affinity.mean, math.nan)[np.ix_(order, order)]
    limit = unit.factor * float(np.abs(values).max()) or 1.0
    names = [affinity.tasks[task] for task in order]
    side = max(0.52 * len(order), 1.6) + 0.09 * max(map(len, names))
    figure = figures.Figure(figsize=(side + 1.4, side + 0.9), layout="constrained")
    axes = figure.subplots()
    palette = colours.LinearSegmentedColormap.from_list("affinity", COLOURS).with_extremes(bad="#e3e6ea")
    image = axes.imshow(shown, cmap=palette, vmin=-limit, vmax=limit)
    if len(order) <= DIGITS_UP_TO:
        _numbers(axes, unit.factor * affinity.mean[np.ix_(order, order)], limit)
    _frames(axes, groups)
    _labels(axes, names)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label(f"{unit.name} of the loss", fontsize=8, color=FAINT)
    bar.ax.tick_params(labelsize=7.5, length=0)
    bar.outline.set_visible(False)
    measured = "one step ahead" if affinity.method == "lookahead" else "trained in pairs"
    figure.suptitle(f"What a task does for others, {measured}", x=0.01, ha="left", fontsize=11, color=INK)
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=180, format="png", facecolor="white")


def _numbers(axes: Axes, values: np.ndarray, limit: float) -> None:
    places = max(0, 2 - math.floor(math.log10(limit)))
    for (row, column), value in np.ndenumerate(values):
        if math.isnan(value):
            continue
        own = row == column
        dark = not own and abs(value) > 0.6 * limit
        text = f"{round(float(value), places) + 0.0:.{places}f}".replace("-", "−")  # no -0
        axes.text(
            column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else FAINT if own else INK
        )


def _frames(axes: Axes, groups: Groups) -> None:
    start = -0.5
    for group in groups:
        side = len(group.serves)
        corners = [start, start + side, start + side, start, start], [start, start, start + side, start + side, start]
        axes.plot(*corners, color=INK, linewidth=1.8, clip_on=False, solid_joinstyle="miter")
        start += side


def _labels(axes: Axes, names: Sequence[str]) -> None:
    places = range(len(names))
    axes.set_xticks(places, names, fontsize=8.5, color=INK, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names, fontsize=8.5, color=INK)
    axes.set_xlabel("helps this task", fontsize=8.5, color=FAINT)
    axes.set_ylabel("this task", fontsize=8.5, color=FAINT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
