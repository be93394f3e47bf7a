"""Metrics of class probabilities ``[rows, classes]``: multiclass and ordinal tasks."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polytask.metrics.base import NAN, MeanMetric, SumMetric, where_valid
from polytask.metrics.histogram import histogram_auc, logit_bins
from polytask.metrics.losses import class_log_loss

MACRO_BINS = 8_192


class ClassLogLoss(MeanMetric):
    """Mean of ``-log p[label]``, in nats."""

    name: ClassVar[str] = "log_loss"
    higher_is_better: ClassVar[bool | None] = False

    def _row_terms(
        self, predictions: Float[Tensor, "rows classes"], labels: Float[Tensor, "rows"]
    ) -> tuple[Tensor, ...]:
        return (class_log_loss(predictions, labels),)


class Accuracy(MeanMetric):
    """Share of rows whose most probable class is the label.

    Example:
        >>> metric = Accuracy()
        >>> metric.update(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), torch.tensor([0.0, 1.0]))
        >>> metric.compute()
        0.5
    """

    name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool | None] = True

    def _row_terms(
        self, predictions: Float[Tensor, "rows classes"], labels: Float[Tensor, "rows"]
    ) -> tuple[Tensor, ...]:
        return (where_valid((predictions.argmax(1) == labels).double(), predictions),)


def median_class(probabilities: Float[Tensor, "rows classes"]) -> Int[Tensor, "rows"]:
    """The first class at which the cumulated probability reaches one half: the best guess under absolute error.

    Example:
        >>> median_class(torch.tensor([[0.4, 0.2, 0.4], [0.1, 0.1, 0.8]])).tolist()
        [1, 2]
    """
    return (probabilities.cumsum(1)[:, :-1] < 0.5).sum(1)


class ConfusionMetric(SumMetric):
    """A function of the weights per (label, predicted class).

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, classes)
        self.classes = classes

    def _decide(self, predictions: Float[Tensor, "rows classes"]) -> Int[Tensor, "rows"]:
        return predictions.argmax(1)

    def _update(self, predictions: Tensor, labels: Tensor, weights: Tensor, groups: Tensor | None) -> None:
        cells = labels.long() * self.classes + self._decide(predictions)
        self._on(predictions.device).view(-1).index_add_(0, cells, where_valid(weights, predictions))

    def _compute(self) -> float:
        total = self._sums.sum().item()
        return NAN if total == 0 or math.isnan(total) else self._from_confusion(self._sums)

    @abstractmethod
    def _from_confusion(self, confusion: Float[Tensor, "classes classes"]) -> float: ...


class MacroF1(ConfusionMetric):
    """Mean over classes of ``2 TP / (2 TP + FP + FN)``, over the classes that occur among labels or predictions.

    Example:
        >>> metric = MacroF1(3)
        >>> metric.update(torch.eye(3)[[0, 0, 1]], torch.tensor([0.0, 1.0, 1.0]))
        >>> round(metric.compute(), 4)  # both classes 2/3; the third does not occur
        0.6667
    """

    name: ClassVar[str] = "macro_f1"
    higher_is_better: ClassVar[bool | None] = True

    def _from_confusion(self, confusion: Tensor) -> float:
        seen = confusion.sum(0) + confusion.sum(1)
        return (2 * confusion.diagonal() / seen)[seen > 0].mean().item()


class QuadraticKappa(ConfusionMetric):
    """Quadratic-weighted kappa of the median class: ``1 - sum d_ij O_ij / sum d_ij E_ij`` with ``d_ij = (i - j)^2``.

    O counts (label, prediction), E is what independence with the same margins would give. NaN where E has no
    disagreement (one class only).
    """

    name: ClassVar[str] = "quadratic_kappa"
    higher_is_better: ClassVar[bool | None] = True

    def _decide(self, predictions: Tensor) -> Tensor:
        return median_class(predictions)

    def _from_confusion(self, confusion: Tensor) -> float:
        ranks = torch.arange(self.classes, dtype=torch.float64, device=confusion.device)
        distance = (ranks[:, None] - ranks[None, :]).square()
        expected = confusion.sum(1)[:, None] * confusion.sum(0)[None, :] / confusion.sum()
        disagreement = (distance * expected).sum()
        return NAN if disagreement == 0 else (1 - (distance * confusion).sum() / disagreement).item()


class ClassMAE(MeanMetric):
    """Mean absolute distance, in classes, between the label and the median of the predicted distribution."""

    name: ClassVar[str] = "class_mae"
    higher_is_better: ClassVar[bool | None] = False

    def _row_terms(
        self, predictions: Float[Tensor, "rows classes"], labels: Float[Tensor, "rows"]
    ) -> tuple[Tensor, ...]:
        return (where_valid((median_class(predictions) - labels).abs(), predictions),)


class MacroAUC(SumMetric):
    """Mean over classes of the AUC of one class against the rest; streaming, binned in logit space.

    Classes without a positive or without a negative row are left out.

    Args:
        classes: Number of classes.
        bins: Bins per class.
    """

    name: ClassVar[str] = "macro_auc"
    higher_is_better: ClassVar[bool | None] = True

    def __init__(self, classes: int, *, bins: int = MACRO_BINS) -> None:
        super().__init__(2 * classes * bins + 1)
        self.classes = classes
        self.bins = bins

    def _options(self) -> Hashable:
        return self.classes, self.bins

    def _update(self, predictions: Tensor, labels: Tensor, weights: Tensor, groups: Tensor | None) -> None:
        cells, invalid = logit_bins(predictions, self.bins)
        classes = torch.arange(self.classes, device=predictions.device)
        cells = cells + self.bins * (2 * classes + (labels.long()[:, None] == classes))
        cells.masked_fill_(invalid, 2 * self.classes * self.bins)
        self._on(predictions.device).index_add_(0, cells.view(-1), weights.repeat_interleave(self.classes))

    def _compute(self) -> float:
        if self._sums[-1] != 0:
            return NAN
        negatives, positives = self._sums[:-1].view(self.classes, 2, self.bins).unbind(1)
        defined = histogram_auc(negatives, positives)
        return defined[~defined.isnan()].mean().item()
