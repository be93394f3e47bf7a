"""Binary tasks: cross-entropy with class weight, smoothing, focusing, and down-sampling that predictions undo."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.errors import raise_errors
from polytask.metrics import ECE, GAUC, PCOC, BinaryAccuracy, LogLoss, Metric, NormalizedEntropy, auc
from polytask.metrics.losses import binary_log_loss
from polytask.options import in_range, one_of
from polytask.tasks.base import Task, TaskStack
from polytask.tasks.loss import LossSpec, check_loss
from polytask.types import TaskName


@dataclass(frozen=True, kw_only=True)
class Binary(Task):
    """A task whose label is 0 or 1; built by `binary`."""

    positive_weight: float | Literal["balanced"] = 1.0
    keep_negatives: float = 1.0
    label_smoothing: float = 0.0
    gamma: float = 0.0
    exact_auc: bool = False

    kind: ClassVar[str] = "binary"

    @property
    def out_features(self) -> int:
        """One logit."""
        return 1

    @property
    def stack_key(self) -> Hashable:
        """Binary tasks differ per task in everything but the loss; focusing is computed only where one asks for it."""
        return Binary, self.loss, self.gamma > 0

    def _stack(self, tasks: Sequence[Binary], indices: Sequence[int]) -> BinaryStack:
        return BinaryStack(tasks, indices)

    def metrics(self, *, grouped: bool = False) -> dict[str, Metric]:
        """AUC, log loss, normalised entropy, calibration (PCOC, ECE) and accuracy; GAUC when rows carry groups."""
        metrics: list[Metric] = [auc(exact=self.exact_auc)]
        if grouped:
            metrics.append(GAUC())
        metrics += [LogLoss(), NormalizedEntropy(), PCOC(), ECE(), BinaryAccuracy()]
        return {metric.name: metric for metric in metrics}

    @property
    def primary_metric(self) -> str:
        """AUC."""
        return "auc"

    @property
    def rate(self) -> float:
        """The training rows' positive rate, kept off 0 and 1 by half a row."""
        stats = self.require_stats()
        margin = 0.5 / (stats.rows + 1)
        return min(max(stats.mean, margin), 1 - margin)

    @property
    def constant_prediction(self) -> Float[Tensor, ""]:
        """The positive rate."""
        return torch.tensor(self.rate, dtype=torch.float64)

    @property
    def selection_loss_name(self) -> str:
        """Log loss."""
        return "log_loss"

    def _selection_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        return binary_log_loss

    @property
    def positive_weight_value(self) -> float:
        """The weight of positive rows; ``"balanced"`` gives both classes the same total after down-sampling."""
        if self.positive_weight == "balanced":
            return (1 - self.rate) * self.keep_negatives / self.rate
        return self.positive_weight


