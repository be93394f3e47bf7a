"""Metrics of predicted values and counts, in the label's own unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from polytask.metrics import losses
from polytask.metrics.base import NAN, MeanMetric, where_valid


class RMSE(MeanMetric):
    """Root of the mean squared error.

    Example:
        >>> import torch
        >>> metric = RMSE()
        >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 6.0]))
        >>> round(metric.compute(), 4)  # sqrt((9 + 16) / 2)
        3.5355
    """

    name: ClassVar[str] = "rmse"
    higher_is_better: ClassVar[bool | None] = False

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return (losses.squared_error(predictions, labels),)

    def _finish(self, means: Sequence[float]) -> float:
        return math.sqrt(means[0])


class MAE(MeanMetric):
    """Mean absolute error."""

    name: ClassVar[str] = "mae"
    higher_is_better: ClassVar[bool | None] = False

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return (losses.absolute_error(predictions, labels),)


class R2(MeanMetric):
    """Share of the labels' variance that is explained: ``1 - mean (y - p)^2 / var y``; NaN for constant labels."""

    name: ClassVar[str] = "r2"
    higher_is_better: ClassVar[bool | None] = True
    terms: ClassVar[int] = 3

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return losses.squared_error(predictions, labels), labels, labels.double().square()

    def _finish(self, means: Sequence[float]) -> float:
        error, mean, square = means
        variance = square - mean * mean
        # what is left of a constant label is rounding of the two large numbers
        return NAN if variance <= 1e-14 * square else 1 - error / variance


class PoissonDeviance(MeanMetric):
    """Mean of ``2 (y log(y / p) - y + p)`` for predicted means p and counts y."""

    name: ClassVar[str] = "poisson_deviance"
    higher_is_better: ClassVar[bool | None] = False

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return (losses.poisson_deviance(predictions, labels),)


class Pinball(MeanMetric):
    """Mean pinball loss of a predicted quantile.

    Args:
        quantile: Between 0 and 1; 0.5 gives half the mean absolute error.
    """

    name: ClassVar[str] = "pinball"
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self, quantile: float) -> None:
        super().__init__()
        self.quantile = quantile

    def _options(self) -> float:
        return self.quantile

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return (losses.pinball(self.quantile)(predictions, labels),)


class Coverage(MeanMetric):
    """Share of labels at or below the prediction; a calibrated quantile q covers q."""

    name: ClassVar[str] = "coverage"
    higher_is_better: ClassVar[bool | None] = None

    def _row_terms(self, predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return (where_valid((labels <= predictions).double(), predictions),)
