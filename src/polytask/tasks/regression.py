"""Regression tasks: squared, Huber, absolute and quantile losses on scaled targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytask.errors import Problem, UserError, raise_errors
from polytask.metrics import MAE, R2, RMSE, Coverage, Metric, Pinball, losses
from polytask.options import in_range, one_of
from polytask.tasks.base import Classes, Task, TaskStack
from polytask.tasks.loss import LossSpec, check_loss
from polytask.types import LabelStats, TaskName

Scaling = Literal["standard", "log1p", "none"]
LOSSES = ("squared", "huber", "absolute", "quantile")
LARGEST_LOG = 80.0  # exp(80) is still a float32


@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """A task whose label is a number; built by `regression`."""

    scaling: Scaling = "standard"
    delta: float = 1.0
    quantile: float = 0.5

    kind: ClassVar[str] = "regression"

    @property
    def out_features(self) -> int:
        """One value."""
        return 1

    @property
    def stack_key(self) -> Hashable:
        """Tasks with the same loss and kind of scaling; location, scale, delta and quantile are per task."""
        return Regression, self.loss, self.scaling == "log1p"

    def _stack(self, tasks: Sequence[Regression], indices: Sequence[int]) -> RegressionStack:
        return RegressionStack(tasks, indices)

    def fitted(self, stats: LabelStats, classes: Classes | None = None) -> Self:
        """See `Task.fitted`; log scaling refuses labels below 0."""
        if self.scaling == "log1p" and stats.minimum < 0:
            what = f"the smallest of {stats.rows} labels is {stats.minimum:g}, but log1p scaling needs labels from 0"
            raise UserError(Problem(f"{self._where}.scaling", what, "use scaling = 'standard'"))
        return super().fitted(stats)

    @property
    def location_and_scale(self) -> tuple[float, float]:
        """The mean and the standard deviation of the (log) labels; 0 and 1 without scaling."""
        if self.scaling == "none":
            return 0.0, 1.0
        stats = self.require_stats()
        if self.scaling == "standard":
            return stats.mean, stats.std
        logs = np.log1p(self._quantile_grid())
        return float(logs.mean()), float(logs.std()) or 1.0

    def _quantile_grid(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The middles of 100 slices of equal weight of the label's distribution."""
        grid = np.asarray(self.require_stats().quantiles, dtype=np.float64)
        if len(grid) < 2:
            raise ValueError(f"task '{self.name}': its label statistics carry no quantiles")
        return (grid[1:] + grid[:-1]) / 2

    @property
    def constant_prediction(self) -> Float[Tensor, ""]:
        """The best constant under the selection loss: mean, back-transformed mean of logs, median or quantile."""
        if self.selection_loss_name == "squared_error":
            value = self.require_stats().mean
        elif self.selection_loss_name == "squared_log_error":
            value = math.expm1(self.location_and_scale[0])
        else:
            grid = self.require_stats().quantiles
            at = self.quantile if self.loss == "quantile" else 0.5
            value = float(np.interp(at, np.linspace(0, 1, len(grid)), grid))
        return torch.tensor(value, dtype=torch.float64)

    @property
    def selection_loss_name(self) -> str:
        """Squared error (of logs under log scaling); absolute error for the robust losses; pinball for quantiles."""
        if self.loss == "quantile":
            return "pinball"
        if self.loss in ("absolute", "huber"):
            return "absolute_error"
        return "squared_log_error" if self.scaling == "log1p" else "squared_error"

    def _selection_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        return {
            "pinball": losses.pinball(self.quantile),
            "absolute_error": losses.absolute_error,
            "squared_log_error": losses.squared_log_error,
            "squared_error": losses.squared_error,
        }[self.selection_loss_name]

    def metrics(self, *, grouped: bool = False) -> dict[str, Metric]:
        """RMSE, MAE and R2; for a quantile the pinball loss, coverage and MAE."""
        metrics: list[Metric] = [RMSE(), MAE(), R2()]
        if self.loss == "quantile":
            metrics = [Pinball(self.quantile), Coverage(), MAE()]
        return {metric.name: metric for metric in metrics}

    @property
    def primary_metric(self) -> str:
        """R2 where squared error is aimed at, else the mean error that is."""
        return {"pinball": "pinball", "squared_error": "r2"}.get(self.selection_loss_name, "mae")


