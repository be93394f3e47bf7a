"""One model for each preference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.errors import Problem, UserError
from polytask.files import make_folder
from polytask.fronts.front import Better, Front


class Fit(Protocol):
    """Trains for one preference, and says what came of it."""

    def __call__(self, preference: Float[Tensor, "tasks"], seed: int, /) -> Sequence[float] | Float[Tensor, "tasks"]:
        """The values of all tasks, on rows that the model was not trained on.

        Args:
            preference: In double precision, on the processor.
            seed: For what is drawn.
        """


def sweep(
    fit: Fit,
    preferences: Float[Tensor, "points tasks"] | Sequence[Sequence[float]],
    *,
    names: Sequence[str] = (),
    better: Better | Sequence[Better] = "smaller",
    label: str = "",
    seeds: Sequence[int] = (0,),
    folder: str | Path | None = None,
    progress: Callable[[Front, int], None] | None = None,
) -> Front:
    """Trains a model for each preference and seed, and collects what they reach.

    [`fit_by`][polytask.fronts.training.fit_by] makes a ``fit`` of a model, its losses and a scalarization.

    Args:
        fit: Called as ``fit(preference, seed)``; gives one value per task.
        preferences: As [`preferences`][polytask.fronts.preferences.preferences] makes them.
        names: Of the tasks.
        better: Per task whether ``smaller`` or ``greater`` values are better; one word for all.
        label: Of all points, for example the method.
        seeds: Every preference is fitted once for each.
        folder: Points are kept there as files as soon as they are finished, and are not fitted again by a later call.
        progress: Called after every point with it, and with the number of points that are left.

    Returns:
        The points: all seeds of the first preference, then of the second, ...

    Raises:
        UserError: If ``fit`` does not give one finite number per task, or the folder holds points of another sweep.

    Example:
        >>> front = sweep(lambda p, seed: (1 - p) ** 2, [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]], names=["click", "like"])
        >>> front.values.tolist()
        [[1.0, 0.0], [0.25, 0.25], [0.0, 1.0]]
    """
    asked = torch.as_tensor(preferences, dtype=torch.float64)
    if asked.dim() != 2 or asked.numel() == 0 or not seeds:
        what = f"preferences of shape {tuple(asked.shape)} and {len(seeds)} seeds"
        raise UserError(Problem("sweep", what, "give one row per point, one column per task, and at least one seed"))
    if folder is not None:
        make_folder(Path(folder))
    points: list[Front] = []
    for number, seed in itertools.product(range(len(asked)), seeds):
        file = None if folder is None else Path(folder) / f"point-{number:04d}-seed-{seed}.json"

        def made(values: Sequence[float] | Tensor, number: int = number, seed: int = seed) -> Front:
            row = values.detach().tolist() if isinstance(values, Tensor) else list(values)
            return Front(asked[number : number + 1], [row], names=names, better=better, labels=label, seeds=seed)

        if file is not None and file.exists():
            point = Front.read(file)
            _check_same(point, made(point.values[0]), file)
        else:
            point = made(fit(asked[number].clone(), seed))
            if file is not None:
                point.write(file)
        points.append(point)
        if progress is not None:
            progress(point, len(asked) * len(seeds) - len(points))
    return _joined(points)


def _check_same(kept: Front, due: Front, file: Path) -> None:
    """The file is of this sweep."""
    said = [(one.names, one.better, one.labels, one.seeds, one.preferences.tolist()) for one in (kept, due)]
    if said[0] != said[1]:
        what = "a point of another sweep: of other tasks, directions, seeds, preferences, or with another label"
        raise UserError(Problem(str(file), what, "name another folder, or remove this one"))


def _joined(points: Sequence[Front]) -> Front:
    first = points[0]
    return Front(
        torch.cat([point.preferences for point in points]),
        torch.cat([point.values for point in points]),
        names=first.names,
        better=first.better,
        labels=[label for point in points for label in point.labels],
        seeds=[seed for point in points for seed in point.seeds],
    )
