"""Rows of many tasks, each task with its own: checked once, sorted by task, so that sums per task are segment sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from polytask.errors import Problem, UserError

Table = Any
"""A matrix ``[rows, features]`` (array or data frame), or a list of them, one per task."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows sorted by task.

    Attributes:
        X: Features.
        y: Labels; empty where only predictions are wanted.
        task: For every row the position of its task in ``ids``.
        ids: The tasks, sorted.
        order: Where the rows stood in what was given: ``given[order]`` is sorted.
        lengths: Rows of every table, where a list of tables was given.
    """

    X: Float64[np.ndarray, "rows features"]
    y: Float64[np.ndarray, "rows"]
    task: Int[np.ndarray, "rows"]
    ids: np.ndarray
    order: Int[np.ndarray, "rows"]
    lengths: tuple[int, ...] = ()

    @property
    def counts(self) -> Int[np.ndarray, "tasks"]:
        """Rows of every task."""
        return np.bincount(self.task, minlength=len(self.ids))

    @property
    def starts(self) -> Int[np.ndarray, "tasks"]:
        """First row of every task."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]])

    def per_task(self, values: Float64[np.ndarray, "rows *any"]) -> Float64[np.ndarray, "tasks *any"]:
        """Sums over the rows of every task; every task has rows."""
        return np.add.reduceat(values, self.starts, axis=0)

    def as_given(self, values: np.ndarray) -> Any:
        """Values of the sorted rows in the order, and the form, in which the rows were given."""
        restored = np.empty_like(values)
        restored[self.order] = values
        return np.split(restored, np.cumsum(self.lengths)[:-1]) if self.lengths else restored

    def keep(self, chosen: np.ndarray) -> Rows:
        """The chosen rows; every task keeps at least one."""
        return Rows(self.X[chosen], self.y[chosen], self.task[chosen], self.ids, np.arange(int(chosen.sum())))


def collect(X: Table, y: Any = None, tasks: Any = None, *, task_column: int | None = None) -> Rows:
    """Rows as users give them: one table with a task id per row, a task column, or one table per task.

    Args:
        X: ``[rows, features]``, or a list of tables, one per task.
        y: ``[rows]``, or a list of vectors, one per task; None: no labels.
        tasks: A task id per row, or per table (default for tables: 0, 1, ...).
        task_column: Where no ``tasks`` are given: the column of ``X`` that holds them.

    Raises:
        UserError: With all that is wrong: shapes, what is not a number, infinite or missing values by column.

    Example:
        >>> rows = collect([[1.0], [2.0], [3.0]], [0, 1, 2], ["b", "a", "b"])
        >>> rows.ids.tolist(), rows.X[:, 0].tolist(), rows.counts.tolist()
        (['a', 'b'], [2.0, 1.0, 3.0], [1, 2])
    """
    lengths: tuple[int, ...] = ()
    if isinstance(X, list | tuple) and X and np.ndim(X[0]) == 2:
        X, y, tasks, lengths = _join(X, y, tasks)
    names = [str(name) for name in getattr(X, "columns", [])]
    table = _numbers(X, "X", dimensions=2)
    if tasks is None and task_column is not None:
        if not -table.shape[1] <= task_column < table.shape[1]:
            raise UserError(Problem("task_column", f"is {task_column}, but X has {table.shape[1]} columns"))
        tasks, table = table[:, task_column], np.delete(table, task_column, axis=1)
        names = [] if not names else [name for at, name in enumerate(names) if at != task_column % len(names)]
    if tasks is None:
        remedy = "give tasks=..., one id per row, or a list of tables, or set task_column"
        raise UserError(Problem("tasks", "not given", remedy))
    labels = np.zeros(len(table)) if y is None else _numbers(y, "y", dimensions=1)
    who = np.asarray(tasks)
    _check(table, labels, who, names)
    ids, position = np.unique(who, return_inverse=True)
    order = np.argsort(position, kind="stable")
    return Rows(table[order], labels[order], position[order], ids, order, lengths)


def _join(X: Sequence[Table], y: Any, tasks: Any) -> tuple[Table, Any, np.ndarray, tuple[int, ...]]:
    """One table of a list of tables."""
    names = np.arange(len(X)) if tasks is None else np.asarray(tasks)
    parts = [_numbers(part, f"X[{at}]", dimensions=2) for at, part in enumerate(X)]
    lengths = tuple(len(part) for part in parts)
    problems = []
    if len({part.shape[1] for part in parts}) > 1:
        problems.append(Problem("X", f"tables with {sorted({part.shape[1] for part in parts})} columns"))
    if len(names) != len(parts):
        problems.append(Problem("tasks", f"{len(names)} ids for {len(parts)} tables", "give one per table"))
    if y is not None:
        given = tuple(len(part) for part in y)
        if given != lengths:
            at = next((at for at, (a, b) in enumerate(zip(given, lengths, strict=False)) if a != b), len(given))
            problems.append(Problem("y", f"does not fit X from table {at} on", "give a label for every row of X"))
    if problems:
        raise UserError(problems)
    labels = None if y is None else np.concatenate([np.asarray(part).reshape(-1) for part in y])
    return np.concatenate(parts), labels, np.repeat(names, lengths), lengths


def _numbers(values: Any, where: str, *, dimensions: int) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(Problem(where, f"is not a table of numbers ({error})", "encode text as numbers")) from error
    if dimensions == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != dimensions or (dimensions == 2 and array.shape[1] == 0):
        what = "[rows, features]" if dimensions == 2 else "[rows]"
        raise UserError(Problem(where, f"has shape {list(array.shape)}", f"give {what}"))
    return array


def _check(X: np.ndarray, y: np.ndarray, tasks: np.ndarray, names: Sequence[str]) -> None:
    problems = [
        Problem(where, f"has {list(found.shape)} entries for {len(X)} rows of X", "give one per row")
        for where, found in (("y", y), ("tasks", tasks))
        if found.shape != (len(X),)
    ]
    if len(X) == 0:
        problems.append(Problem("X", "has no rows"))
    for where, values in [*((f"column {names[at] if names else at}", X[:, at]) for at in range(X.shape[1])), ("y", y)]:
        bad = ~np.isfinite(values)
        if bad.any():
            what = f"{int(bad.sum())} of {len(bad)} rows are missing or infinite (first: row {int(bad.argmax())})"
            problems.append(Problem(where, what, "fill or drop them"))
    if tasks.dtype.kind == "f" and not np.isfinite(tasks).all():
        problems.append(Problem("tasks", f"{int((~np.isfinite(tasks)).sum())} ids are missing", "drop these rows"))
    if problems:
        raise UserError(problems)
