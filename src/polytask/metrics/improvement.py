"""The score that selects a model: how much of the constant prediction's loss a model saves."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from polytask.metrics.base import NAN, MeanMetric
from polytask.metrics.losses import RowLoss


class RelativeImprovement(MeanMetric):
    """``1 - loss(model) / loss(constant)`` over the same rows, in one pass.

    0 is as good as the constant that the training rows suggest, 1 is perfect, below 0 is worse. It has no unit, so
    that its mean over tasks of all kinds can select a model. NaN where the constant is already perfect.

    Args:
        row_loss: The loss of predictions, one value a row (`polytask.metrics.losses`).
        loss_name: What the loss is called.
        constant: The constant prediction: a scalar, or one probability per class.

    Example:
        >>> import torch
        >>> from polytask.metrics.losses import squared_error
        >>> metric = RelativeImprovement(squared_error, "squared_error", torch.tensor(2.0))
        >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
        >>> metric.compute(), metric.model_loss, metric.constant_loss
        (0.5, 0.5, 1.0)
    """

    name: ClassVar[str] = "relative_improvement"
    higher_is_better: ClassVar[bool | None] = True
    terms: ClassVar[int] = 2

    def __init__(self, row_loss: RowLoss, loss_name: str, constant: Float[Tensor, "*classes"]) -> None:
        super().__init__()
        self.loss_name = loss_name
        self.constant = constant
        self._row_loss = row_loss

    def _options(self) -> Hashable:
        return self.loss_name, tuple(self.constant.flatten().tolist())

    def _row_terms(self, predictions: Tensor, labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        constant = self.constant.to(predictions.device).expand(predictions.shape)
        return self._row_loss(predictions, labels), self._row_loss(constant, labels)

    def _finish(self, means: Sequence[float]) -> float:
        model, constant = means
        return 1 - model / constant if constant > 0 else NAN

    @property
    def model_loss(self) -> float:
        """Mean loss of the model; NaN without rows."""
        return self._mean(0)

    @property
    def constant_loss(self) -> float:
        """Mean loss of the constant prediction on the same rows; NaN without rows."""
        return self._mean(1)

    def _mean(self, term: int) -> float:
        return (self._sums[term] / self._sums[-1]).item() if self._sums[-1] != 0 else NAN
