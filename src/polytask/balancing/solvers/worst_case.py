"""The direction near the mean gradient that is best for the task that it serves least."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

from polytask.balancing.solvers.nonnegative import RIDGE, nonnegative
from polytask.balancing.solvers.scaled import Scaled

STATIONARY = 1e-10
"""Squared length of a convex combination of vectors of length 1 that counts as zero."""
ROUNDS = 60


def worst_case_weights(problem: Scaled, radius: float) -> Float64[np.ndarray, "n"]:
    """Weights of the d with ``max_d min_t g_t' d`` over ``norm(d - g_0) <= c norm(g_0)``, ``g_0 = sum_t g_t / T``.

    The dual is ``min_w g_w' g_0 + c norm(g_0) norm(g_w)`` over the simplex, and d is ``g_0 + c norm(g_0) g_w /
    norm(g_w)``. With v for the weights of the second part and nu for the value of both problems, the conditions are
    ``M (1 / T + v) >= nu``, ``v >= 0``, equality where ``v > 0``, and ``norm(sum v_t g_t) = c norm(g_0)``: a quadratic
    program for every nu, whose solution grows with nu. Where the same entries stay positive it is linear in nu, so
    that the nu of the right length is the root of a quadratic equation: a few rounds, exact.

    Gradients of zero take part in ``g_0`` alone. Where a convex combination of the others vanishes and the best value
    is 0, many d reach it; the nearest to ``g_0`` is taken, its projection onto the dual cone.

    Args:
        problem: The Gramian M.
        radius: c, from 0.

    Example:
        >>> from polytask.balancing.solvers.scaled import scaled
        >>> worst_case_weights(scaled(np.array([[1.0, 0.0], [0.0, 1.0]])), 0.5).round(6).tolist()
        [0.75, 0.75]
    """
    count, kept = len(problem.norms), problem.moving
    weights = np.full(count, 1.0 / count)
    if not kept.any():
        return weights
    inner = problem.only(kept)
    largest = inner.norms.max()
    path = _Path(Scaled(inner.norms / largest, inner.cosines, inner.noise), count)
    weights[kept] += path.at_length(radius) / inner.norms * largest
    return weights


class _Path:
    """The solutions x = v norms for all nu, of gradients none of which is zero."""

    def __init__(self, problem: Scaled, count: int) -> None:
        self.cosines, self.noise = problem.cosines, problem.noise
        self.mean = problem.cosines @ problem.norms / count
        self.inverse = 1.0 / problem.norms
        self.count = count
        self.rounding = float(problem.norms.sum() / count)
        self.length = float(np.sqrt(max(problem.norms @ self.mean / count, 0.0)))

    def at(self, value: float, guess: Bool[np.ndarray, "n"] | None = None) -> Float64[np.ndarray, "n"]:
        """The solution for one nu."""
        linear, start = (self.mean - value * self.inverse)[:, None], None if guess is None else guess[:, None]
        return nonnegative(self.cosines, linear, self.noise, start)[:, 0]

    def size(self, x: Float64[np.ndarray, "n"]) -> float:
        """``norm(sum v_t g_t)``."""
        return float(np.sqrt(max(x @ self.cosines @ x, 0.0)))

    def at_length(self, radius: float) -> Float64[np.ndarray, "n"]:
        """The solution of the length ``c norm(g_0)``."""
        asked, nearest = radius * self.length, self.at(0.0)
        if asked <= np.sqrt(self.noise) * self.rounding:
            return np.zeros_like(nearest)  # the mean is zero up to rounding, and so is the ball around it
        low, high = float((self.mean / self.inverse).min()), self._bound(radius)
        low, high, value = (low, 0.0, low) if self.size(nearest) > asked else (0.0, high, high)
        found = nearest
        for _ in range(ROUNDS):
            value = self._root(found > 0.0, asked, low, high)
            found = self.at(value, found > 0.0 if found.any() else None)
            size = self.size(found)
            if value > 0.0 and found.any() and size**2 <= max(STATIONARY, self.noise) * found.sum() ** 2:
                return nearest
            low, high = (value, high) if size < asked else (low, value)
            if abs(size - asked) <= 1e-9 * asked or high - low <= 1e-15 * max(abs(low), abs(high)):
                break
        return found * (asked / self.size(found))

    def _bound(self, radius: float) -> float:
        """A number above the value of the problem: a bit more than that of the dual at even weights."""
        return 1.01 * (1.0 + radius) * self.length**2 * self.count / len(self.mean)

    def _root(self, inside: Bool[np.ndarray, "n"], asked: float, low: float, high: float) -> float:
        """The nu of the length asked for if the entries ``inside`` alone are positive, or the middle of the bracket."""
        middle = 0.5 * (low + high)
        if not inside.any():
            return middle
        inverse, mean = self.inverse[inside], self.mean[inside]
        matrix = self.cosines[np.ix_(inside, inside)] + max(RIDGE, self.noise) * np.eye(len(mean))
        slope, start = np.linalg.solve(matrix, np.stack([inverse, mean], axis=1)).T
        square, half, rest = slope @ inverse, start @ inverse, start @ mean - asked**2
        below = half**2 - square * rest
        root = (half + np.sqrt(below)) / square if below >= 0.0 and square > 0.0 else middle
        return float(root) if low < root < high else middle