class BinaryStack(TaskStack[Binary]):
    """Binary tasks side by side."""

    positive_weight: Tensor
    keep_negatives: Tensor
    smoothing: Tensor
    gamma: Tensor

    def __init__(self, tasks: Sequence[Binary], indices: Sequence[int]) -> None:
        super().__init__(tasks, indices)
        self._per_task("positive_weight", [task.positive_weight_value for task in tasks])
        self._per_task("keep_negatives", [task.keep_negatives for task in tasks])
        self._per_task("smoothing", [task.label_smoothing for task in tasks])
        self._per_task("gamma", [task.gamma for task in tasks])
        self._smoothed = any(task.label_smoothing > 0 for task in tasks)
        self._focal = tasks[0].gamma > 0
        self._sampled = any(task.keep_negatives < 1 for task in tasks)

    def _row_losses(self, logits: Tensor, labels: Tensor) -> Float[Tensor, "tasks batch"]:
        z = logits[..., 0]
        targets = labels + self.smoothing * (0.5 - labels) if self._smoothed else labels
        weight = self.positive_weight.to(z.dtype)
        losses = F.binary_cross_entropy_with_logits(z, targets.to(z.dtype), pos_weight=weight, reduction="none")
        if not self._focal:
            return losses
        # (1 - p_t)^gamma through its logarithm, whose gradient stays finite where p_t rounds to 1
        return losses * torch.exp(self.gamma * F.logsigmoid(z * (1 - 2 * labels)))

    def _predict(self, logits: Tensor) -> Float[Tensor, "tasks batch"]:
        z = logits[..., 0]
        return torch.sigmoid(z + self.keep_negatives.log() if self._sampled else z)

    def initial_bias(self) -> Float[Tensor, "tasks out"]:
        """``logit(positive rate) - log(keep_negatives)``."""
        biases = [math.log(t.rate / (1 - t.rate)) - math.log(t.keep_negatives) for t in self.tasks]
        return torch.tensor(biases, dtype=torch.float32, device=self.keep_negatives.device)[:, None]

    def sample_mask(
        self, labels: Float[Tensor, "tasks batch"], generator: np.random.Generator
    ) -> Bool[Tensor, "tasks batch"]:
        """All positive rows, and each negative row with the task's chance ``keep_negatives``."""
        if not self._sampled:
            return super().sample_mask(labels, generator)
        chance = torch.from_numpy(generator.random(tuple(labels.shape), dtype=np.float32)).to(labels.device)
        return (labels > 0.5) | (chance < self.keep_negatives)


def binary(
    name: TaskName,
    *,
    positive_weight: float | Literal["balanced"] = 1.0,
    keep_negatives: float = 1.0,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    loss: LossSpec = "cross_entropy",
    exact_auc: bool = False,
) -> Binary:
    r"""A task with a yes or a no: cross-entropy of a logit ``z``, prediction ``sigmoid(z)``.

    With ``y' = (1 - s) y + s / 2``, ``p = sigmoid(z)`` and ``p_t`` the probability of the row's own class:

        loss = (1 - p_t)^gamma * (-w y' log p - (1 - y') log(1 - p))

    Args:
        name: The task's name.
        positive_weight: w. ``"balanced"`` is negatives / positives among the rows that train. It moves predictions
            upwards and is not undone: use it for ranking, and ``keep_negatives`` where probabilities matter.
        keep_negatives: The chance r with which a negative row takes part in training. Predictions undo it:
            ``p / (p + (1 - p) / r)``, that is, ``log r`` is added to the logit.
        label_smoothing: s.
        gamma: Focusing (Lin et al. 2017); 0 is plain cross-entropy, 2 the paper's choice.
        loss: ``"cross_entropy"``, or your own: ``"package.module:function"`` or a callable from logits ``[..., 1]``
            and labels ``[...]`` to losses ``[...]``; the options above then change predictions and sampling only.
        exact_auc: Measure AUC over kept rows instead of bins.

    Raises:
        UserError: With everything that is wrong with the options.

    Example:
        >>> task = binary("like", keep_negatives=0.5)
        >>> task.predict(torch.tensor([[0.0]])).item()  # 0.5 / (0.5 + 0.5 / 0.5)
        0.3333333432674408
    """
    where = f"tasks.{name}"
    problems = check_loss(loss, ["cross_entropy"], where=f"{where}.loss")
    if isinstance(positive_weight, str):
        problems += one_of(positive_weight, ["balanced"], where=f"{where}.positive_weight")
    else:
        problems += in_range(positive_weight, above=0, where=f"{where}.positive_weight")
    problems += in_range(keep_negatives, above=0, most=1, where=f"{where}.keep_negatives")
    problems += in_range(label_smoothing, least=0, below=1, where=f"{where}.label_smoothing")
    problems += in_range(gamma, least=0, where=f"{where}.gamma")
    raise_errors(problems)
    return Binary(
        name=name,
        loss=loss,
        positive_weight=positive_weight,
        keep_negatives=keep_negatives,
        label_smoothing=label_smoothing,
        gamma=gamma,
        exact_auc=exact_auc,
    )
