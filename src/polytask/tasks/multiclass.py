"""Multiclass tasks: softmax cross-entropy with class weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from polytask.errors import raise_errors
from polytask.metrics import Accuracy, ClassLogLoss, MacroAUC, MacroF1, Metric
from polytask.metrics.losses import class_log_loss
from polytask.options import in_range, one_of
from polytask.tasks.base import Classes, TaskStack
from polytask.tasks.classes import ClassTask, class_values
from polytask.tasks.loss import LossSpec, check_loss
from polytask.types import LabelStats, TaskName

ClassWeights = Mapping[str, float] | Sequence[float] | Literal["balanced"] | None


@dataclass(frozen=True, kw_only=True)
class Multiclass(ClassTask):
    """A task whose label is one of several classes without an order; built by `multiclass`."""

    class_weights: ClassWeights = None
    label_smoothing: float = 0.0

    kind: ClassVar[str] = "multiclass"

    @property
    def out_features(self) -> int:
        """One logit per class."""
        return self.class_count

    @property
    def stack_key(self) -> Hashable:
        """Tasks with as many classes and the same loss."""
        return Multiclass, self.loss, self.class_count

    def _stack(self, tasks: Sequence[Multiclass], indices: Sequence[int]) -> MulticlassStack:
        return MulticlassStack(tasks, indices)

    def fitted(self, stats: LabelStats, classes: Classes | None = None) -> Self:
        """See `Task.fitted`; the number of classes and the class weights are checked here."""
        self._check_classes(stats, classes)
        task = super().fitted(stats, classes)
        _ = task.class_weight_values
        return task

    @property
    def class_weight_values(self) -> tuple[float, ...]:
        """The weight of each class; ``"balanced"`` is ``1 / (classes * share)``, with mean 1 over the rows."""
        if self.class_weights is None:
            return (1.0,) * self.class_count
        if isinstance(self.class_weights, str):
            return tuple(1 / (self.class_count * share) for share in self.priors)
        where = f"{self._where}.class_weights"
        return class_values(self.class_weights, self.classes, self.class_count, where=where)

    def metrics(self, *, grouped: bool = False) -> dict[str, Metric]:
        """Accuracy, macro F1, macro AUC (one class against the rest) and log loss."""
        count = self.class_count
        metrics: list[Metric] = [Accuracy(), MacroF1(count), MacroAUC(count), ClassLogLoss()]
        return {metric.name: metric for metric in metrics}

    @property
    def primary_metric(self) -> str:
        """Accuracy."""
        return "accuracy"

    @property
    def selection_loss_name(self) -> str:
        """Log loss."""
        return "log_loss"

    def _selection_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        return class_log_loss


class MulticlassStack(TaskStack[Multiclass]):
    """Multiclass tasks with as many classes, side by side."""

    class_weights: Tensor
    smoothing: Tensor

    def __init__(self, tasks: Sequence[Multiclass], indices: Sequence[int]) -> None:
        super().__init__(tasks, indices)
        weights = torch.tensor([task.class_weight_values for task in tasks], dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self._per_task("smoothing", [task.label_smoothing for task in tasks])
        self._weighted = any(task.class_weights is not None for task in tasks)
        self._smoothed = any(task.label_smoothing > 0 for task in tasks)

    def _row_losses(self, logits: Tensor, labels: Tensor) -> Float[Tensor, "tasks batch"]:
        log_p = F.log_softmax(logits, dim=-1)
        own = labels.long()
        losses = -log_p.gather(-1, own[..., None])[..., 0]
        if self._smoothed:
            losses = torch.lerp(losses, -log_p.mean(-1), self.smoothing.to(losses.dtype))
        return losses * self.class_weights.gather(1, own) if self._weighted else losses

    def _predict(self, logits: Tensor) -> Float[Tensor, "tasks batch classes"]:
        return torch.softmax(logits, dim=-1)

    def initial_bias(self) -> Float[Tensor, "tasks out"]:
        """The logarithm of each class's share."""
        priors = torch.tensor([task.priors for task in self.tasks], dtype=torch.float32)
        return priors.log().to(self.class_weights.device)


def multiclass(
    name: TaskName,
    *,
    classes: Sequence[str | int | bool] | None = None,
    class_weights: ClassWeights = None,
    label_smoothing: float = 0.0,
    loss: LossSpec = "cross_entropy",
) -> Multiclass:
    """A task with one of K classes: cross-entropy of ``p = softmax(z)``, one probability per class as prediction.

        loss = w_y ((1 - s) (-log p_y) + s mean_k (-log p_k))

    Args:
        name: The task's name.
        classes: The label's values in class order; usually known from the data instead (`Task.fitted`).
        class_weights: w: one number per class in class order, or by class value (those left out weigh 1), or
            ``"balanced"``: ``1 / (K share_k)``. Not undone in predictions.
        label_smoothing: s.
        loss: ``"cross_entropy"``, or your own: ``"package.module:function"`` or a callable from logits ``[..., K]``
            and class numbers ``[...]`` to losses ``[...]``.

    Raises:
        UserError: With everything that is wrong with the options.

    Example:
        >>> task = multiclass("tier", classes=["silver", "gold"], class_weights={"gold": 3.0})
        >>> task.row_losses(torch.zeros(2, 2), torch.tensor([0.0, 1.0])).tolist()  # log 2, 3 log 2
        [0.6931471824645996, 2.079441547393799]
    """
    where = f"tasks.{name}"
    problems = check_loss(loss, ["cross_entropy"], where=f"{where}.loss")
    problems += in_range(label_smoothing, least=0, below=1, where=f"{where}.label_smoothing")
    if isinstance(class_weights, str):
        problems += one_of(class_weights, ["balanced"], where=f"{where}.class_weights")
    elif class_weights is not None:
        named = class_weights.items() if isinstance(class_weights, Mapping) else enumerate(class_weights)
        for key, weight in named:
            problems += in_range(weight, least=0, where=f"{where}.class_weights[{key}]")
    raise_errors(problems)
    return Multiclass(
        name=name,
        loss=loss,
        classes=None if classes is None else tuple(classes),
        class_weights=class_weights,
        label_smoothing=label_smoothing,
    )
