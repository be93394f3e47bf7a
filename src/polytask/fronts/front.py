"""What a method reached for each of many preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.errors import Problem, UserError, suggest
from polytask.fronts.dominance import dominated_volume, non_dominated

Better = Literal["smaller", "greater"]


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Points, one for each preference (and seed): what was asked for, and what came of it.

    Attributes:
        preferences: What was asked for, from 0.
        values: What was reached: losses or scores.
        names: Of the tasks. Default: ``task 0``, ...
        better: Per task whether ``smaller`` or ``greater`` values are better; one word for all. Default: ``smaller``.
        labels: Per point, for example the method. Default: empty.
        seeds: Per point. Default: 0.

    Raises:
        UserError: If shapes do not go together, a value is not finite, or a name is given twice.

    Example:
        >>> values = [[1.0, 3.0], [2.0, 2.0], [2.0, 3.0]]
        >>> front = Front([[0.8, 0.2], [0.5, 0.5], [0.4, 0.6]], values, names=("click", "like"))
        >>> front.efficient().tolist(), front.hypervolume([4.0, 4.0])
        ([True, True, False], 5.0)
    """

    preferences: Float[Tensor, "points tasks"]
    values: Float[Tensor, "points tasks"]
    names: tuple[str, ...] = ()
    better: tuple[Better, ...] = ("smaller",)
    labels: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def __init__(
        self,
        preferences: Float[Tensor, "points tasks"] | Sequence[Sequence[float]],
        values: Float[Tensor, "points tasks"] | Sequence[Sequence[float]],
        *,
        names: Sequence[str] = (),
        better: Better | Sequence[Better] = "smaller",
        labels: str | Sequence[str] = "",
        seeds: int | Sequence[int] = 0,
    ) -> None:
        asked, reached = _matrix("preferences", preferences), _matrix("values", values)
        points, tasks = reached.shape
        fields = {
            "preferences": asked,
            "values": reached,
            "names": tuple(names) or tuple(f"task {number}" for number in range(tasks)),
            "better": (better,) * tasks if isinstance(better, str) else tuple(better),
            "labels": (labels,) * points if isinstance(labels, str) else tuple(labels),
            "seeds": (seeds,) * points if isinstance(seeds, int) else tuple(seeds),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        points, tasks = self.values.shape
        problems = []
        if self.preferences.shape != self.values.shape:
            what = f"shape {tuple(self.preferences.shape)}, but values have {(points, tasks)}"
            problems.append(Problem("preferences", what, "give one row per point and one column per task"))
        for option, given, due, one in (
            ("names", self.names, tasks, "task"),
            ("better", self.better, tasks, "task"),
            ("labels", self.labels, points, "point"),
            ("seeds", self.seeds, points, "point"),
        ):
            if len(given) != due:
                problems.append(Problem(option, f"{len(given)} given for {due} {one}s", f"give one for each {one}"))
        for word in dict.fromkeys(self.better):
            if word not in get_args(Better):
                problems.append(Problem("better", f"'{word}' is unknown", suggest(word, get_args(Better))))
        problems += [
            Problem("names", f"'{name}' is given twice", "give every task a name of its own")
            for name in dict.fromkeys(self.names)
            if self.names.count(name) > 1
        ]
        for name, matrix in (("values", self.values), ("preferences", self.preferences)):
            for point in (~matrix.isfinite()).any(1).nonzero().flatten().tolist():
                what = f"{matrix[point].tolist()} of point {point} is not finite"
                problems.append(Problem(name, what, "leave the point out, or train it again with a smaller step"))
        if problems:
            raise UserError(problems)

    def __len__(self) -> int:
        return len(self.values)

    def losses(self) -> Float[Tensor, "points tasks"]:
        """The values with the sign at which smaller is better."""
        signs = torch.tensor([1.0 if word == "smaller" else -1.0 for word in self.better], dtype=self.values.dtype)
        return self.values * signs

    def efficient(self) -> Bool[Tensor, "points"]:
        """Which points no other point dominates: as good for every task, and better for one."""
        return torch.from_numpy(non_dominated(self.losses().numpy()))

    def hypervolume(self, reference: Sequence[float] | Float[Tensor, "tasks"]) -> float:
        """The volume between the points and a reference, exact for any number of tasks.

        Zitzler and Thiele, "Multiobjective Evolutionary Algorithms", IEEE Trans. Evol. Comput. 3, 1999. Its unit is the
        product of those of the values; compare figures of the same reference only.

        Args:
            reference: One value per task, worse than those of interest. Points that are not better than it for every
                task add nothing.

        Raises:
            UserError: If there is not one finite number per task.
        """
        point = torch.as_tensor(reference, dtype=torch.float64)
        if point.shape != self.values.shape[1:] or not bool(point.isfinite().all()):
            what = f"{point.tolist()} given for {', '.join(self.names)}"
            raise UserError(Problem("reference", what, "give one finite number for each task"))
        losses = Front([[0.0] * len(self.names)], [point.tolist()], better=self.better).losses()[0]
        return dominated_volume(self.losses().numpy(), losses.numpy())

    def where(self, mask: Bool[Tensor, "points"] | Sequence[bool]) -> Front:
        """The points that a mask names, for example ``front.where(front.efficient())``.

        Raises:
            UserError: If the mask has another length, or names no point.
        """
        kept = torch.as_tensor(mask, dtype=torch.bool)
        if kept.shape != (len(self),) or not bool(kept.any()):
            what = f"{int(kept.sum())} of {kept.numel()} chosen, of {len(self)} points"
            raise UserError(Problem("mask", what, "give one truth value per point, and choose at least one"))
        chosen = kept.nonzero().flatten().tolist()
        return Front(
            self.preferences[kept],
            self.values[kept],
            names=self.names,
            better=self.better,
            labels=[self.labels[index] for index in chosen],
            seeds=[self.seeds[index] for index in chosen],
        )

    def __add__(self, other: Front) -> Front:
        """The points of both.

        Raises:
            UserError: If they are of other tasks or directions.
        """
        if (self.names, self.better) != (other.names, other.better):
            what = f"{self.names} {self.better} and {other.names} {other.better} do not go together"
            raise UserError(Problem("fronts", what, "join fronts of the same tasks, in the same order"))
        return Front(
            torch.cat([self.preferences, other.preferences]),
            torch.cat([self.values, other.values]),
            names=self.names,
            better=self.better,
            labels=self.labels + other.labels,
            seeds=self.seeds + other.seeds,
        )

    def write(self, file: str | Path) -> None:
        """Writes JSON, CSV or Parquet, by the ending of the name; whole or not at all.

        CSV and Parquet have the columns ``label``, ``seed``, ``preference.TASK`` and ``smaller.TASK`` or
        ``greater.TASK``. Numbers come back as they were, to the last digit.

        Raises:
            UserError: If the ending is another one, or the file cannot be written.
        """
        from polytask.fronts.files import write

        write(self, Path(file))

    @classmethod
    def read(cls, file: str | Path) -> Front:
        """Reads what `write` wrote.

        Raises:
            UserError: If the file does not exist, or holds no front.
        """
        from polytask.fronts.files import read

        return read(Path(file))

    def plot(self, file: str | Path, *, reference: Sequence[float] | None = None) -> None:
        """Draws the points, and the front of each label as steps; more than two tasks as a panel for every pair.

        Args:
            file: A ``.png``, ``.svg`` or ``.pdf``.
            reference: Of the hypervolume, to be shown beside it.

        Raises:
            UserError: If the ending is another one, or the file cannot be written.
            MissingExtraError: Without the extra ``plot``.
        """
        from polytask.fronts.figure import plot

        plot(self, Path(file), reference)


def _matrix(
    name: str, rows: Float[Tensor, "points tasks"] | Sequence[Sequence[float]]
) -> Float[Tensor, "points tasks"]:
    """In double precision, on the processor, and no longer the caller's."""
    remedy = "give one row of numbers per point and one column per task, at least one of each"
    try:
        given = rows.detach() if isinstance(rows, Tensor) else torch.from_numpy(np.asarray(rows, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise UserError(Problem(name, f"no matrix of numbers ({error})", remedy)) from error
    if given.dim() != 2 or given.numel() == 0:
        raise UserError(Problem(name, f"shape {tuple(given.shape)}", remedy))
    return given.to("cpu", torch.float64, copy=True)
