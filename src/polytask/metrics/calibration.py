"""Expected calibration error of one binary task."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from polytask.metrics.base import NAN, SumMetric
from polytask.metrics.histogram import logit_bins

FINE_BINS = 8_192


class ECE(SumMetric):
    """Expected calibration error: ``sum_b |sum_{i in b} w_i (p_i - y_i)| / sum_i w_i`` over bins of the predictions.

    Args:
        bins: Number of bins.
        binning: ``"equal_mass"``: bins of equal weight, which is informative where probabilities are tiny (they are
            put together from 8,192 fine bins in logit space, so predictions within 0.005 in logit stay together);
            ``"equal_width"``: equal steps of probability, as in Guo et al. 2017.

    Example:
        >>> metric = ECE(bins=2)
        >>> metric.update(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0.0, 0.0, 1.0, 1.0]))
        >>> metric.compute()
        0.25
    """

    name: ClassVar[str] = "ece"
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self, *, bins: int = 15, binning: Literal["equal_mass", "equal_width"] = "equal_mass") -> None:
        self.bins = bins
        self.binning = binning
        self._cells = FINE_BINS if binning == "equal_mass" else bins
        super().__init__(3, self._cells)  # weight, w p, w y

    def _options(self) -> Hashable:
        return self.bins, self.binning

    def _update(self, predictions: Tensor, labels: Tensor, weights: Tensor, groups: Tensor | None) -> None:
        if self.binning == "equal_mass":
            cells, _ = logit_bins(predictions, self._cells)
        else:
            cells = (predictions * self.bins).nan_to_num(nan=0.0).long().clamp_(0, self.bins - 1)
        values = torch.stack([weights, weights * predictions, weights * labels])
        self._on(predictions.device).index_add_(1, cells, values)

    def _compute(self) -> float:
        weight, gap = self._sums[0], self._sums[1] - self._sums[2]
        total = weight.sum()
        if total == 0:
            return NAN
        if self.binning == "equal_mass":
            middle = (weight.cumsum(0) - weight / 2) / total
            places = (middle * self.bins).long().clamp_(max=self.bins - 1)
            gap = gap.new_zeros(self.bins).index_add_(0, places, gap)
        return (gap.abs().sum() / total).item()
