"""The point of smallest norm in the convex hull of vectors that are known by their inner products."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from polytask.balancing.solvers.nonnegative import nonnegative
from polytask.balancing.solvers.scaled import Scaled, scaled


def min_norm_weights(gramian: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n"]:
    """``argmin_w w' G w`` over ``w >= 0``, ``sum w = 1``; equal weights for vectors of zero, if there are any.

    Args:
        gramian: Symmetric, positive semi-definite up to rounding, finite.

    Example:
        >>> min_norm_weights(np.array([[1.0, 0.0], [0.0, 4.0]])).round(6).tolist()
        [0.8, 0.2]
    """
    return smallest_combination(scaled(gramian))


def smallest_combination(problem: Scaled) -> Float64[np.ndarray, "n"]:
    """The same of a Gramian that was taken apart.

    ``w / (w' G w)`` is the ``z >= 0`` with ``G z >= 1``, equal where ``z > 0``: the solution of
    ``min z' G z / 2 - sum z``.
    """
    if not problem.moving.all():
        still = ~problem.moving
        return still / still.sum()
    inverse = problem.norms.min() / problem.norms
    z = nonnegative(problem.cosines, -inverse[:, None], problem.noise)[:, 0] * inverse
    return z / z.sum()
