"""How well a single column orders or determines a label: the numbers behind the leak check."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def auc(scores: Floats, positive: Bools) -> float:
    """Area under the ROC curve, ties counted half; NaN with one class only.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        0.875
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    # within a run of ties every row has the mean rank of the run
    starts = np.append(0, ends[:-1] + 1)
    ranks = np.repeat((starts + ends) / 2.0 + 1.0, ends - starts + 1)
    rank_sum = float(ranks[positive[order]].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def held_out_means(codes: Ints, values: Floats, fit: Bools) -> Floats:
    """Per row outside ``fit``, the mean of ``values`` over the rows of ``fit`` with the same code.

    Codes that ``fit`` does not hold get the overall mean, so that a rare value cannot look like knowledge.
    """
    size = int(codes.max()) + 1
    totals = np.bincount(codes[fit], values[fit], minlength=size)
    counts = np.bincount(codes[fit], minlength=size)
    overall = float(values[fit].mean())
    means = np.where(counts > 0, totals / np.maximum(counts, 1), overall)
    return np.asarray(means[codes[~fit]], dtype=np.float64)


def held_out_majority(codes: Ints, classes: Ints, fit: Bools) -> float:
    """Accuracy, on the rows outside ``fit``, of answering each code's most frequent class among the rows of ``fit``."""
    width = int(classes.max()) + 1
    pairs, counts = np.unique(codes[fit] * width + classes[fit], return_counts=True)
    order = np.argsort(counts, kind="stable")  # the last write per code is its most frequent class
    best = np.full(int(codes.max()) + 1, int(np.bincount(classes[fit]).argmax()))
    best[pairs[order] // width] = pairs[order] % width
    return float((best[codes[~fit]] == classes[~fit]).mean())


def explained(predictions: Floats, values: Floats) -> float:
    """Share of the variance of ``values`` that ``predictions`` explain (R2); NaN for constant values."""
    spread = float(np.square(values - values.mean()).sum())
    return 1.0 - float(np.square(values - predictions).sum()) / spread if spread > 0.0 else float("nan")
