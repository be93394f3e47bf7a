"""Metrics of one binary task that are functions of means: loss, entropy, calibration ratio, accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from polytask.metrics.base import NAN, MeanMetric, ratio, where_valid
from polytask.metrics.losses import binary_log_loss


class LogLoss(MeanMetric):
    """Mean of ``-y log p - (1 - y) log(1 - p)``, in nats.

    Example:
        >>> import torch
        >>> metric = LogLoss()
        >>> metric.update(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))
        >>> round(metric.compute(), 4)
        0.6931
    """

    name: ClassVar[str] = "log_loss"
    higher_is_better: ClassVar[bool | None] = False

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return (binary_log_loss(predictions, labels),)


class NormalizedEntropy(MeanMetric):
    """Log loss divided by the entropy of the positive rate of the same rows (He et al. 2014, section 2.1).

    1 is as good as knowing the positive rate only, lower is better; it compares tasks of different rarity. NaN with
    one class only.

    Example:
        >>> import torch
        >>> metric = NormalizedEntropy()
        >>> metric.update(torch.tensor([0.25, 0.25, 0.25, 0.25]), torch.tensor([1.0, 0.0, 0.0, 0.0]))
        >>> round(metric.compute(), 6)
        1.0
    """

    name: ClassVar[str] = "normalized_entropy"
    higher_is_better: ClassVar[bool | None] = False
    terms: ClassVar[int] = 2

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return binary_log_loss(predictions, labels), labels

    def _finish(self, means: Sequence[float]) -> float:
        loss, rate = means
        if not 0 < rate < 1:
            return NAN
        return loss / -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


class PCOC(MeanMetric):
    """Predicted clicks over clicks: ``sum p / sum y``; 1 is calibrated on average, above 1 is too optimistic.

    Example:
        >>> import torch
        >>> metric = PCOC()
        >>> metric.update(torch.tensor([0.5, 0.75, 0.25]), torch.tensor([1.0, 0.0, 0.0]))
        >>> metric.compute()
        1.5
    """

    name: ClassVar[str] = "pcoc"
    higher_is_better: ClassVar[bool | None] = None
    terms: ClassVar[int] = 2

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return predictions, labels

    def _finish(self, means: Sequence[float]) -> float:
        return ratio(means[0], means[1])


class BinaryAccuracy(MeanMetric):
    """Share of rows on the right side of a threshold; ``p >= threshold`` predicts positive.

    Args:
        threshold: The probability from which a row is predicted positive.

    Example:
        >>> import torch
        >>> metric = BinaryAccuracy()
        >>> metric.update(torch.tensor([0.6, 0.6, 0.1, 0.2]), torch.tensor([1.0, 0.0, 0.0, 0.0]))
        >>> metric.compute()
        0.75
    """

    name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool | None] = True

    def __init__(self, *, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def _options(self) -> float:
        return self.threshold

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        right = (predictions.double() >= self.threshold) == (labels > 0.5)
        return (where_valid(right.double(), predictions),)


class PositiveRate(MeanMetric):
    """Share of positive rows among the labels; it looks at no prediction."""

    name: ClassVar[str] = "positive_rate"
    higher_is_better: ClassVar[bool | None] = None

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return (labels,)
