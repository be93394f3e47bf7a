"""Gains with their intervals: a panel per task, a row per method."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.comparing.analysis import Analysis, Entry
from polytask.comparing.statistics import Interval, Values
from polytask.errors import MissingExtraError
from polytask.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BETTER, WORSE, NEITHER = "#2b6f9c", "#c0562d", "#8a8f98"
INK, FAINT = "#22262b", "#d9dce1"
COLUMNS = 4


def draw(found: Analysis, file: Path) -> None:
    """Draws Delta-m and every task: dots are means, lines 95 % intervals, small ticks single seeds.

    Raises:
        MissingExtraError: Without the extra ``plot``.
    """
    try:
        figures = importlib.import_module("matplotlib.figure")
        ticker = importlib.import_module("matplotlib.ticker")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing the comparison") from error
    entries = [entry for entry in found.entries if entry.method.kind != "single"]
    signs = [1.0 if one.higher_is_better else -1.0 for one in found.measures]
    single = found.baseline("single")
    assert single is not None
    panels = [("all tasks: Δm in %", [(_scaled(entry.delta, 100), 100 * entry.deltas) for entry in entries])]
    for index, (measure, sign) in enumerate(zip(found.measures, signs, strict=True)):
        rows = [(entry.gains[index], sign * (entry.scores[index] - single.scores[index])) for entry in entries]
        panels.append((f"{measure.task}: {measure.metric}", rows))
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    width, height = 2.1 + 2.35 * columns, lines * (0.95 + 0.3 * len(entries)) + 0.75
    figure = figures.Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for number, place in enumerate(axes.flat):
        if number >= len(panels):
            place.set_axis_off()
            continue
        _panel(place, *panels[number], ticker)
        if number % columns == 0:
            _names(place, entries, found)
    title = f"Gain over one network per task · {found.part} part, "
    title += f"{len(found.seeds)} seeds, 95 % intervals" if len(found.seeds) > 1 else "one seed, no intervals"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=INK, fontweight="bold")
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=170, format="png", facecolor="white")


def _panel(axes: Axes, title: str, rows: list[tuple[Interval, Values]], ticker: Any) -> None:
    axes.axvline(0.0, color=INK, linewidth=0.9, zorder=1)
    for place, (gain, seeds) in enumerate(rows):
        colour = (NEITHER, BETTER, WORSE)[gain.sign]
        axes.scatter(
            seeds, np.full(len(seeds), place), marker="|", s=26, color=colour, alpha=0.35, linewidth=0.9, zorder=2
        )
        if not math.isnan(gain.low):
            axes.plot(
                [gain.low, gain.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round", zorder=3
            )
        if not math.isnan(gain.mean):
            axes.scatter(gain.mean, place, s=30, color=colour, edgecolors="white", linewidth=0.8, zorder=4)
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(labelsize=7.5, length=0, colors=INK)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.margins(x=0.08)


def _names(axes: Axes, entries: list[Entry], found: Analysis) -> None:
    axes.set_yticks(range(len(entries)), [entry.method.name for entry in entries], fontsize=8)
    for label, entry in zip(axes.get_yticklabels(), entries, strict=True):
        if entry is found.leader:
            label.set_fontweight("bold")
        elif entry.method.kind == "lightgbm":
            label.set_fontstyle("italic")


def _scaled(gain: Interval, factor: float) -> Interval:
    return Interval(factor * gain.mean, factor * gain.low, factor * gain.high, gain.count)
