"""Fronts as pictures."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from polytask.errors import MissingExtraError, Problem, UserError, suggest
from polytask.files import whole_file
from polytask.fronts.dominance import non_dominated
from polytask.fronts.front import Front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg", ".pdf")
COLOURS = ("#2b5d8c", "#c8762d", "#4f9a6b", "#8c4a78", "#7a7a3a", "#b04a4a", "#3f8f9a", "#6b5fa8")


def plot(front: Front, file: Path, reference: Sequence[float] | None = None) -> None:
    """Draws a front; see `Front.plot`.

    Raises:
        UserError: If the ending is unknown, there is one task only, or the reference does not fit.
        MissingExtraError: Without the extra ``plot``.
    """
    if file.suffix not in ENDINGS:
        raise UserError(Problem(str(file), f"the ending '{file.suffix}' is unknown", suggest(file.suffix, ENDINGS)))
    if len(front.names) < 2:
        raise UserError(Problem("front", "one task has no front to draw", "plot two tasks or more"))
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing a front") from error
    pairs = list(combinations(range(len(front.names)), 2))
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = figures.Figure(figsize=(3.9 * columns, 3.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, pair in zip(panels, pairs, strict=False):
        _panel(axes, front, pair, reference)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    if any(front.labels):
        panels[0].legend(frameon=False, fontsize=8)
    if reference is not None:
        figure.suptitle(f"hypervolume {front.hypervolume(reference):.4g}", fontsize=10)
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=150, format=file.suffix[1:])


def _panel(axes: Axes, front: Front, pair: tuple[int, int], reference: Sequence[float] | None) -> None:
    """Two tasks: full points are on the front of all tasks, hollow ones are not; steps are the front of these two."""
    values, losses = front.values.numpy(), front.losses().numpy()
    efficient = front.efficient().numpy()
    for number, label in enumerate(dict.fromkeys(front.labels)):
        colour = COLOURS[number % len(COLOURS)]
        own = np.array([one == label for one in front.labels])
        kept = own & efficient
        first, second = values[:, pair].T
        axes.scatter(first[kept], second[kept], s=22, color=colour, label=label or None, zorder=3)
        rest = own & ~efficient
        axes.scatter(first[rest], second[rest], s=16, facecolors="none", edgecolors=colour, alpha=0.6)
        corners = _corners(losses[own][:, pair])
        signs = np.where(np.array(front.better)[list(pair)] == "smaller", 1.0, -1.0)
        axes.plot(*(corners * signs).T, color=colour, linewidth=1.0, alpha=0.7)
    if reference is not None:
        axes.scatter(reference[pair[0]], reference[pair[1]], marker="x", color="black", s=24)
    for set_label, task in ((axes.set_xlabel, pair[0]), (axes.set_ylabel, pair[1])):
        set_label(f"{front.names[task]} ({front.better[task]} is better)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _corners(losses: Float64[np.ndarray, "points two"]) -> Float64[np.ndarray, "corners two"]:
    """The steps through the non-dominated points, from left to right."""
    kept: Any = losses[non_dominated(losses)]
    kept = kept[np.lexsort((kept[:, 1], kept[:, 0]))]
    between = np.stack([kept[1:, 0], kept[:-1, 1]], axis=1)
    steps = np.empty((2 * len(kept) - 1, 2))
    steps[::2], steps[1::2] = kept, between
    return steps
