"""Accelerated proximal gradient: one solver for all penalties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Parts = Float64[np.ndarray, "parts tasks columns"]

PATIENCE = 5
"""So many steps in a row must gain less than the tolerance: momentum may pause."""

GROWTH = 2.0
"""The curvature estimate is multiplied by this until a step holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What `minimize` found.

    Attributes:
        parts: The minimiser.
        objective: The objective at the start and after every accepted step; never grows.
        converged: Whether it stopped by itself.
    """

    parts: Parts
    objective: list[float]
    converged: bool


def minimize(
    smooth: Callable[[Parts], tuple[float, Parts]],
    value: Callable[[Parts], float],
    proximal: Callable[[Parts, float], Parts],
    start: Parts,
    *,
    curvature: float,
    tol: float,
    max_iter: int,
) -> Solution:
    """Minimises ``smooth(z) + value(z)`` over stacked matrices, where ``value`` has a proximal step.

    FISTA with a step found by doubling (Beck & Teboulle 2009, https://doi.org/10.1137/080716542). A step that would
    raise the objective is dropped and the momentum restarts (O'Donoghue & Candès 2012,
    https://arxiv.org/abs/1204.3982), so the objective falls at every accepted step. The test of a step compares
    gradients, not values, because differences of values drown in rounding near the end (Becker, Candès & Grant 2011,
    https://arxiv.org/abs/1009.2065).

    Args:
        smooth: Value and gradient of the smooth part.
        value: The rest of the objective, for points that `proximal` returns.
        proximal: ``(z, step) -> argmin_u 1/2 ||u - z||^2 + step * value(u)``; with step 0 a projection.
        start: Where to start.
        curvature: First guess of the largest eigenvalue of the smooth part's Hessian.
        tol: Stop when the objective gains less than this times its value in each of `PATIENCE` steps.
        max_iter: At most so many steps, restarts included.

    Example:
        >>> target = np.array([[[3.0, -0.2]]])
        >>> from polytask.linear.operators import soft_threshold
        >>> found = minimize(
        ...     lambda z: (float(((z - target) ** 2).sum() / 2), z - target),
        ...     lambda z: float(np.abs(z).sum()),
        ...     soft_threshold,
        ...     np.zeros_like(target),
        ...     curvature=1.0,
        ...     tol=1e-10,
        ...     max_iter=50,
        ... )
        >>> found.parts.tolist(), found.converged
        ([[[2.0, -0.0]]], True)
    """
    x = proximal(start, 0.0)
    smooth_x, slope_x = smooth(x)
    best = smooth_x + value(x)
    objective, quiet, momentum = [best], 0, 1.0
    y, slope_y, estimate = x, slope_x, max(curvature, np.finfo(float).tiny)
    for _ in range(max_iter):
        z, smooth_z, slope_z, estimate = _step(smooth, proximal, y, slope_y, estimate)
        reached = smooth_z + value(z)
        if reached > best:
            if momentum == 1.0:  # not even a plain step gains: nothing but rounding is left
                return Solution(x, objective, True)
            y, slope_y, momentum = x, slope_x, 1.0
            continue
        quiet = quiet + 1 if best - reached <= tol * abs(best) else 0
        following = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        y = z + (momentum - 1.0) / following * (z - x)
        x, slope_x, best, momentum = z, slope_z, reached, following
        objective.append(best)
        if quiet >= PATIENCE:
            return Solution(x, objective, True)
        slope_y = smooth(y)[1]
    return Solution(x, objective, False)


def _step(
    smooth: Callable[[Parts], tuple[float, Parts]],
    proximal: Callable[[Parts, float], Parts],
    y: Parts,
    slope: Parts,
    estimate: float,
) -> tuple[Parts, float, Parts, float]:
    """One proximal step from ``y`` with a curvature that holds along it: point, smooth value, gradient, curvature."""
    while True:
        z = proximal(y - slope / estimate, 1.0 / estimate)
        smooth_z, slope_z = smooth(z)
        move = z - y
        size = float(np.vdot(move, move))
        # below a relative move of 1e-12 the difference of the gradients is rounding, and could double for ever
        if not np.vdot(slope_z - slope, move) > estimate * size or size <= 1e-24 * float(np.vdot(z, z)):
            return z, smooth_z, slope_z, estimate
        estimate *= GROWTH