class RegressionStack(TaskStack[Regression]):
    """Regression tasks with the same loss, side by side."""

    location: Tensor
    scale: Tensor
    delta: Tensor
    quantile: Tensor

    def __init__(self, tasks: Sequence[Regression], indices: Sequence[int]) -> None:
        super().__init__(tasks, indices)
        location, scale = zip(*(task.location_and_scale for task in tasks), strict=True)
        self._per_task("location", location)
        self._per_task("scale", scale)
        self._per_task("delta", [task.delta for task in tasks])
        self._per_task("quantile", [task.quantile for task in tasks])
        self._log = tasks[0].scaling == "log1p"
        self._loss = tasks[0].loss

    def _loss_targets(self, labels: Tensor) -> Float[Tensor, "tasks batch"]:
        values = labels.clamp_min(0).log1p() if self._log else labels
        return (values - self.location) / self.scale

    def _row_losses(self, logits: Tensor, labels: Tensor) -> Float[Tensor, "tasks batch"]:
        error = self._loss_targets(labels) - logits[..., 0]
        if self._loss == "squared":
            return error.square()
        if self._loss == "absolute":
            return error.abs()
        if self._loss == "quantile":
            return torch.maximum(self.quantile * error, (self.quantile - 1) * error)
        size = error.abs()
        return torch.where(size <= self.delta, error.square() / 2, self.delta * (size - self.delta / 2))

    def _predict(self, logits: Tensor) -> Float[Tensor, "tasks batch"]:
        values = logits[..., 0] * self.scale + self.location
        return values.clamp(0, LARGEST_LOG).expm1() if self._log else values

    def initial_bias(self) -> Float[Tensor, "tasks out"]:
        """The constant prediction in the scaled unit; 0 for the mean of standardised labels."""
        constants = torch.stack([task.constant_prediction for task in self.tasks]).to(self.location.device)[:, None]
        values = constants.log1p() if self._log else constants
        return ((values - self.location.double()) / self.scale.double()).float()


def regression(
    name: TaskName,
    *,
    loss: LossSpec = "squared",
    scaling: Scaling = "standard",
    delta: float = 1.0,
    quantile: float = 0.5,
) -> Regression:
    """A task with a number, predicted in the label's own unit.

    The head learns ``t = (y - mean) / std`` (``"standard"``), the same of ``log(1 + y)`` (``"log1p"``), or ``y``
    itself (``"none"``). With the error ``e = t - z`` a row's loss is

        squared   e^2
        huber     e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)
        absolute  |e|
        quantile  max(q e, (q - 1) e)

    Args:
        name: The task's name.
        loss: One of those, or your own: ``"package.module:function"`` or a callable from logits ``[..., 1]`` and
            scaled labels t ``[...]`` to losses ``[...]``.
        scaling: How targets are scaled. ``"log1p"`` is for skewed labels from 0 up (play time, money): predictions are
            ``exp(...) - 1``, never below 0, and estimate the median rather than the mean; a model is then selected by
            the squared error of the logs.
        delta: Where the Huber loss turns from squared to absolute, in scaled units.
        quantile: Which quantile to predict with ``loss = "quantile"``.

    Raises:
        UserError: With everything that is wrong with the options.

    Example:
        >>> task = regression("price").fitted(LabelStats(rows=9, weight=9.0, mean=20.0, std=5.0, minimum=1, maximum=40))
        >>> task.predict(torch.tensor([[-1.0], [0.0], [2.0]])).tolist()
        [15.0, 20.0, 30.0]
    """
    where = f"tasks.{name}"
    problems = check_loss(loss, LOSSES, where=f"{where}.loss")
    problems += one_of(scaling, ["standard", "log1p", "none"], where=f"{where}.scaling")
    problems += in_range(delta, above=0, where=f"{where}.delta")
    problems += in_range(quantile, above=0, below=1, where=f"{where}.quantile")
    if quantile != 0.5 and loss != "quantile":
        what = f"is {quantile:g}, but the loss is {loss!r} and does not read it"
        problems.append(Problem(f"{where}.quantile", what, "set loss = 'quantile'"))
    raise_errors(problems)
    return Regression(name=name, loss=loss, scaling=scaling, delta=delta, quantile=quantile)
