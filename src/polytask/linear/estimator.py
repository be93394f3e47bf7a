"""What all linear multi-task models have in common: data in, accelerated proximal gradient, predictions out."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float64

from polytask.errors import Problem, UserError, raise_errors, suggest
from polytask.linear.losses import Loss, Matrix, build_loss
from polytask.linear.rows import Rows, Table, collect
from polytask.linear.solver import Parts, minimize
from polytask.options import in_range, one_of


class NotConvergedWarning(UserWarning):
    """The solver used all its iterations; the coefficients are not yet the minimiser."""


@dataclass(eq=False, kw_only=True)
class LinearModel(ABC):
    """One linear model per task, fitted together: ``min_W sum_t loss_t(w_t) + ridge ||W||_F^2 + penalty(W)``.

    An estimator in the manner of scikit-learn (`fit`, `predict`, `score`, `get_params`, `set_params`; it can be cloned
    and searched over) that does not need scikit-learn. Rows belong to tasks, and every task has its own rows. ``W`` is
    ``[T, d]``, one row per task: the transpose of what the papers write.

    **Scale of the loss.** With ``average=True`` a task's loss is the mean over its rows (``1/2 (w'x - y)^2``, or the
    log loss), so that penalties mean the same for 100 and for 10,000 rows; for one task `Lasso` is scikit-learn's.
    MALSAR sums squared errors (``average=False``) but averages the log loss (``average=True``); its dirty model and
    rMTFL omit the 1/2, so their penalties are twice ours.

    Args:
        loss: ``"squared"``, or ``"logistic"`` for labels of two classes.
        average: Mean loss per task (every task counts the same), or the sum (every row counts the same).
        ridge: Factor of ``||W||_F^2``, as ``rho_L2`` in MALSAR (no 1/2).
        fit_intercept: An intercept per task that no penalty touches; without it, a column of ones in ``X`` is penalised
            and shared like any other.
        tol: Stop when steps gain less than this part of the objective.
        max_iter: At most so many steps.
        task_column: Where `fit` and `predict` get no ``tasks``: the column of ``X`` that holds the task ids. Tools
            that pass nothing but ``X`` and ``y`` work this way.

    Attributes:
        coef_: ``[T, d]``.
        intercept_: ``[T]``.
        tasks_: The task ids, in the order of the rows of ``coef_``.
        objective_: The objective at the start and after every step.
        n_iter_: Number of steps.
        parts_: ``[parts, T, d]``; they add up to ``coef_``.
    """

    loss: Literal["squared", "logistic"] = "squared"
    average: bool = True
    ridge: float = 0.0
    fit_intercept: bool = True
    tol: float = 1e-8
    max_iter: int = 5000
    task_column: int | None = None

    coef_: Matrix = field(init=False, repr=False)
    intercept_: Float64[np.ndarray, "tasks"] = field(init=False, repr=False)
    tasks_: np.ndarray = field(init=False, repr=False)
    classes_: np.ndarray = field(init=False, repr=False)
    objective_: list[float] = field(init=False, repr=False)
    n_iter_: int = field(init=False, repr=False)
    parts_: Parts = field(init=False, repr=False)

    parts: ClassVar[int] = 1
    """How many matrices add up to ``W``."""

    # what a model defines

    @abstractmethod
    def penalty_value(self, parts: Parts) -> float:
        """The penalty without its smooth terms."""

    @abstractmethod
    def proximal(self, parts: Parts, step: float) -> Parts:
        """``argmin_U 1/2 ||U - parts||^2 + step * penalty_value(U)``."""

    def smooth_penalty(self, coef: Matrix) -> tuple[float, Matrix]:
        """Value and gradient of smooth terms besides `ridge`."""
        return 0.0, np.zeros_like(coef)

    def check(self, tasks: np.ndarray) -> list[Problem]:
        """What is wrong with the model's own options for these tasks."""
        return []

    # what users call

    def fit(self, X: Table, y: Any, tasks: Any = None) -> Self:
        """Fits all tasks.

        Args:
            X: ``[rows, d]``, or a list of tables, one per task.
            y: ``[rows]``, or a list, one per task.
            tasks: A task id per row, or per table.

        Raises:
            UserError: With all that is wrong with the options or with the data.
        """
        self._raise_option_problems()
        return self._solve(self._prepare(collect(X, y, tasks, task_column=self.task_column)))

    def predict(self, X: Table, tasks: Any = None) -> Any:
        """``[rows]`` values, or classes for logistic loss, in the order of ``X``; a list where ``X`` is one.

        Raises:
            UserError: If a task was not fitted or the columns are not those of `fit`.
        """
        rows = self._known(X, tasks)
        score = self._scores(rows)
        return rows.as_given(self.classes_[(score > 0).astype(int)] if self.loss == "logistic" else score)

    def decision_function(self, X: Table, tasks: Any = None) -> Any:
        """``w_t'x + b_t`` per row."""
        rows = self._known(X, tasks)
        return rows.as_given(self._scores(rows))

    def predict_proba(self, X: Table, tasks: Any = None) -> Any:
        """``[rows, 2]``: probabilities of the two classes."""
        if self.loss != "logistic":
            raise UserError(Problem("loss", f"is '{self.loss}'", "only logistic loss has probabilities"))
        rows = self._known(X, tasks)
        chance = np.exp(-np.logaddexp(0.0, -self._scores(rows)))
        return rows.as_given(np.stack([1.0 - chance, chance], 1))

    def score(self, X: Table, y: Any, tasks: Any = None) -> float:
        """Over all rows: explained share of the variance (R^2), or accuracy for logistic loss."""
        rows = self._known(X, tasks, y)
        if self.loss == "logistic":
            return float(((self._scores(rows) > 0) == (rows.y == self.classes_[1])).mean())
        return 1.0 - float(((rows.y - self._scores(rows)) ** 2).sum() / ((rows.y - rows.y.mean()) ** 2).sum())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All options by name."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.init}

    def set_params(self, **options: Any) -> Self:
        """Sets options by name.

        Raises:
            UserError: If there is no such option.
        """
        known = list(self.get_params())
        raise_errors(
            Problem(f"{type(self).__name__}.{name}", "is no option", suggest(name, known))
            for name in options
            if name not in known
        )
        for name, value in options.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's tools want to know; only they call this."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kinds = {"classifier": ClassifierTags(multi_class=False), "regressor": RegressorTags()}
        kind = "classifier" if self.loss == "logistic" else "regressor"
        return Tags(kind, TargetTags(required=True), input_tags=InputTags(), **{f"{kind}_tags": kinds[kind]})

    # the road from rows to coefficients

    def _prepare(self, rows: Rows) -> Loss:
        """The loss of the rows, after a look at the labels."""
        problems = [
            Problem(f"task {task!r}", "has 1 row", "give it at least 2, or drop it")
            for task, count in zip(rows.ids.tolist(), rows.counts.tolist(), strict=True)
            if count == 1
        ]
        if self.loss == "logistic":
            classes = np.unique(rows.y)
            if len(classes) != 2:
                found = f"{len(classes)} different values: {', '.join(f'{value:g}' for value in classes[:5])}"
                raise UserError([*problems, Problem("y", found, "logistic loss needs two")])
            self.classes_ = classes
            rows = Rows(rows.X, (rows.y == classes[1]).astype(np.float64), rows.task, rows.ids, rows.order)
            share = rows.per_task(rows.y) / rows.counts
            problems += [
                Problem(f"task {task!r}", "has rows of one class only", "drop it, or set fit_intercept=False")
                for task, positive in zip(rows.ids.tolist(), share.tolist(), strict=True)
                if self.fit_intercept and positive in (0.0, 1.0)
            ]
        raise_errors([*problems, *self.check(rows.ids)])
        return build_loss(rows, self.loss, average=self.average, fit_intercept=self.fit_intercept)

    def _solve(self, loss: Loss, start: Parts | None = None) -> Self:
        """Fits to a prepared loss, from the parts of another fit to the same tasks."""
        features = loss.features

        def smooth(parts: Parts) -> tuple[float, Parts]:
            coef = parts.sum(0)
            value, slope = loss(coef)
            own = coef[:, :features]
            extra, extra_slope = self.smooth_penalty(own)
            slope[:, :features] += extra_slope + 2.0 * self.ridge * own
            all_slopes = np.repeat(slope[None], len(parts), 0)
            all_slopes[1:, :, features:] = 0.0  # one intercept, in the first part
            return value + extra + self.ridge * float(np.vdot(own, own)), all_slopes

        def value(parts: Parts) -> float:
            return self.penalty_value(parts[:, :, :features])

        def proximal(parts: Parts, step: float) -> Parts:
            moved = self.proximal(parts[:, :, :features], step)
            return np.concatenate([moved, parts[:, :, features:]], 2) if features < loss.columns else moved

        shape = (self.parts, len(loss.ids), loss.columns)
        start = np.zeros(shape) if start is None else start
        found = minimize(smooth, value, proximal, start, curvature=loss.curvature, tol=self.tol, max_iter=self.max_iter)
        if not found.converged:
            text = f"{type(self).__name__}: {self.max_iter} steps were not enough; raise max_iter or tol, or scale X"
            warnings.warn(text, NotConvergedWarning, stacklevel=3)
        self._solution = found.parts
        self.parts_ = found.parts[:, :, :features]
        self.coef_ = self.parts_.sum(0)
        self.intercept_ = loss.intercept(found.parts.sum(0))
        self.tasks_, self.objective_, self.n_iter_ = loss.ids, found.objective, len(found.objective) - 1
        return self

    def _scores(self, rows: Rows) -> Float64[np.ndarray, "rows"]:
        return np.einsum("nd,nd->n", rows.X, self.coef_[rows.task]) + self.intercept_[rows.task]

    def _known(self, X: Table, tasks: Any, y: Any = None) -> Rows:
        """Rows whose tasks are positions among the fitted ones."""
        if not hasattr(self, "coef_"):
            raise UserError(Problem(type(self).__name__, "is not fitted", "call fit first"))
        rows = collect(X, y, tasks, task_column=self.task_column)
        problems = []
        if rows.X.shape[1] != self.coef_.shape[1]:
            what = f"has {rows.X.shape[1]} columns, fit had {self.coef_.shape[1]}"
            problems.append(Problem("X", what))
        unseen = [task for task in rows.ids.tolist() if task not in set(self.tasks_.tolist())]
        if unseen:
            remedy = "fitted were " + _listed(self.tasks_.tolist())
            problems.append(Problem("tasks", f"{_listed(unseen)} not seen at fit", remedy))
        raise_errors(problems)
        position = {task: at for at, task in enumerate(self.tasks_.tolist())}
        place = np.array([position[task] for task in rows.ids.tolist()], dtype=np.intp)
        return Rows(rows.X, rows.y, place[rows.task], self.tasks_, rows.order, rows.lengths)

    def _raise_option_problems(self) -> None:
        name = type(self).__name__
        raise_errors(
            [
                *one_of(self.loss, ["squared", "logistic"], where=f"{name}.loss"),
                *in_range(self.ridge, where=f"{name}.ridge", least=0),
                *in_range(self.tol, where=f"{name}.tol", least=0),
                *in_range(self.max_iter, where=f"{name}.max_iter", least=1),
                *self.check_options(),
            ]
        )

    def check_options(self) -> list[Problem]:
        """What is wrong with the model's own options whatever the tasks: by default, numbers below 0."""
        own = [option for option in fields(self) if option.init and option.name not in _COMMON]
        return [
            problem
            for option in own
            if option.type in ("float", "int", float, int)
            for problem in in_range(getattr(self, option.name), where=f"{type(self).__name__}.{option.name}", least=0)
        ]


_COMMON = frozenset(option.name for option in fields(LinearModel))


def _listed(values: Sequence[object], shown: int = 8) -> str:
    text = ", ".join(repr(value) for value in values[:shown])
    return text + (f" and {len(values) - shown} more" if len(values) > shown else "")
