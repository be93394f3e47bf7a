"""Fits calibrations (isotonic, Platt, temperature), and measures them on rows that they have not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from polytask.decisions import Calibrated, Calibration, Isotonic, Platt, Temperature
from polytask.decisions.calibration import log_probabilities, logit
from polytask.metrics import ECE, ClassLogLoss, LogLoss

Method = Literal["isotonic", "platt", "temperature"]
FOLDS = 5
_ROUNDS = 100
Floats = Float[np.ndarray, "rows"]


def pool_adjacent_violators(means: Floats, weights: Floats) -> tuple[Floats, np.ndarray]:
    """Isotonic least squares: the non-decreasing values nearest to ``means``, in blocks.

    Every maximal run of blocks with falling means lies in one block of the solution, so that a round pools all runs at
    once; few rounds are needed.

    Args:
        means: Values in order.
        weights: Their weights, positive.

    Returns:
        The value of every block, and where each block starts.

    Example:
        >>> values, starts = pool_adjacent_violators(np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4))
        >>> values.tolist(), starts.tolist()
        ([1.0, 2.5, 4.0], [0, 1, 3])
    """
    starts, sums = np.arange(len(means)), means * weights
    while True:
        means = sums / weights
        first = np.append(True, means[1:] > means[:-1])  # ties are one block as well
        if first.all():
            return means, starts
        at = np.flatnonzero(first)
        sums, weights, starts = np.add.reduceat(sums, at), np.add.reduceat(weights, at), starts[at]


def fit_isotonic(p: Floats, y: Floats, weights: Floats) -> Isotonic:
    """Isotonic regression of labels on predictions; equal predictions are pooled first.

    Kept off 0 and 1 by half a row, so that no row is impossible: ``y`` in ``[0.5 / (n + 1), 1 - 0.5 / (n + 1)]``.

    Source: Zadrozny & Elkan 2002, Transforming classifier scores into accurate multiclass probability estimates.

    Example:
        >>> fit_isotonic(np.array([0.1, 0.4, 0.6]), np.array([0.0, 1.0, 0.0]), np.ones(3))
        Isotonic(x=(0.1, 0.4, 0.6), y=(0.125, 0.5, 0.5), method='isotonic')
    """
    x, place = np.unique(np.asarray(p, np.float64), return_inverse=True)
    total = np.bincount(place, weights)
    kept = total > 0
    x, total, positive = x[kept], total[kept], np.bincount(place, weights * y)[kept]
    values, starts = pool_adjacent_violators(positive / total, total)
    margin = 0.5 / (len(p) + 1)
    values = np.clip(values, margin, 1 - margin)
    ends = np.append(starts[1:], len(x)) - 1
    knots = np.unique(np.concatenate([starts, ends]))  # both ends of every block
    return Isotonic(tuple(x[knots].tolist()), tuple(values[np.searchsorted(starts, knots, "right") - 1].tolist()))


def fit_platt(p: Floats, y: Floats, weights: Floats) -> Platt:
    """Logistic regression of labels on the logit of predictions, by Newton's method with halved steps.

    Targets are ``(N+ + 1) / (N+ + 2)`` and ``1 / (N- + 2)`` instead of 1 and 0, N the sums of weights.

    Source: Platt 1999, Probabilistic outputs for support vector machines; the iteration follows Lin, Lin & Weng 2007.
    """
    z = logit(p)
    positive = y > 0.5
    yes, no = weights[positive].sum(), weights[~positive].sum()
    target = np.where(positive, (yes + 1) / (yes + 2), 1 / (no + 2))

    def loss(a: float, b: float) -> float:
        f = a * z + b
        return float(weights @ (np.logaddexp(0.0, f) - target * f))

    a, b, now = 1.0, 0.0, loss(1.0, 0.0)
    for _ in range(_ROUNDS):
        q = Platt(a, b)(p)
        rest, curve = weights * (q - target), weights * q * (1 - q)
        gradient = np.array([rest @ z, rest.sum()])
        cross = curve @ z
        hessian = np.array([[curve @ z**2, cross], [cross, curve.sum()]])
        step = np.linalg.solve(hessian + 1e-10 * np.eye(2) * max(1.0, float(hessian.max())), gradient)
        size = 1.0
        while (found := loss(a - size * step[0], b - size * step[1])) > now and size > 1e-8:
            size /= 2
        if found > now:
            break
        gained, now = now - found, found
        a, b = float(a - size * step[0]), float(b - size * step[1])
        if gained <= 1e-12 * abs(now):
            break
    return Platt(a, b)


def fit_temperature(p: Float[np.ndarray, "rows classes"], y: Floats, weights: Floats) -> Temperature:
    """The temperature of least log loss: the loss is convex in ``1 / T``, and golden section finds it in (1/50, 50).

    Source: Guo et al. 2017, On calibration of modern neural networks.
    """
    z, own = log_probabilities(p), y.astype(np.int64)[:, None]

    def loss(logarithm: float) -> float:
        scaled = z * np.exp(-logarithm)
        top = scaled.max(axis=1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float(weights @ (total - np.take_along_axis(scaled, own, axis=1)[:, 0]))

    low, high, share = -np.log(50.0), np.log(50.0), (np.sqrt(5.0) - 1) / 2
    inner, outer = high - share * (high - low), low + share * (high - low)
    at_inner, at_outer = loss(inner), loss(outer)
    while high - low > 1e-6:
        if at_inner <= at_outer:
            high, outer, at_outer = outer, inner, at_inner
            inner = high - share * (high - low)
            at_inner = loss(inner)
        else:
            low, inner, at_inner = inner, outer, at_outer
            outer = low + share * (high - low)
            at_outer = loss(outer)
    return Temperature(float(np.exp((low + high) / 2)))


FITS: dict[str, Callable[..., Calibration]] = {
    "isotonic": fit_isotonic, "platt": fit_platt, "temperature": fit_temperature,
}  # fmt: skip


def fit_calibration(
    method: Method, p: Float[np.ndarray, "rows *classes"], y: Floats, weights: Floats | None = None, *, seed: int = 0
) -> Calibrated:
    """Fits on all rows, and measures before and after, the latter cross-fitted.

    Args:
        method: Which map.
        p: Predictions.
        y: Labels.
        weights: Sample weights.
        seed: Of the division into folds.

    Raises:
        ValueError: There are fewer rows than folds.
    """
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if len(y) < FOLDS:
        raise ValueError(f"{len(y)} labelled rows are too few to calibrate on")
    fit = FITS[method]
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    held_out = np.empty(p.shape)
    for number in range(FOLDS):
        out = fold == number
        held_out[out] = fit(p[~out], y[~out], weights[~out])(p[out])
    return Calibrated(fit(p, y, weights), len(y), quality(p, y, weights), quality(held_out, y, weights))


def quality(p: Float[np.ndarray, "rows *classes"], y: Floats, weights: Floats) -> dict[str, float]:
    """Log loss and expected calibration error; with classes the latter is that of the most probable one."""
    predicted, labels = torch.from_numpy(np.ascontiguousarray(p)).float(), torch.from_numpy(np.asarray(y)).float()
    loss, ece, importance = LogLoss() if p.ndim == 1 else ClassLogLoss(), ECE(), torch.from_numpy(weights)
    loss.update(predicted, labels, importance)
    if p.ndim > 1:
        predicted, best = predicted.max(1)
        labels = (best == labels).float()
    ece.update(predicted, labels, importance)
    return {"log_loss": loss.compute(), "ece": ece.compute()}
