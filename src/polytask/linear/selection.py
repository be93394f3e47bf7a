"""Regularisation paths, and the choice of penalties on rows held back for it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from polytask.errors import Problem, UserError, raise_errors, suggest
from polytask.linear.estimator import LinearModel
from polytask.linear.losses import logistic, squared
from polytask.linear.rows import Rows, Table, collect
from polytask.options import in_range

Model = TypeVar("Model", bound=LinearModel)

# options that change the loss or the data, which all points of a grid share
_FIXED = ("loss", "average", "fit_intercept", "task_column")


@dataclass(frozen=True, slots=True)
class Selection(Generic[Model]):
    """What `select` found.

    Attributes:
        model: With the best options, fitted to all rows.
        options: The best options.
        losses: Validation loss of every combination, in the order of the grid.
        combinations: The options that belong to ``losses``.
    """

    model: Model
    options: dict[str, Any]
    losses: list[float]
    combinations: list[dict[str, Any]]


def path(model: Model, name: str, values: Sequence[float], X: Table, y: Any, tasks: Any = None) -> list[Model]:
    """One fitted copy of ``model`` per value of the option ``name``, each started at the solution of the one before.

    Large penalties first are quickest. The rows are read, and the Gram matrices formed, once.

    Raises:
        UserError: If there is no such option, it is not one that a path can vary, or as in `LinearModel.fit`.

    Example:
        >>> from polytask.linear import Lasso
        >>> X, y, tasks = [[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0], [0, 0, 0]
        >>> [round(float(m.coef_[0, 0]), 2) for m in path(Lasso(), "penalty", [1.0, 0.1, 0.0], X, y, tasks)]
        [0.0, 0.85, 1.0]
    """
    _check_grid(model, {name: values})
    rows = collect(X, y, tasks, task_column=model.task_column)
    return _fit_all(model, [{name: value} for value in values], rows)


def select(
    model: Model,
    grid: Mapping[str, Sequence[Any]],
    X: Table,
    y: Any,
    tasks: Any = None,
    *,
    share: float = 0.25,
    seed: int = 0,
) -> Selection[Model]:
    """Picks options on a random part of every task's rows and fits the winner to all rows.

    All combinations are fitted to the other rows, in the order of the grid, each from the solution of the one before.
    The loss that decides is that of the model (squared error or log loss), averaged as the model averages: over tasks
    with ``average=True``, else over rows.

    Args:
        model: What to fit; left as it is.
        grid: Option names and their values. Large penalties first are quickest.
        X: As in `LinearModel.fit`.
        y: As in `LinearModel.fit`.
        tasks: As in `LinearModel.fit`.
        share: Part of every task's rows (at least one) that validates.
        seed: Which rows.

    Raises:
        UserError: If the grid does not fit the model, a task has fewer than 3 rows, or as in `LinearModel.fit`.

    Example:
        >>> from polytask.linear import MeanRegularized
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(60, 3)), np.repeat(np.arange(10), 6)
        >>> y = X.sum(1) + rng.normal(size=60)
        >>> select(MeanRegularized(), {"penalty": [10.0, 0.1, 0.0]}, X, y, tasks).options
        {'penalty': 10.0}
    """
    _check_grid(model, grid)
    raise_errors([*in_range(share, where="share", above=0, below=1)])
    rows = collect(X, y, tasks, task_column=model.task_column)
    held = _held_back(rows, share, seed)
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    fitted = _fit_all(model, combinations, rows.keep(~held))
    check = rows.keep(held)
    losses = [_validation_loss(candidate, check) for candidate in fitted]
    best = int(np.argmin(losses))
    (winner,) = _fit_all(model, [combinations[best]], rows)
    return Selection(winner, combinations[best], losses, combinations)


def _fit_all(model: Model, combinations: Sequence[Mapping[str, Any]], rows: Rows) -> list[Model]:
    fitted: list[Model] = []
    loss, start = None, None
    for options in combinations:
        candidate = copy.copy(model).set_params(**options)
        candidate._raise_option_problems()
        if loss is None:
            loss = candidate._prepare(rows)
            classes = getattr(candidate, "classes_", None)
        else:
            raise_errors(candidate.check(loss.ids))
            if classes is not None:
                candidate.classes_ = classes
        fitted.append(candidate._solve(loss, start))
        start = candidate._solution
    return fitted


def _held_back(rows: Rows, share: float, seed: int) -> np.ndarray:
    """Marks the rows that validate: the share of every task, at least one, and two stay."""
    few = [task for task, count in zip(rows.ids.tolist(), rows.counts.tolist(), strict=True) if count < 3]
    if few:
        what = "has fewer than 3 rows"
        raise UserError([Problem(f"task {task!r}", what, "drop it, or fit without a selection") for task in few])
    rank = np.empty(len(rows.task), dtype=np.intp)
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(rows.task)), rows.task))
    rank[shuffled] = np.arange(len(rows.task)) - rows.starts[rows.task]
    taken = np.clip(np.round(share * rows.counts), 1, rows.counts - 2)
    return rank < taken[rows.task]


def _validation_loss(model: LinearModel, rows: Rows) -> float:
    """Loss per row, averaged as the model averages; without penalties."""
    row = logistic if model.loss == "logistic" else squared
    labels = (rows.y == model.classes_[1]).astype(np.float64) if model.loss == "logistic" else rows.y
    losses, _ = row(model._scores(rows), labels)
    return float((rows.per_task(losses) / rows.counts).mean() if model.average else losses.mean())


def _check_grid(model: LinearModel, grid: Mapping[str, Sequence[Any]]) -> None:
    free = [name for name in model.get_params() if name not in _FIXED]
    problems = [Problem(f"grid.{name}", "cannot vary", suggest(name, free)) for name in grid if name not in free]
    problems += [Problem(f"grid.{name}", "has no values") for name, values in grid.items() if len(values) == 0]
    if not grid:
        problems.append(Problem("grid", "is empty", suggest("", free)))
    raise_errors(problems)
