"""The tables as a picture: every run a dot, its mean and best run, and what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polytask.reproduce.census.experiment import CensusExpected, Figures, Group, MethodName
from polytask.reproduce.census.measured import Measured
from polytask.reproduce.figures import panels_of, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES: Mapping[MethodName, str] = {
    "single_task": "Single-Task",
    "shared_bottom": "Shared-Bottom",
    "l2_constrained": "L2-Constrained",
    "cross_stitch": "Cross-Stitch",
    "tensor_factorisation": "Tensor-Factorisation",
    "omoe": "OMoE",
    "mmoe": "MMoE",
    "ple": "PLE",
    "lightgbm": "LightGBM",
}
OURS, THEIRS = "#2b5d8c", "#c8762d"
FAR = 0.03  # published figures further left are written, not drawn: Tensor-Factorisation's would squeeze all others
MARKS = {"best": "D", "mean": "|", "value": "s"}


def draw_tables(
    file: Path, groups: Sequence[Group], measured: Mapping[str, list[Measured]], expected: CensusExpected
) -> None:
    """A panel per group and task; published figures left of all of ours are named at the edge."""
    lines = max(len(found) for found in measured.values())
    figure, panels = panels_of(len(groups), 2, width=9.6, height=len(groups) * (1.1 + 0.34 * lines))
    for group, row in zip(groups, panels, strict=True):
        for number, (axes, task) in enumerate(zip(row, group.order, strict=True)):
            _panel(axes, group.name, number, measured[group.name], expected)
            axes.set_title(f"{group.title}: {task}", fontsize=9)
            axes.set_xlabel("test AUC", fontsize=8)
    every = [axes.get_legend_handles_labels() for row in panels for axes in row]
    entries = {label: handle for handles, labels in every for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries), frameon=False, fontsize=8
    )
    save(figure, file)


def _panel(axes: Axes, group: str, task: int, measured: Sequence[Measured], expected: CensusExpected) -> None:
    values = np.concatenate([[*one.tasks[task].values, one.tasks[task].best] for one in measured])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    published = {
        (place, name): value
        for place, one in enumerate(measured)
        for source in expected.sources
        for name, value in _figures(expected, source, group, one.method, task)
    }
    left = min([low, *(value for value in published.values() if value > low - FAR)])
    _ours(axes, task, measured)
    for name, mark in MARKS.items():
        shown = [(value, place) for (place, key), value in published.items() if key == name and value >= left]
        if shown:
            label = "published" if name == "value" else f"published {name}"
            _theirs(axes, [x for x, _ in shown], [y + 0.22 for _, y in shown], mark, label)
    right = max([high, *published.values()])
    axes.set_xlim(left - 0.04 * (right - left), right + 0.04 * (right - left))
    for place in range(len(measured)):
        beyond = [f"{value:.4f}" for (at, _), value in published.items() if at == place and value < left]
        if beyond:
            text = "◂ " + ", ".join(beyond)
            axes.text(0.01, place + 0.22, text, color=THEIRS, fontsize=7, va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_yticks(range(len(measured)), [TITLES[one.method] for one in measured])
    axes.set_ylim(len(measured) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)


def _theirs(axes: Axes, x: Sequence[float], y: Sequence[float], mark: str, label: str) -> None:
    if mark == "|":  # a line has no face
        axes.scatter(x, y, marker=mark, s=60, color=THEIRS, label=label)
    else:
        axes.scatter(x, y, marker=mark, s=22, facecolors="none", edgecolors=THEIRS, label=label)


def _ours(axes: Axes, task: int, measured: Sequence[Measured]) -> None:
    for place, one in enumerate(measured):
        found, first = one.tasks[task], not place
        axes.scatter(found.values, [place] * len(found.values), s=14, color=OURS, alpha=0.35, linewidths=0,
                     label="our runs" if first else None)  # fmt: skip
        axes.scatter([found.mean], [place], marker="|", s=90, color=OURS, label="our mean" if first else None)
        axes.scatter([found.best], [place], marker="D", s=22, color=OURS, label="our best" if first else None)


def _figures(
    expected: CensusExpected, source: str, group: str, method: MethodName, task: int
) -> list[tuple[str, float]]:
    row = expected.row(source, group, method)
    if row is None:
        return []
    figures: Figures = row.auxiliary if task else row.main
    return [(name, value) for name, value in figures.model_dump().items() if value is not None]
