"""A task, and a stack of tasks of one kind whose losses and predictions are one expression over the task axis."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.errors import Problem, UserError
from polytask.metrics import Metric, RelativeImprovement
from polytask.tasks.loss import LossSpec, RowLoss, call_loss, is_own, load_loss
from polytask.types import LabelStats, TaskName

Classes = tuple[str | int | bool, ...]


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One objective: it knows its loss, its prediction and its metrics; never a mask, never a column.

    Tasks are values. `fitted` gives a task that also knows what the training rows say about its label, which scales
    targets, sets head biases and gives the constant prediction.

    Attributes:
        name: The task's name.
        loss: A built-in loss, or the user's own: a callable, or ``"package.module:function"``.
        stats: What the training rows say; None before `fitted`.
        classes: The label's values in class order, where it has classes.
    """

    name: TaskName
    loss: LossSpec
    stats: LabelStats | None = None
    classes: Classes | None = None

    kind: ClassVar[str]

    @property
    @abstractmethod
    def out_features(self) -> int:
        """Width of the task's head."""

    @property
    @abstractmethod
    def stack_key(self) -> Hashable:
        """Tasks with equal keys are computed together; what may differ per task is a tensor ``[tasks, 1]``."""

    @abstractmethod
    def _stack(self, tasks: Sequence[Any], indices: Sequence[int]) -> TaskStack[Any]:
        """A stack of tasks that all have this task's `stack_key`."""

    @abstractmethod
    def metrics(self, *, grouped: bool = False) -> dict[str, Metric]:
        """New, empty metrics of this task's kind by name.

        Args:
            grouped: Updates will carry groups (user or query ids), so that grouped metrics are possible.
        """

    @property
    @abstractmethod
    def primary_metric(self) -> str:
        """The one metric that a table shows when it shows one; a key of `metrics`."""

    @property
    @abstractmethod
    def constant_prediction(self) -> Float[Tensor, "*classes"]:
        """What `predict` would give for every row of a model that knows only the training labels."""

    @property
    @abstractmethod
    def selection_loss_name(self) -> str:
        """The loss of predictions by which a model is selected; a proper score of the task's kind."""

    @abstractmethod
    def _selection_loss(self) -> Callable[[Tensor, Tensor], Tensor]: ...

    def selection(self) -> RelativeImprovement:
        """A new metric: the share of the constant prediction's `selection_loss_name` that the model saves."""
        return RelativeImprovement(self._selection_loss(), self.selection_loss_name, self.constant_prediction)

    def fitted(self, stats: LabelStats, classes: Classes | None = None) -> Self:
        """The same task, knowing the training labels.

        Args:
            stats: Statistics of the observed training rows.
            classes: The label's values in class order; for kinds with classes.

        Raises:
            UserError: If these labels do not fit the task.
        """
        return dataclasses.replace(self, stats=stats, classes=classes if classes is not None else self.classes)

    def require_stats(self) -> LabelStats:
        """The training statistics.

        Raises:
            ValueError: If the task is not fitted.
        """
        if self.stats is None:
            raise ValueError(f"task '{self.name}' is not fitted; call fitted(stats) first")
        return self.stats

    def row_losses(self, logits: Float[Tensor, "batch out"], labels: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """The training loss of every row; see `TaskStack.row_losses` for many tasks at once."""
        return self._stack([self], [0]).to(logits.device).row_losses(logits[None], labels[None])[0]

    def predict(self, logits: Float[Tensor, "batch out"]) -> Float[Tensor, "batch *classes"]:
        """Probabilities, or values in the label's own unit."""
        return self._stack([self], [0]).to(logits.device).predict(logits[None])[0]

    @property
    def _where(self) -> str:
        return f"tasks.{self.name}"


AnyTask = TypeVar("AnyTask", bound=Task)


class TaskStack(nn.Module, ABC, Generic[AnyTask]):
    """Tasks of one kind, computed together; per-task numbers are buffers ``[tasks, 1]``.

    The buffers follow the tasks, hence they are not part of ``state_dict``.

    Attributes:
        tasks: The tasks, in the order of the leading axis of logits and labels.
        indices: Their positions among all tasks of the model.
        out_features: Width of each head.
    """

    def __init__(self, tasks: Sequence[AnyTask], indices: Sequence[int]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.indices = tuple(indices)
        self.out_features = tasks[0].out_features
        self._own_loss: RowLoss | None = None

    def _per_task(self, name: str, values: Sequence[float]) -> None:
        """Registers one number per task as a buffer ``[tasks, 1]``."""
        self.register_buffer(name, torch.tensor(values, dtype=torch.float32)[:, None], persistent=False)

    def row_losses(
        self, logits: Float[Tensor, "tasks batch out"], labels: Float[Tensor, "tasks batch"]
    ) -> Float[Tensor, "tasks batch"]:
        """The training loss of every row and task, in at least float32; rows without a label give numbers to ignore.

        Raises:
            UserError: If the user's own loss can't be found or gives another shape.
        """
        logits = full_precision(logits)
        loss = self.tasks[0].loss
        if not is_own(loss):
            return self._row_losses(logits, labels)
        where = f"tasks.{self.tasks[0].name}.loss"
        if self._own_loss is None:
            self._own_loss = load_loss(loss, where=where)
        return call_loss(self._own_loss, logits, self._loss_targets(labels), where=where)

    def _loss_targets(self, labels: Float[Tensor, "tasks batch"]) -> Float[Tensor, "tasks batch"]:
        """The labels as a loss sees them."""
        return labels

    @abstractmethod
    def _row_losses(
        self, logits: Float[Tensor, "tasks batch out"], labels: Float[Tensor, "tasks batch"]
    ) -> Float[Tensor, "tasks batch"]: ...

    def predict(self, logits: Float[Tensor, "tasks batch out"]) -> Float[Tensor, "tasks batch *classes"]:
        """Probabilities (one per class for multiclass and ordinal), or values in the label's own unit."""
        return self._predict(full_precision(logits))

    @abstractmethod
    def _predict(self, logits: Float[Tensor, "tasks batch out"]) -> Float[Tensor, "tasks batch *classes"]: ...

    @abstractmethod
    def initial_bias(self) -> Float[Tensor, "tasks out"]:
        """The head biases with which `predict` gives the constant prediction, before anything is learnt.

        Raises:
            ValueError: If a task is not fitted.
        """

    def sample_mask(
        self, labels: Float[Tensor, "tasks batch"], generator: np.random.Generator
    ) -> Bool[Tensor, "tasks batch"]:
        """Which rows take part in training; all, unless the task leaves some out on purpose (negative down-sampling).

        Args:
            labels: Labels, per task.
            generator: Source of chance; it is not touched when every row is kept.
        """
        return torch.ones_like(labels, dtype=torch.bool)

    def check_loss(self) -> None:
        """Runs the loss on two made-up rows, so that a mistake in the user's own loss shows before training.

        Raises:
            UserError: If the user's own loss can't be found, or its result is not differentiable or has another shape.
        """
        device = next((buffer.device for buffer in self.buffers()), None)
        logits = torch.zeros(len(self.tasks), 2, self.out_features, device=device, requires_grad=True)
        losses = self.row_losses(logits, torch.zeros(len(self.tasks), 2, device=device))
        if not losses.requires_grad:
            where = f"tasks.{self.tasks[0].name}.loss"
            raise UserError(Problem(where, "its result does not depend on the logits", "compute it from them"))


def full_precision(logits: Tensor) -> Tensor:
    """Logits in float32 at least: losses and probabilities of half-precision logits lose what matters.

    Example:
        >>> full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def stack(tasks: Sequence[Task]) -> tuple[TaskStack[Any], ...]:
    """Tasks grouped by `Task.stack_key`, in the order in which the groups first occur.

    Example:
        >>> from polytask.tasks import binary, count
        >>> [group.indices for group in stack([binary("click"), count("visits"), binary("like")])]
        [(0, 2), (1,)]
    """
    groups: dict[Hashable, list[int]] = {}
    for index, task in enumerate(tasks):
        groups.setdefault(task.stack_key, []).append(index)
    return tuple(tasks[indices[0]]._stack([tasks[i] for i in indices], indices) for indices in groups.values())


def row_losses(
    stacks: Sequence[TaskStack[Any]],
    logits: Sequence[Float[Tensor, "_ batch _"]],
    labels: Float[Tensor, "tasks batch"],
) -> Float[Tensor, "tasks batch"]:
    """The row losses of all tasks, in the tasks' own order.

    Args:
        stacks: What `stack` gave.
        logits: One tensor per stack.
        labels: Labels of all tasks, in the tasks' own order.
    """
    if len(stacks) == 1:  # one kind only: the indices are 0, 1, ... and nothing needs to move
        return stacks[0].row_losses(logits[0], labels)
    order = [index for group in stacks for index in group.indices]
    losses = [group.row_losses(z, labels[list(group.indices)]) for group, z in zip(stacks, logits, strict=True)]
    return torch.cat(losses)[np.argsort(order).tolist()]


def predict(
    stacks: Sequence[TaskStack[Any]], logits: Sequence[Float[Tensor, "_ batch _"]]
) -> Mapping[TaskName, Float[Tensor, "batch *_"]]:
    """The predictions of all tasks by name, in the tasks' own order."""
    found = {
        index: (task.name, prediction)
        for group, z in zip(stacks, logits, strict=True)
        for index, task, prediction in zip(group.indices, group.tasks, group.predict(z), strict=True)
    }
    return dict(found[index] for index in sorted(found))
