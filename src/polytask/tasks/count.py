"""Count tasks: Poisson and negative binomial losses with a log link."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from polytask.errors import Problem, UserError, raise_errors
from polytask.metrics import MAE, R2, RMSE, Metric, PoissonDeviance
from polytask.metrics.losses import poisson_deviance
from polytask.options import in_range, one_of
from polytask.tasks.base import Classes, Task, TaskStack
from polytask.tasks.loss import LossSpec, check_loss
from polytask.types import LabelStats, TaskName

SMALLEST_DISPERSION = 1e-4


@dataclass(frozen=True, kw_only=True)
class Count(Task):
    """A task whose label counts something: 0, 1, 2, ...; built by `count`."""

    dispersion: float | Literal["moments"] = "moments"

    kind: ClassVar[str] = "count"

    @property
    def out_features(self) -> int:
        """The logarithm of the mean."""
        return 1

    @property
    def stack_key(self) -> Hashable:
        """Tasks with the same loss; the dispersion is per task."""
        return Count, self.loss

    def _stack(self, tasks: Sequence[Count], indices: Sequence[int]) -> CountStack:
        return CountStack(tasks, indices)

    def fitted(self, stats: LabelStats, classes: Classes | None = None) -> Self:
        """See `Task.fitted`; counts below 0 are refused."""
        if stats.minimum < 0:
            what = f"the smallest of {stats.rows} labels is {stats.minimum:g}, but counts start at 0"
            raise UserError(Problem(self._where, what, "use kind = 'regression'"))
        return super().fitted(stats)

    @property
    def mean(self) -> float:
        """The training rows' mean count, at least half an event."""
        stats = self.require_stats()
        return max(stats.mean, 0.5 / (stats.rows + 1))

    @property
    def dispersion_value(self) -> float:
        """The dispersion a in ``variance = mean + a mean^2``; by moments, ``(variance - mean) / mean^2``."""
        if not isinstance(self.dispersion, str):
            return self.dispersion
        return max((self.require_stats().std ** 2 - self.mean) / self.mean**2, SMALLEST_DISPERSION)

    @property
    def constant_prediction(self) -> Float[Tensor, ""]:
        """The mean count."""
        return torch.tensor(self.mean, dtype=torch.float64)

    @property
    def selection_loss_name(self) -> str:
        """Poisson deviance."""
        return "poisson_deviance"

    def _selection_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        return poisson_deviance

    def metrics(self, *, grouped: bool = False) -> dict[str, Metric]:
        """Poisson deviance, RMSE, MAE and R2."""
        metrics: list[Metric] = [PoissonDeviance(), RMSE(), MAE(), R2()]
        return {metric.name: metric for metric in metrics}

    @property
    def primary_metric(self) -> str:
        """Poisson deviance."""
        return "poisson_deviance"


class CountStack(TaskStack[Count]):
    """Count tasks with the same loss, side by side."""

    size: Tensor

    def __init__(self, tasks: Sequence[Count], indices: Sequence[int]) -> None:
        super().__init__(tasks, indices)
        self._negative_binomial = tasks[0].loss == "negative_binomial"
        self._per_task("size", [1 / task.dispersion_value if self._negative_binomial else math.inf for task in tasks])

    def _row_losses(self, logits: Tensor, labels: Tensor) -> Float[Tensor, "tasks batch"]:
        z, y = logits[..., 0], labels.to(logits.dtype)
        saturated = torch.xlogy(y, y)
        if not self._negative_binomial:
            return z.exp() - y * z + saturated - y
        # log((y + r) / (mu + r)) as a difference of small numbers: r is large for counts that are nearly Poisson
        size = self.size.to(z.dtype)
        larger = torch.log1p(y / size) - F.softplus(z - size.log())
        return saturated - y * z - (y + size) * larger

    def _predict(self, logits: Tensor) -> Float[Tensor, "tasks batch"]:
        return logits[..., 0].exp()

    def initial_bias(self) -> Float[Tensor, "tasks out"]:
        """The logarithm of the mean count."""
        biases = [[math.log(task.mean)] for task in self.tasks]
        return torch.tensor(biases, dtype=torch.float32, device=self.size.device)


def count(
    name: TaskName,
    *,
    loss: LossSpec = "poisson",
    dispersion: float | Literal["moments"] = "moments",
) -> Count:
    """A task that counts, with a log link: the prediction is the mean ``m = exp(z)``.

    Losses are half deviances, that is, negative log-likelihoods from which the best possible value of the row is
    taken away, so that they are never negative and 0 is perfect:

        poisson            m - y z + (y log y - y)
        negative_binomial  y log(y / m) - (y + r) log((y + r) / (m + r)),   r = 1 / dispersion

    Args:
        name: The task's name.
        loss: One of those, or your own: ``"package.module:function"`` or a callable from logits ``[..., 1]`` and
            counts ``[...]`` to losses ``[...]``.
        dispersion: a in ``variance = m + a m^2``, for the negative binomial. ``"moments"`` takes it from the training
            labels' variance; labels that vary less than Poisson get 0.0001, which is Poisson for all purposes.

    Raises:
        UserError: With everything that is wrong with the options.

    Example:
        >>> count("visits").row_losses(torch.tensor([[0.0], [0.0]]), torch.tensor([1.0, 0.0])).tolist()
        [0.0, 1.0]
    """
    where = f"tasks.{name}"
    problems = check_loss(loss, ["poisson", "negative_binomial"], where=f"{where}.loss")
    if isinstance(dispersion, str):
        problems += one_of(dispersion, ["moments"], where=f"{where}.dispersion")
    else:
        problems += in_range(dispersion, least=SMALLEST_DISPERSION, where=f"{where}.dispersion")
    raise_errors(problems)
    return Count(name=name, loss=loss, dispersion=dispersion)
