"""Ordinal tasks: conditional threshold probabilities, whose product is rank-consistent by construction."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from polytask.errors import raise_errors
from polytask.metrics import Accuracy, ClassLogLoss, ClassMAE, Metric, QuadraticKappa
from polytask.metrics.losses import class_log_loss
from polytask.tasks.base import Classes, TaskStack
from polytask.tasks.classes import ClassTask
from polytask.tasks.loss import LossSpec, check_loss
from polytask.types import LabelStats, TaskName


@dataclass(frozen=True, kw_only=True)
class Ordinal(ClassTask):
    """A task whose label is one of several ordered classes; built by `ordinal`."""

    kind: ClassVar[str] = "ordinal"

    @property
    def out_features(self) -> int:
        """One logit per threshold: one less than classes."""
        return self.class_count - 1

    @property
    def stack_key(self) -> Hashable:
        """Tasks with as many classes and the same loss."""
        return Ordinal, self.loss, self.class_count

    def _stack(self, tasks: Sequence[Ordinal], indices: Sequence[int]) -> OrdinalStack:
        return OrdinalStack(tasks, indices)

    def fitted(self, stats: LabelStats, classes: Classes | None = None) -> Self:
        """See `Task.fitted`; the number of classes is checked here."""
        self._check_classes(stats, classes)
        return super().fitted(stats, classes)

    def metrics(self, *, grouped: bool = False) -> dict[str, Metric]:
        """Quadratic-weighted kappa, mean absolute error in classes, accuracy and log loss."""
        metrics: list[Metric] = [QuadraticKappa(self.class_count), ClassMAE(), Accuracy(), ClassLogLoss()]
        return {metric.name: metric for metric in metrics}

    @property
    def primary_metric(self) -> str:
        """Quadratic-weighted kappa."""
        return "quadratic_kappa"

    @property
    def selection_loss_name(self) -> str:
        """Log loss."""
        return "log_loss"

    def _selection_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        return class_log_loss


class OrdinalStack(TaskStack[Ordinal]):
    """Ordinal tasks with as many classes, side by side."""

    thresholds: Tensor

    def __init__(self, tasks: Sequence[Ordinal], indices: Sequence[int]) -> None:
        super().__init__(tasks, indices)
        self.register_buffer("thresholds", torch.arange(self.out_features), persistent=False)

    def _row_losses(self, logits: Tensor, labels: Tensor) -> Float[Tensor, "tasks batch"]:
        label = labels[..., None]
        passed, stopped = self.thresholds < label, self.thresholds == label
        # softplus(-z) = -log P(y > k | y >= k) for thresholds passed, softplus(z) for the one that stopped the row
        return (F.softplus(torch.where(passed, -logits, logits)) * (passed | stopped)).sum(-1)

    def _predict(self, logits: Tensor) -> Float[Tensor, "tasks batch classes"]:
        passed = torch.cumprod(torch.sigmoid(logits), dim=-1)  # P(y > k)
        at_least = torch.cat([torch.ones_like(passed[..., :1]), passed], dim=-1)  # P(y >= k)
        return at_least * torch.cat([torch.sigmoid(-logits), torch.ones_like(passed[..., :1])], dim=-1)

    def initial_bias(self) -> Float[Tensor, "tasks out"]:
        """The logit of ``P(y > k | y >= k)`` among the training rows."""
        biases = []
        for task in self.tasks:
            shares = task.priors
            above = [sum(shares[k + 1 :]) for k in range(len(shares) - 1)]
            biases.append([math.log(rest / share) for rest, share in zip(above, shares, strict=False)])
        return torch.tensor(biases, dtype=torch.float32, device=self.thresholds.device)


def ordinal(
    name: TaskName,
    *,
    classes: Sequence[str | int | bool] | None = None,
    loss: LossSpec = "conditional",
) -> Ordinal:
    """A task with one of K ordered classes, predicted through K - 1 thresholds.

    Logit k is the chance to go on from class k: ``P(y > k | y >= k) = sigmoid(z_k)``. Hence

        P(y > k) = prod_{j <= k} sigmoid(z_j)
        loss = -log P(y) = sum_{k < y} softplus(-z_k) + [y < K - 1] softplus(z_y)

    P(y > k) can't increase with k, whatever the logits: rank consistency needs no constraint on the head, unlike
    CORAL's shared weight vector. The loss sums the binary losses of CORN (Shi, Cao, Raschka 2021) per row, which is
    the exact negative log-likelihood of a class.

    Args:
        name: The task's name.
        classes: The label's values in ascending order; usually known from the data instead (`Task.fitted`).
        loss: ``"conditional"``, or your own: ``"package.module:function"`` or a callable from logits ``[..., K - 1]``
            and class numbers ``[...]`` to losses ``[...]``.

    Raises:
        UserError: If the loss does not exist.

    Example:
        >>> task = ordinal("stars", classes=[1, 2, 3])
        >>> task.predict(torch.zeros(1, 2)).tolist()
        [[0.5, 0.25, 0.25]]
    """
    raise_errors(check_loss(loss, ["conditional"], where=f"tasks.{name}.loss"))
    return Ordinal(name=name, loss=loss, classes=None if classes is None else tuple(classes))
