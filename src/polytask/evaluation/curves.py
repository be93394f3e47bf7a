"""Curves of one task's predictions on some rows: calibration, and what a ranking gathers of all that there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS, BIN_ROWS, POINTS = 20, 25, 101
"""Most bins of a calibration curve, fewest rows in one of them, and points of a gain curve."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Bins of equally many rows, in the order of the predictions.

    Attributes:
        predicted: Mean prediction of each bin.
        observed: Mean label of the same rows.
        rows: How many they are.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gain:
    """What the first rows gather, with the highest predictions first.

    Attributes:
        share: Share of the rows, from 0 to 1 in equal steps.
        captured: Share of the labels' sum in them; of the positives where labels are 0 and 1.
    """

    share: tuple[float, ...]
    captured: tuple[float, ...]


def calibration_curve(predictions: Floats, labels: Floats, weights: Floats | None = None) -> Calibration | None:
    """Mean prediction against mean label, in bins of equally many rows.

    Args:
        predictions: Probabilities, or values in the label's unit.
        labels: What was seen.
        weights: Sample weights of both means.

    Returns:
        At most 20 bins of at least 25 rows; None without rows.

    Example:
        >>> labels = np.tile([0.0, 1.0, 1.0, 1.0], 25)
        >>> curve = calibration_curve(np.repeat([0.25, 0.75], 50), labels)
        >>> curve.predicted, curve.rows
        ((0.25, 0.25, 0.75, 0.75), (25, 25, 25, 25))
    """
    if not len(labels):
        return None
    weights = np.ones_like(labels) if weights is None else weights
    order = np.argsort(predictions, kind="stable")
    bins = np.array_split(order, min(BINS, max(1, len(order) // BIN_ROWS)))
    bins = [rows for rows in bins if weights[rows].sum() > 0]
    predicted = tuple(float(np.average(predictions[rows], weights=weights[rows])) for rows in bins)
    observed = tuple(float(np.average(labels[rows], weights=weights[rows])) for rows in bins)
    return Calibration(predicted, observed, tuple(map(len, bins)))


def gain_curve(predictions: Floats, labels: Floats, weights: Floats | None = None) -> Gain | None:
    """Which share of the labels' sum lies in the rows with the highest predictions.

    Rows of equal predictions share what they have, so that their order does not matter.

    Args:
        predictions: By what rows are ranked.
        labels: Not negative.
        weights: Sample weights: of a row, and of its label.

    Returns:
        101 points; None where a label is negative, or there is nothing to gather.

    Example:
        >>> curve = gain_curve(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1.0, 0.0, 1.0, 0.0]))
        >>> curve.captured[25], curve.captured[50], curve.captured[100]
        (0.5, 0.5, 1.0)
    """
    weights = np.ones_like(labels) if weights is None else weights
    total = float((weights * labels).sum())
    if not len(labels) or labels.min() < 0 or total <= 0:
        return None
    order = np.argsort(-predictions, kind="stable")
    ranked = predictions[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    rows = np.append(0.0, weights[order].cumsum()[ends])
    gathered = np.append(0.0, (weights * labels)[order].cumsum()[ends])
    share = np.arange(POINTS) / (POINTS - 1)
    captured = np.interp(share, rows / rows[-1], gathered / gathered[-1])
    return Gain(tuple(share.tolist()), tuple(captured.tolist()))
