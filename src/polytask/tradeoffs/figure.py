"""The front as a picture: two tasks as a plane per part, more as planes of pairs and parallel coordinates."""

from __future__ import annotations

import importlib
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polytask.errors import MissingExtraError
from polytask.files import whole_file
from polytask.fronts.figure import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from polytask.tradeoffs.result import TradeOff

COLUMNS, FAINT, INK = 3, "#9aa0a8", "#23272e"


def draw(found: TradeOff, file: Path) -> None:
    """Draws points by method: full where efficient on validation rows; a star is chosen, dashes are single tasks.

    Raises:
        MissingExtraError: Without the extra ``plot``.
    """
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing the front") from error
    tasks = len(found.measures)
    if tasks == 2:
        panels = [(part, (0, 1)) for part in found.parts]
    else:
        panels = [("validation", pair) for pair in combinations(range(tasks), 2)]
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = figures.Figure(figsize=(3.9 * columns, 3.5 * lines + 2.6 * (tasks > 2)), layout="constrained")
    grid = figure.add_gridspec(lines + (tasks > 2), columns)
    for number, (part, pair) in enumerate(panels):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        _plane(axes, found, part, pair)
        if number == 0 and (len(found.methods) > 1 or found.chosen is not None or found.baselines):
            axes.legend(frameon=False, fontsize=7, loc="best")
    if tasks > 2:
        _parallel(figure.add_subplot(grid[lines, :]), found)
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=150, format="png", facecolor="white")


def _plane(axes: Axes, found: TradeOff, part: str, pair: tuple[int, int]) -> None:
    """Two tasks on the rows of one part."""
    efficient = found.front.efficient().numpy()
    values = np.array([point.values(part, found.measures) for point in found.planned])[:, list(pair)]
    for number, method in enumerate(found.methods):
        colour = COLOURS[number % len(COLOURS)]
        own = np.array([point.method == method for point in found.planned])
        kept, rest = values[own & efficient], values[own & ~efficient]
        axes.scatter(kept[:, 0], kept[:, 1], s=24, color=colour, zorder=3, label=method)
        axes.scatter(rest[:, 0], rest[:, 1], s=18, facecolors="none", edgecolors=colour, alpha=0.7, zorder=3)
        if len(found.measures) == 2:
            way = values[own][np.argsort([point.preference[0] for point in found.planned if point.method == method])]
            axes.plot(*way.T, color=colour, linewidth=0.9, alpha=0.5)
    first, second = (found.measures[number] for number in pair)
    if found.baselines:
        means = [
            float(np.mean([scores[part][one.task][one.metric] for scores in found.baselines[one.task]]))
            for one in (first, second)
        ]
        axes.axvline(means[0], color=FAINT, linestyle="--", linewidth=0.9, label="one network per task")
        axes.axhline(means[1], color=FAINT, linestyle="--", linewidth=0.9)
    if found.chosen is not None:
        at = np.array(found.chosen.point.values(part, found.measures))[list(pair)]
        label = f"chosen: {found.chosen.point.name}"
        axes.scatter(
            at[0], at[1], marker="*", s=130, color="#d4a017", edgecolors=INK, linewidths=0.6, zorder=4, label=label
        )
    for set_label, one in ((axes.set_xlabel, first), (axes.set_ylabel, second)):
        set_label(f"{one.task} {one.metric} ({'greater' if one.greater else 'smaller'} is better)", fontsize=8)
    axes.set_title(f"{part} rows" if len(found.measures) == 2 else "", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
    axes.margins(0.08)


def _parallel(axes: Axes, found: TradeOff) -> None:
    """All tasks side by side, each from its worst to its best value of the validation part; efficient points only."""
    values = np.array([point.values("validation", found.measures) for point in found.points])
    signs = np.array([one.sign for one in found.measures])
    low, high = (values * signs).min(0), (values * signs).max(0)
    scaled = (values * signs - low) / np.where(high > low, high - low, 1.0)
    efficient = iter(found.front.efficient().tolist())
    places = range(len(found.measures))
    for point, row in zip(found.points, scaled, strict=True):
        colour = COLOURS[found.methods.index(point.method) % len(COLOURS)]
        kept = point.planned and next(efficient)
        if found.chosen is not None and point is found.chosen.point:
            axes.plot(places, row, color="#d4a017", linewidth=2.5, zorder=4)
        elif kept:
            axes.plot(places, row, color=colour, linewidth=0.9, alpha=0.6)
    for number, one in enumerate(found.measures):
        axes.axvline(number, color=FAINT, linewidth=0.8)
        worst, best = low[number] * one.sign, high[number] * one.sign
        axes.annotate(f"{best:.4g}", (number, 1.03), ha="center", fontsize=7)
        axes.annotate(f"{worst:.4g}", (number, -0.09), ha="center", fontsize=7)
    axes.set_xticks(list(places), [f"{one.task}\n{one.metric}" for one in found.measures], fontsize=8)
    axes.set_ylim(-0.12, 1.12)
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.set_title("efficient points, validation rows: worst below, best above", fontsize=9, loc="left")
