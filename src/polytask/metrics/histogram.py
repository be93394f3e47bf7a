"""Probabilities counted in bins of equal width in logit space, where tiny probabilities keep their resolution."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polytask.metrics.base import NAN, SumMetric

LOGIT_LIMIT = 20.0
BINS = 65_536


def logit_bins(
    predictions: Float[Tensor, "*rows"], bins: int, *, from_logits: bool = False
) -> tuple[Int[Tensor, "*rows"], Bool[Tensor, "*rows"]]:
    """The bin of each prediction, and which predictions are no probability (NaN, or outside [0, 1]).

    Bins divide the logits from -20 to 20 (probabilities 2e-9 to 1 - 2e-9) evenly; beyond, the outermost bins serve.

    Example:
        >>> bins, invalid = logit_bins(torch.tensor([1e-12, 1e-4, 0.5, 1.0, 1.5]), 40)
        >>> bins.tolist(), invalid.tolist()
        ([0, 10, 20, 39, 0], [False, False, False, False, True])
    """
    logits = predictions if from_logits else torch.logit(predictions)
    invalid = logits.isnan()
    position = logits.nan_to_num(nan=-LOGIT_LIMIT).clamp(-LOGIT_LIMIT, LOGIT_LIMIT).add_(LOGIT_LIMIT)
    return position.mul_(bins / (2 * LOGIT_LIMIT)).long().clamp_(max=bins - 1), invalid


class HistogramMetric(SumMetric):
    """A ranking metric of binary labels, from the weights of negatives and positives per bin.

    Scores within one bin (0.0006 in logit at the default size) count as tied, so the result lies within half the
    share of pairs that fall into one bin of the exact value: below 1e-4 unless nearly all scores are equal.

    Args:
        bins: Number of bins.
        from_logits: Predictions are logits instead of probabilities.
    """

    def __init__(self, *, bins: int = BINS, from_logits: bool = False) -> None:
        super().__init__(2 * bins + 1)
        self.bins = bins
        self.from_logits = from_logits

    def _options(self) -> Hashable:
        return self.bins, self.from_logits

    def _update(self, predictions: Tensor, labels: Tensor, weights: Tensor, groups: Tensor | None) -> None:
        cells, invalid = logit_bins(predictions, self.bins, from_logits=self.from_logits)
        cells = cells + self.bins * (labels > 0.5)
        # the last cell counts what is no probability, so that compute() can answer NaN without a check on every batch
        self._on(predictions.device).index_add_(0, cells.masked_fill_(invalid, 2 * self.bins), weights)

    def _compute(self) -> float:
        if self._sums[-1] != 0:
            return NAN
        negatives, positives = self._sums[:-1].reshape(2, self.bins)
        if negatives.sum() == 0 or positives.sum() == 0:
            return NAN
        return self._from_histogram(negatives, positives)

    @abstractmethod
    def _from_histogram(self, negatives: Float[Tensor, "bins"], positives: Float[Tensor, "bins"]) -> float: ...


def histogram_auc(
    negatives: Float[Tensor, "*classes bins"], positives: Float[Tensor, "*classes bins"]
) -> Float[Tensor, "*classes"]:
    """Area under the ROC curve from weights per ascending bin, pairs in one bin counted half.

    Example:
        >>> histogram_auc(torch.tensor([2.0, 1.0]), torch.tensor([0.0, 3.0])).item()  # (3*2 + 3*1/2) / (3*3)
        0.8333333134651184
    """
    below = negatives.cumsum(-1) - negatives
    wins = (positives * (below + negatives / 2)).sum(-1)
    return wins / (positives.sum(-1) * negatives.sum(-1))
