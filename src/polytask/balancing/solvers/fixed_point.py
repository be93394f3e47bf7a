"""Weights at which every task gains what it is due: ``(M a)_t = a_t^(-p)``."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from polytask.balancing.solvers.scaled import Scaled
from polytask.errors import Problem, UserError

STATIONARY = 1e-9
"""Squared length of a convex combination of vectors of length 1 that counts as zero."""
ROUNDS = 200
ACCURACY = 1e-12


def fixed_point(problem: Scaled, power: float) -> Float64[np.ndarray, "n"]:
    """The ``a > 0`` with ``M a = a^(-p)``, by a damped Newton method on the convex problem that it is the minimum of.

    That is ``a' M a / 2 - sum_t a_t^(1 - p) / (1 - p)``, for ``p = 1`` with the logarithm. There is one solution,
    unless a convex combination of the gradients vanishes: no direction decreases all losses then, and the answer is 0.
    The same for tasks whose own gradient is zero.

    Args:
        problem: The Gramian M.
        power: p, above 0.

    Raises:
        UserError: If the method does not converge. No case is known.

    Example:
        >>> from polytask.balancing.solvers.scaled import scaled
        >>> fixed_point(scaled(np.array([[4.0, 0.0], [0.0, 1.0]])), 1.0).round(6).tolist()
        [0.5, 1.0]
    """
    weights, kept = np.zeros(len(problem.norms)), problem.moving
    if not kept.any():
        return weights
    inner = problem.only(kept)
    # with z = a norms: C z = k z^(-p), k = norms^(p - 1)
    logarithms, stationary = np.log(inner.norms / inner.norms.max()), max(STATIONARY, inner.noise)
    matrix = inner.cosines + max(1e-15, inner.noise) * np.eye(len(logarithms))
    z = np.ones(len(logarithms))
    # by way of powers nearer to 1, where lengths do not matter: each solution is a good start for the next
    stages = 1 + int(abs(power - 1.0) * -logarithms.min() / 3.0)
    for between in np.linspace(1.0, power, stages + 1)[1:]:
        last = between == power
        found = _newton(matrix, (between - 1.0) * logarithms, float(between), z, stationary, ACCURACY if last else 1e-2)
        if found is None:
            return weights
        z = found
    # what k lacks, as lengths were relative to the longest
    unit = (power - 1.0) / (power + 1.0) * np.log(inner.norms.max())
    weights[kept] = np.exp(np.log(z) - np.log(inner.norms) + unit)
    return weights


def _newton(
    matrix: Float64[np.ndarray, "n n"],
    logarithms: Float64[np.ndarray, "n"],
    power: float,
    z: Float64[np.ndarray, "n"],
    stationary: float,
    accuracy: float,
) -> Float64[np.ndarray, "n"] | None:
    """The ``z > 0`` with ``C z = k z^(-p)``, k given by its logarithms; None if some z show that there is none.

    Starts at the best multiple of the given z. Steps are relative to z.
    """
    due = np.exp(logarithms + (1.0 - power) * np.log(z))
    z = z * (due.sum() / max(z @ matrix @ z, 1e-3 * z @ z)) ** (1.0 / (1.0 + power))
    for _ in range(ROUNDS):
        due = np.exp(logarithms + (1.0 - power) * np.log(z))
        gains = z * (matrix @ z)
        if gains.sum() <= stationary * z.sum() ** 2:
            return None
        slopes = gains - due
        curvature = z[:, None] * matrix * z + np.diag(power * due)
        # divided by its diagonal: entries can differ by many powers of ten
        root = np.sqrt(np.diag(curvature))
        step = -np.linalg.solve(curvature / root[:, None] / root, slopes / root) / root
        if np.abs(step).max() <= accuracy or np.abs(slopes / root).max() <= 1e-16 * np.sqrt(due.max()):
            return z
        z = _damped(matrix, logarithms, power, z, step, float(slopes @ step))
        if np.abs(step).max() <= 1e-7:
            return z  # the step just made has squared this error
    what = f"no solution of M a = a^(-{power:g}) after {ROUNDS} steps"
    raise UserError(Problem("balancer", what, "report the Gramian to polytask, and choose another balancer meanwhile"))


def _damped(
    matrix: Float64[np.ndarray, "n n"],
    logarithms: Float64[np.ndarray, "n"],
    power: float,
    z: Float64[np.ndarray, "n"],
    step: Float64[np.ndarray, "n"],
    slope: float,
) -> Float64[np.ndarray, "n"]:
    """A part of the step: z stays positive and the value falls."""

    def value(at: Float64[np.ndarray, "n"]) -> float:
        gains = np.log(at) if power == 1.0 else at ** (1.0 - power) / (1.0 - power)
        return float(0.5 * at @ matrix @ at - (np.exp(logarithms) * gains).sum())

    share = min(1.0, 0.9 / max(float(-step.min()), 1e-300))
    before = value(z)
    # the value is a difference of larger numbers
    rounding = float(np.finfo(np.float64).eps) * float(np.abs(z) @ np.abs(matrix) @ np.abs(z))
    slack = 1e-12 * abs(before) + 4.0 * rounding
    for _ in range(60):
        after = z * (1.0 + share * step)
        if value(after) <= before + 0.1 * share * slope + slack:
            return after
        share *= 0.5
    return z * (1.0 + share * step)
