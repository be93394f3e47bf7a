"""Trade-offs as pictures."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.errors import MissingExtraError, Problem, UserError, suggest
from polytask.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from polytask.deciding.trade_off import TradeOff

ENDINGS = (".png", ".svg", ".pdf")
_TRIED, _EFFICIENT, _CHOSEN, _ALONE = "#b9c4d0", "#2b5d8c", "#b04a4a", "#c8762d"


def check_figure(file: Path) -> Any:
    """What draws, before anything is computed.

    Raises:
        UserError: The ending is unknown.
        MissingExtraError: Without the extra ``plot``.
    """
    if file.suffix not in ENDINGS:
        raise UserError(Problem(str(file), f"the ending '{file.suffix}' is unknown", suggest(file.suffix, ENDINGS)))
    try:
        return importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing a trade-off") from error


def plot(trade_off: TradeOff, file: Path) -> None:
    """One panel per compared task: its own ranking quality against the objective, one point per weighting.

    Raises:
        UserError: The ending is unknown.
        MissingExtraError: Without the extra ``plot``.
    """
    figures = check_figure(file)
    tasks = trade_off.compared
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = figures.Figure(figsize=(max(4.8 * columns, 5.6), 3.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, task in zip(panels, tasks, strict=False):
        _panel(axes, trade_off, task)
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=150, format=file.suffix[1:])


def _panel(axes: Axes, trade_off: TradeOff, task: str) -> None:
    fusion, points = trade_off.fusion, trade_off.points
    x, y = np.array([[point.quality[task], point.objective] for point in points]).T
    efficient = np.array(trade_off.efficient)
    axes.scatter(x[~efficient], y[~efficient], s=12, color=_TRIED, label="tried")
    axes.scatter(x[efficient], y[efficient], s=16, color=_EFFICIENT, label="efficient")
    alone = trade_off.alone
    axes.scatter([one.quality[task] for one in alone.values()], [one.objective for one in alone.values()], s=26,
                 marker="s", facecolors="none", edgecolors=_ALONE, label="one prediction alone")  # fmt: skip
    for name, one in alone.items():
        axes.annotate(name, (one.quality[task], one.objective), xytext=(5, -3), textcoords="offset points", fontsize=7)
    axes.scatter(x[trade_off.chosen], y[trade_off.chosen], s=110, marker="*", color=_CHOSEN, zorder=4, label="chosen")
    if task in fusion.floors:
        axes.axvline(fusion.floors[task], color=_CHOSEN, linewidth=1.0, linestyle="--", label="floor")
    axes.set_xlabel(f"{task}: {trade_off.metrics[task]} of the score", fontsize=9)
    places = f" at {fusion.at}" if fusion.objective == "ndcg" else ""
    axes.set_ylabel(f"{fusion.objective}{places} of {fusion.value}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
