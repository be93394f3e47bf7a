"""A sweep as a picture: how far each method came with how many trials, or the front of all trials."""

from __future__ import annotations

import importlib
from pathlib import Path

from polytask.errors import MissingExtraError
from polytask.files import whole_file
from polytask.fronts import Front
from polytask.fronts.figure import COLOURS
from polytask.tuning.result import Sweep


def draw(found: Sweep, file: Path) -> bool:
    """Writes the picture; False where no trial was complete.

    Raises:
        MissingExtraError: Without the extra ``plot``.
    """
    complete = [one for one in found.numbered if one.outcome.values]
    if not complete:
        return False
    if len(found.objectives) > 1:
        words = {True: "greater", False: "smaller"}
        front = Front(
            [[1.0] * len(found.objectives)] * len(complete),  # nothing was asked for but all
            [list(one.outcome.values) for one in complete],
            names=[one.name for one in found.objectives],
            better=[words[one.higher_is_better] for one in found.objectives],  # type: ignore[misc]
            labels=[one.method.name for one in complete],
        )
        front.plot(file)
        return True
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing a sweep") from error
    (objective,) = found.objectives
    figure = figures.Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, method in enumerate(found.methods):
        own = [one for one in complete if one.method is method]
        if not own:
            continue
        colour = COLOURS[number % len(COLOURS)]
        values, places = [one.outcome.values[0] for one in own], [one.trial.index for one in own]
        best = [values[0]]
        for value in values[1:]:
            best.append(value if objective.gain(value) > objective.gain(best[-1]) else best[-1])
        last = max(one.trial.index for one in found.numbered if one.method is method)
        axes.scatter(places, values, s=12, color=colour, alpha=0.5)
        axes.step([*places, last], [*best, best[-1]], where="post", color=colour, label=method.name, linewidth=1.5)
    axes.set_xlabel("trial", fontsize=9)
    direction = "greater" if objective.higher_is_better else "smaller"
    axes.set_ylabel(f"{objective.name} on validation ({direction} is better)", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=150, format=file.suffix[1:])
    return True
