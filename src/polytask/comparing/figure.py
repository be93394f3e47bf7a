"""Gains with their intervals: a panel per task, a row per method."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.comparing.analysis import Analysis, Entry
from polytask.comparing.statistics import Interval, Values
from polytask.errors import MissingExtraError
from polytask.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BETTER, WORSE, NEITHER = "#1f6f8b", "#c2543c", "#9aa0a8"
INK, FAINT, BAND = "#23272e", "#e3e6ea", "#f4f6f8"
COLUMNS = 4


def draw(found: Analysis, file: Path) -> None:
    """Draws Delta-m and every task: large dots are means, lines 95 % intervals, small dots single seeds.

    Colour stands where the interval excludes 0. The leader is bold; LightGBM, the other baseline, comes last.

    Raises:
        MissingExtraError: Without the extra ``plot``.
    """
    try:
        figures = importlib.import_module("matplotlib.figure")
        ticker = importlib.import_module("matplotlib.ticker")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing the comparison") from error
    entries = [entry for entry in found.entries if entry.method.kind != "single"]
    panels = list(_panels(found, entries))
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    longest = max(len(entry.method.name) for entry in entries)
    width = 0.6 + 0.068 * longest + 2.3 * columns
    figure = figures.Figure(figsize=(width, lines * (0.75 + 0.27 * len(entries)) + 0.75), layout="constrained")
    figure.get_layout_engine().set(wspace=0.04, hspace=0.06)
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for number, place in enumerate(axes.flat):
        if number >= len(panels):
            place.set_axis_off()
            continue
        _panel(place, *panels[number])
        place.xaxis.set_major_locator(ticker.MaxNLocator(4, min_n_ticks=3))
        place.xaxis.set_major_formatter(ticker.FuncFormatter(_signed))
        if number % columns == 0:
            _names(place, entries, found)
    _title(figure, found)
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=180, format="png", facecolor="white")


def _panels(found: Analysis, entries: Sequence[Entry]) -> Iterator[tuple[str, str, list[tuple[Interval, Values]]]]:
    """Title, unit, and per method its interval and its seeds."""
    single = found.baseline("single")
    assert single is not None
    yield "all tasks", "Δm, %", [(_percent(entry.delta), 100 * entry.deltas) for entry in entries]
    for index, measure in enumerate(found.measures):
        sign = 1.0 if measure.higher_is_better else -1.0
        unit = measure.metric if measure.higher_is_better else f"{measure.metric}, saved"
        rows = [(entry.gains[index], sign * (entry.scores[index] - single.scores[index])) for entry in entries]
        yield measure.task, unit, rows


def _panel(axes: Axes, title: str, unit: str, rows: Sequence[tuple[Interval, Values]]) -> None:
    for place in range(0, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=BAND, linewidth=0, zorder=0)
    axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
    for place, (gain, seeds) in enumerate(rows):
        colour = (NEITHER, BETTER, WORSE)[gain.sign]
        if not math.isnan(gain.low):
            axes.scatter(seeds, np.full(len(seeds), place + 0.27), s=4, color=colour, alpha=0.75, linewidth=0, zorder=2)
            ends = [gain.low, gain.high]
            axes.plot(ends, [place, place], color=colour, linewidth=2.4, solid_capstyle="round", zorder=3)
        if not math.isnan(gain.mean):
            axes.scatter(gain.mean, place, s=34, color=colour, edgecolors="white", linewidth=0.9, zorder=4)
    axes.set_title(title, fontsize=9.5, color=INK, loc="left", fontweight="bold", pad=5)
    axes.set_title(unit, fontsize=8, color="#6b7280", loc="right", pad=5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(labelsize=7.5, length=0, labelcolor=INK)
    axes.margins(x=0.06)


def _names(axes: Axes, entries: Sequence[Entry], found: Analysis) -> None:
    axes.set_yticks(range(len(entries)), [entry.method.name for entry in entries], fontsize=8.5)
    for label, entry in zip(axes.get_yticklabels(), entries, strict=True):
        label.set_fontweight("bold" if entry is found.leader else "normal")
        label.set_fontstyle("italic" if entry.method.kind == "lightgbm" else "normal")


def _title(figure: Any, found: Analysis) -> None:
    many = len(found.seeds) > 1
    spread = f"{len(found.seeds)} seeds, 95 % intervals" if many else "one seed: noise is not known"
    colours = "   coloured where the interval excludes 0" if many else ""
    figure.suptitle("Gain over one network per task", x=0.008, ha="left", fontsize=12, color=INK, fontweight="bold")
    text = f"{found.part} part, {spread}{colours}"
    figure.supxlabel(text, x=0.008, ha="left", fontsize=8, color="#6b7280")


def _signed(value: float, place: int) -> str:
    """Tick labels with a true minus; no sign at 0."""
    return "0" if abs(value) < 1e-12 else f"{value:+.4g}".replace("-", "−")


def _percent(gain: Interval) -> Interval:
    return Interval(100 * gain.mean, 100 * gain.low, 100 * gain.high, gain.count)
