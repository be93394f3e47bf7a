"""How well the positives of one binary task are ranked: AUC, AUC within groups, average precision."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polytask.metrics.base import NAN, Metric, RowMetric
from polytask.metrics.histogram import BINS, HistogramMetric, histogram_auc

KEPT = {"scores": torch.float32, "positive": torch.bool, "weights": torch.float64}


class AUC(HistogramMetric):
    """Area under the ROC curve: the chance that a positive row scores above a negative one, ties counted half.

    Streaming, over 65,536 bins in logit space; see `HistogramMetric` for the error and `ExactAUC` for none. NaN with
    one class only, and if a prediction is NaN or outside [0, 1].

    Example:
        >>> metric = AUC()
        >>> metric.update(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0.0, 0.0, 1.0, 1.0]))
        >>> metric.compute()
        0.75
    """

    name: ClassVar[str] = "auc"
    higher_is_better: ClassVar[bool | None] = True

    def _from_histogram(self, negatives: Tensor, positives: Tensor) -> float:
        return histogram_auc(negatives, positives).item()


class PRAUC(HistogramMetric):
    """Area under the precision-recall curve as average precision: ``sum_n (R_n - R_{n-1}) P_n`` from the top down.

    Example:
        >>> metric = PRAUC()
        >>> metric.update(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0.0, 0.0, 1.0, 1.0]))
        >>> round(metric.compute(), 4)  # 1/2 * 1/1 + 1/2 * 2/3
        0.8333
    """

    name: ClassVar[str] = "pr_auc"
    higher_is_better: ClassVar[bool | None] = True

    def _from_histogram(self, negatives: Tensor, positives: Tensor) -> float:
        positives, negatives = positives.flip(0), negatives.flip(0)
        found = positives.cumsum(0)
        precision = found / (found + negatives.cumsum(0)).clamp_min(torch.finfo(torch.float64).tiny)
        return ((positives * precision).sum() / positives.sum()).item()


def segment_auc(
    scores: Float[Tensor, "rows"],
    positive: Bool[Tensor, "rows"],
    weights: Float[Tensor, "rows"],
    segments: Int[Tensor, "rows"],
) -> tuple[Float[Tensor, "segments"], Float[Tensor, "segments"]]:
    """The exact AUC inside every segment, by one sort over all rows.

    Args:
        scores: Any real scores without NaN.
        positive: Which rows are positive.
        weights: Row weights, float64.
        segments: The segment of each row; any integers.

    Returns:
        AUC (NaN where a segment has one class only) and sum of weights, per segment in ascending order of its number.

    Example:
        >>> scores, positive = torch.tensor([0.1, 0.9, 0.9, 0.1]), torch.tensor([False, True, False, True])
        >>> auc, weight = segment_auc(scores, positive, torch.ones(4).double(), torch.tensor([7, 7, 8, 8]))
        >>> auc.tolist(), weight.tolist()
        ([1.0, 0.0], [2.0, 2.0])
    """
    order = torch.argsort(scores, stable=True)
    order = order[torch.argsort(segments[order], stable=True)]
    scores, positive, weights, segments = scores[order], positive[order], weights[order], segments[order]
    _, segment = torch.unique_consecutive(segments, return_inverse=True)

    first = torch.ones_like(positive)  # the first row of a block of equal scores within one segment
    first[1:] = (scores[1:] != scores[:-1]) | (segment[1:] != segment[:-1])
    block, segment_of_block = first.cumsum(0) - 1, segment[first]

    def sums(values: Tensor, places: Tensor, size: int) -> Tensor:
        return values.new_zeros(size).index_add_(0, places, values)

    blocks, count = len(segment_of_block), int(segment[-1]) + 1 if len(segment) else 0
    positives, negatives = sums(weights * positive, block, blocks), sums(weights * ~positive, block, blocks)
    total_positive, total_negative = sums(positives, segment_of_block, count), sums(negatives, segment_of_block, count)
    earlier_segments = total_negative.cumsum(0) - total_negative
    below = negatives.cumsum(0) - negatives - earlier_segments[segment_of_block]
    wins = sums(positives * (below + negatives / 2), segment_of_block, count)
    return wins / (total_positive * total_negative), total_positive + total_negative


class ExactAUC(RowMetric):
    """Area under the ROC curve over kept rows: no bins, any real scores, 13 bytes of memory a row.

    Example:
        >>> metric = ExactAUC()
        >>> metric.update(torch.tensor([-3.0, 40.0, 41.0]), torch.tensor([0.0, 0.0, 1.0]))
        >>> metric.compute()
        1.0
    """

    name: ClassVar[str] = "auc"
    higher_is_better: ClassVar[bool | None] = True
    columns: ClassVar[dict[str, torch.dtype]] = KEPT

    def _update(self, predictions: Tensor, labels: Tensor, weights: Tensor, groups: Tensor | None) -> None:
        self._keep(predictions, labels > 0.5, weights)

    def _compute(self) -> float:
        scores, positive, weights = self.rows()
        if len(scores) == 0 or scores.isnan().any():
            return NAN
        auc, _ = segment_auc(scores, positive, weights, torch.zeros_like(scores, dtype=torch.int64))
        return auc[0].item()


class GAUC(RowMetric):
    """AUC within each group (user, query), averaged with the groups' weights: ``sum_g w_g AUC_g / sum_g w_g``.

    The weight of a group is its number of rows (its sum of sample weights). Groups with one class only have no AUC;
    they are left out and the weights of the others renormalised. Exact: it keeps rows, 21 bytes each.

    Example:
        >>> metric = GAUC()
        >>> groups = torch.tensor([1, 1, 2, 2, 2, 3])
        >>> scores, labels = torch.tensor([0.1, 0.9, 0.5, 0.4, 0.3, 0.7]), torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
        >>> metric.update(scores, labels, groups=groups)
        >>> metric.compute()  # (2 * 1.0 + 3 * 0.5) / 5; group 3 has one class
        0.7
    """

    name: ClassVar[str] = "gauc"
    higher_is_better: ClassVar[bool | None] = True
    columns: ClassVar[dict[str, torch.dtype]] = {**KEPT, "groups": torch.int64}

    def _update(self, predictions: Tensor, labels: Tensor, weights: Tensor, groups: Tensor | None) -> None:
        if groups is None:
            raise ValueError("metric gauc: needs the group of each row; declare a group column for the task")
        self._keep(predictions, labels > 0.5, weights, groups.to(labels.device))

    def _compute(self) -> float:
        scores, positive, weights, groups = self.rows()
        if len(scores) == 0 or scores.isnan().any():
            return NAN
        auc, weight = segment_auc(scores, positive, weights, groups)
        weight = weight.masked_fill(auc.isnan(), 0.0)
        return (torch.dot(auc.nan_to_num(nan=0.0), weight) / weight.sum()).item()


def auc(*, exact: bool = False, bins: int = BINS) -> Metric:
    """An AUC metric: streaming over bins, or exact over kept rows."""
    return ExactAUC() if exact else AUC(bins=bins)
