"""Proximal operators and projections: ``argmin_u 1/2 ||u - v||^2 + amount * norm(u)``, each in closed form."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def soft_threshold(v: Float64[np.ndarray, "*any"], amount: float) -> Float64[np.ndarray, "*any"]:
    """Of the sum of absolute values: towards 0 by ``amount``.

    Example:
        >>> soft_threshold(np.array([3.0, -0.5]), 1.0).tolist()
        [2.0, -0.0]
    """
    return np.sign(v) * np.maximum(np.abs(v) - amount, 0.0)


def shrink_groups(v: Float64[np.ndarray, "a b"], amount: float, axis: int) -> Float64[np.ndarray, "a b"]:
    """Of the sum of the 2-norms along ``axis``: ``max(0, 1 - amount / ||v_g||) v_g``.

    Example:
        >>> shrink_groups(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0, axis=1).round(6).tolist()
        [[2.4, 3.2], [0.0, 0.0]]
    """
    norms = np.linalg.norm(v, axis=axis, keepdims=True)
    return v * (np.maximum(norms - amount, 0.0) / np.maximum(norms, np.finfo(float).tiny))


def shrink_singular_values(v: Float64[np.ndarray, "a b"], amount: float) -> Float64[np.ndarray, "a b"]:
    """Of the trace norm: singular values towards 0 by ``amount``.

    Example:
        >>> shrink_singular_values(np.diag([3.0, 0.5]), 1.0).tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    left, values, right = np.linalg.svd(v, full_matrices=False)
    return (left * np.maximum(values - amount, 0.0)) @ right


def project_l1_ball(v: Float64[np.ndarray, "*any n"], radius: float) -> Float64[np.ndarray, "*any n"]:
    """Nearest points with ``sum |u| <= radius`` along the last axis (Duchi et al. 2008, by sorting).

    Example:
        >>> project_l1_ball(np.array([[3.0, 1.0], [0.2, 0.1]]), 2.0).tolist()
        [[2.0, 0.0], [0.2, 0.1]]
    """
    size = np.abs(v)
    falling = -np.sort(-size, axis=-1)
    excess = np.cumsum(falling, axis=-1) - radius
    counts = np.arange(1, v.shape[-1] + 1)
    kept = np.maximum((falling * counts > excess).sum(-1, keepdims=True), 1)
    amount = np.maximum(np.take_along_axis(excess, kept - 1, -1) / kept, 0.0)
    return np.sign(v) * np.maximum(size - amount, 0.0)


def shrink_peaks(v: Float64[np.ndarray, "*any n"], amount: float) -> Float64[np.ndarray, "*any n"]:
    """Of the sum of the largest absolute values along the last axis: ``v`` minus its projection on the L1 ball.

    Example:
        >>> shrink_peaks(np.array([[3.0, 2.5, 1.0]]), 1.0).tolist()
        [[2.25, 2.25, 1.0]]
    """
    return v - project_l1_ball(v, amount)


def project_trace_ball(v: Float64[np.ndarray, "a b"], radius: float) -> Float64[np.ndarray, "a b"]:
    """Nearest matrix whose singular values sum to at most ``radius``.

    Example:
        >>> project_trace_ball(np.diag([3.0, 1.0]), 2.0).tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """
    left, values, right = np.linalg.svd(v, full_matrices=False)
    return (left * project_l1_ball(values, radius)) @ right


def fill_levels(values: Float64[np.ndarray, "n"], floor: float, total: float) -> Float64[np.ndarray, "n"]:
    """The ``m`` in ``[0, 1]`` with ``sum m <= total`` that minimises ``sum values^2 / (floor + m)``.

    By its optimality conditions ``m = clip(s values - floor, 0, 1)``, with ``s`` such that the total is met. It grows
    piecewise linearly in ``s``, so ``s`` is read off between two of its kinks.

    Example:
        >>> fill_levels(np.array([2.0, 2.0, 0.0]), 0.1, 1.0).tolist()
        [0.5, 0.5, 0.0]
    """
    positive = values > 0
    if total >= positive.sum():
        return positive.astype(np.float64)
    own = values[positive]
    kinks = np.sort(np.concatenate([floor / own, (1.0 + floor) / own]))
    totals = np.clip(kinks[:, None] * own - floor, 0.0, 1.0).sum(1)
    return np.clip(np.interp(total, totals, kinks) * values - floor, 0.0, 1.0)
