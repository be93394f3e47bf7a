"""Accuracy of the first task against that of the second, as in figure 2 of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polytask.reproduce.figures import panels_of, save
from polytask.reproduce.sener.experiment import Group, MethodName, SenerExpected
from polytask.reproduce.sener.measured import Row, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES: Mapping[MethodName, str] = {
    "single_task": "Single-task",
    "uniform": "Uniform",
    "static": "Grid search",
    "uncertainty": "Uncertainty",
    "gradnorm": "GradNorm",
    "mgda": "MGDA",
    "mgda_ub": "MGDA-UB",
}
COLOURS: Mapping[MethodName, str] = {
    "single_task": "#555555",
    "uniform": "#8c6d31",
    "static": "#9a9a9a",
    "uncertainty": "#4f9a6b",
    "gradnorm": "#8a4fa8",
    "mgda": "#6fa3d0",
    "mgda_ub": "#2b5d8c",
}


def draw_accuracies(
    file: Path, group: Group, tasks: Sequence[str], rows: Sequence[Row], expected: SenerExpected
) -> None:
    """One point per method, with its seeds; the grid search as a line; single-task networks as lines across."""
    figure, ((ours, theirs),) = panels_of(1, 2, width=9.2, height=4.6)
    _grid(ours, [row for row in rows if row.method in ("static", "uniform")])
    for row in rows:
        if row.method == "static":
            continue
        if len(row.accuracy):
            _ours(ours, row)
        values = expected.values(group.name, row.method)
        if all(task in values for task in tasks):
            _point(theirs, row.method, (values[tasks[0]], values[tasks[1]]))
    ours.set_title(f"ours: mean of {max(len(row.accuracy) for row in rows)} seeds, one standard deviation", fontsize=9)
    theirs.set_title("published", fontsize=9)
    for axes in (ours, theirs):
        axes.margins(0.12)
        axes.set_xlabel(f"test accuracy, {tasks[0]} digit [%]", fontsize=8)
        axes.set_ylabel(f"test accuracy, {tasks[1]} digit [%]", fontsize=8)
        axes.grid(linewidth=0.4, alpha=0.5)
    handles, labels = ours.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    save(figure, file)


def _ours(axes: Axes, row: Row) -> None:
    """The mean over seeds with their spread, and every seed as a dot."""
    accuracy, colour = 100 * row.accuracy, COLOURS[row.method]
    (x, y), (dx, dy) = accuracy.mean(0), spread(accuracy)
    _point(axes, row.method, (x, y))
    axes.scatter(accuracy[:, 0], accuracy[:, 1], s=10, color=colour, alpha=0.4, linewidths=0)
    axes.errorbar(x, y, xerr=dx, yerr=dy, color=colour, linewidth=0.8, capsize=2, linestyle="none")


def _point(axes: Axes, method: MethodName, place: tuple[float, float]) -> None:
    x, y = place
    axes.scatter(x, y, s=30, color=COLOURS[method], label=TITLES[method], zorder=3)
    if method == "single_task":
        axes.axvline(x, color=COLOURS[method], linewidth=0.8, linestyle="--")
        axes.axhline(y, color=COLOURS[method], linewidth=0.8, linestyle="--")


def _grid(axes: Axes, rows: Sequence[Row]) -> None:
    """From the smallest share of the first task to the largest; uniform weights lie in the middle."""
    if any(row.method == "static" for row in rows):
        ordered = sorted(
            (row for row in rows if len(row.accuracy)), key=lambda row: 0.5 if row.share is None else row.share
        )
        means = [100 * row.accuracy.mean(0) for row in ordered]
        axes.plot([x for x, _ in means], [y for _, y in means], color=COLOURS["static"], marker=".", linewidth=1,
                  zorder=0, label=TITLES["static"])  # fmt: skip
        for row, (x, y) in zip(ordered, means, strict=True):
            if row.share is not None:
                axes.annotate(f"{row.share:g}", (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
