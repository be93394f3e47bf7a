"""The loss of all tasks and its gradient in a few products, whatever the number of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from polytask.linear.rows import Rows

Matrix = Float64[np.ndarray, "tasks features"]


class Loss(ABC):
    """The smooth part: a value and a gradient for the coefficients of all tasks.

    With an intercept the features are centred per task, which changes nothing but the conditioning, because
    ``w'x + b = w'(x - mean) + (b + w'mean)``. `intercept` gives ``b``.

    Attributes:
        ids: The tasks.
        features: Number of features; coefficients have one more column where the intercept is not eliminated.
        columns: Columns of the coefficients.
        curvature: A rough lower bound of the largest eigenvalue of the Hessian, where the step search starts.
    """

    ids: np.ndarray
    features: int
    columns: int
    curvature: float

    @abstractmethod
    def __call__(self, coef: Matrix) -> tuple[float, Matrix]:
        """Value and gradient at ``coef``."""

    @abstractmethod
    def intercept(self, coef: Matrix) -> Float64[np.ndarray, "tasks"]:
        """The intercepts that belong to ``coef``."""


def _scales(rows: Rows, average: bool) -> Float64[np.ndarray, "tasks"]:
    return 1.0 / rows.counts if average else np.ones(len(rows.ids))


def _means(rows: Rows, wanted: bool) -> Matrix:
    return rows.per_task(rows.X) / rows.counts[:, None] if wanted else np.zeros((len(rows.ids), rows.X.shape[1]))


class GramLoss(Loss):
    """``sum_t c_t/2 ||X_t w_t - y_t||^2`` from ``X_t'X_t`` and ``X_t'y_t``: one product ``[T, d, d] @ [T, d]``.

    ``c_t`` is 1, or one over the number of the task's rows. The intercepts are eliminated.
    """

    def __init__(self, rows: Rows, *, average: bool, fit_intercept: bool) -> None:
        scales = _scales(rows, average)
        self.ids, self.features = rows.ids, rows.X.shape[1]
        self.columns = self.features
        self._means = _means(rows, fit_intercept)
        self._centre = rows.per_task(rows.y) / rows.counts if fit_intercept else np.zeros(len(rows.ids))
        x, y = rows.X - self._means[rows.task], rows.y - self._centre[rows.task]
        # once per fit, and every task has a length of its own: a loop of matrix products
        self._gram = np.stack([c * part.T @ part for c, part in zip(scales, np.split(x, rows.starts[1:]), strict=True)])
        self._cross = scales[:, None] * rows.per_task(x * y[:, None])
        self._constant = float((scales * rows.per_task(y * y)).sum() / 2)
        self.curvature = float(np.trace(self._gram, axis1=1, axis2=2).max() / self.features)

    def __call__(self, coef: Matrix) -> tuple[float, Matrix]:
        """Value and gradient at ``coef``."""
        product = np.matmul(self._gram, coef[:, :, None])[:, :, 0]
        value = self._constant + float(np.vdot(coef, product / 2 - self._cross))
        return value, product - self._cross

    def intercept(self, coef: Matrix) -> Float64[np.ndarray, "tasks"]:
        """The intercepts that belong to ``coef``."""
        return self._centre - (self._means * coef).sum(1)


RowLoss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def squared(score: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(score - y)^2 / 2`` per row, and its derivative."""
    return (score - y) ** 2 / 2, score - y


def logistic(score: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``log(1 + exp(score)) - y score`` per row for labels 0 and 1, and its derivative."""
    return np.logaddexp(0.0, score) - y * score, np.exp(-np.logaddexp(0.0, -score)) - y


class RowsLoss(Loss):
    """``sum_t c_t sum_i row(w_t'x_i + b_t, y_i)``: rows of all tasks in one array, gradients as segment sums.

    For losses without a Gram matrix, and for squared loss where the Gram matrices would be larger than the rows. The
    intercept is the last column of the coefficients.
    """

    def __init__(self, rows: Rows, row: RowLoss, *, average: bool, fit_intercept: bool, bend: float = 1.0) -> None:
        self.ids, self.features = rows.ids, rows.X.shape[1]
        self.columns = self.features + fit_intercept
        self._rows, self._row, self._scale = rows, row, _scales(rows, average)[rows.task]
        self._means = _means(rows, fit_intercept)
        x = rows.X - self._means[rows.task]
        self._x = np.concatenate([x, np.ones((len(x), 1))], 1) if fit_intercept else x
        squares = rows.per_task(self._scale * (self._x**2).sum(1))
        self.curvature = bend * float(squares.max()) / self.columns

    def __call__(self, coef: Matrix) -> tuple[float, Matrix]:
        """Value and gradient at ``coef``."""
        score = np.einsum("nd,nd->n", self._x, coef[self._rows.task])
        value, slope = self._row(score, self._rows.y)
        return float(self._scale @ value), self._rows.per_task((self._scale * slope)[:, None] * self._x)

    def intercept(self, coef: Matrix) -> Float64[np.ndarray, "tasks"]:
        """The intercepts that belong to ``coef``."""
        if self.columns == self.features:
            return np.zeros(len(self.ids))
        return coef[:, -1] - (self._means * coef[:, :-1]).sum(1)


def build_loss(rows: Rows, kind: str, *, average: bool, fit_intercept: bool) -> Loss:
    """The loss of the rows in the form that is cheaper to evaluate; labels of ``"logistic"`` are 0 and 1."""
    if kind == "logistic":
        return RowsLoss(rows, logistic, average=average, fit_intercept=fit_intercept, bend=0.25)
    n, d = rows.X.shape
    if len(rows.ids) * d <= 4 * n:
        return GramLoss(rows, average=average, fit_intercept=fit_intercept)
    return RowsLoss(rows, squared, average=average, fit_intercept=fit_intercept)
