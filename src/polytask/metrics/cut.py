"""What a threshold gives for one binary task: precision, recall, F1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from polytask.metrics.base import MeanMetric, ratio, where_valid


class _Cut(MeanMetric):
    """Means of: right yes, predicted yes, positive."""

    higher_is_better: ClassVar[bool | None] = True
    terms: ClassVar[int] = 3

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def _options(self) -> float:
        return self.threshold

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        yes, positive = predictions.double() >= self.threshold, labels > 0.5
        return tuple(where_valid(term.double(), predictions) for term in (yes & positive, yes, positive))


class Precision(_Cut):
    """Share of positive rows among those that are predicted positive: ``p >= threshold``.

    Args:
        threshold: The probability from which a row is predicted positive.

    Example:
        >>> import torch
        >>> metric = Precision()
        >>> metric.update(torch.tensor([0.6, 0.6, 0.1, 0.2]), torch.tensor([1.0, 0.0, 0.0, 1.0]))
        >>> metric.compute()
        0.5
    """

    name: ClassVar[str] = "precision"

    def _finish(self, means: Sequence[float]) -> float:
        return ratio(means[0], means[1])


class Recall(_Cut):
    """Share of the positive rows that are predicted positive: ``p >= threshold``.

    Args:
        threshold: The probability from which a row is predicted positive.

    Example:
        >>> import torch
        >>> metric = Recall(threshold=0.15)
        >>> metric.update(torch.tensor([0.6, 0.6, 0.1, 0.2]), torch.tensor([1.0, 0.0, 0.0, 1.0]))
        >>> metric.compute()
        1.0
    """

    name: ClassVar[str] = "recall"

    def _finish(self, means: Sequence[float]) -> float:
        return ratio(means[0], means[2])


class F1(_Cut):
    """Harmonic mean of precision and recall: ``2 TP / (predicted + positive)`` for ``p >= threshold``.

    Args:
        threshold: The probability from which a row is predicted positive.

    Example:
        >>> import torch
        >>> metric = F1()
        >>> metric.update(torch.tensor([0.6, 0.6, 0.1, 0.2]), torch.tensor([1.0, 0.0, 0.0, 1.0]))
        >>> metric.compute()
        0.5
    """

    name: ClassVar[str] = "f1"

    def _finish(self, means: Sequence[float]) -> float:
        return ratio(2 * means[0], means[1] + means[2])
