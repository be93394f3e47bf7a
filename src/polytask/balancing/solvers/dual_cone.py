"""Projections onto the cone of directions that increase no loss."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from polytask.balancing.solvers.nonnegative import nonnegative
from polytask.balancing.solvers.scaled import Scaled


def project(problem: Scaled, combination: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """``argmin_v v' M v`` over ``v >= u``.

    Then ``sum_t v_t g_t`` is the nearest to ``sum_t u_t g_t`` of all d with ``g_t' d >= 0`` for all t.

    Args:
        problem: The Gramian M.
        combination: u, from 0.

    Example:
        >>> from polytask.balancing.solvers.scaled import scaled
        >>> project(scaled(np.array([[1.0, -1.0], [-1.0, 2.0]])), np.array([1.0, 0.0])).round(6).tolist()
        [1.0, 0.5]
    """
    lengths = (problem.norms * combination)[:, None]
    raised = nonnegative(problem.cosines, problem.cosines @ lengths, problem.noise)[:, 0]
    return combination + _shortened(raised, problem)


def project_each(problem: Scaled, preferences: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """The sum of the projections of all ``p_t g_t``, as weights.

    Args:
        problem: The Gramian.
        preferences: p, from 0.

    Example:
        >>> from polytask.balancing.solvers.scaled import scaled
        >>> project_each(scaled(np.array([[1.0, -1.0], [-1.0, 2.0]])), np.ones(2)).round(6).tolist()
        [2.0, 1.5]
    """
    # the projection is linear along a ray: gradients of length 1 are projected, so that no length is too small
    raised = nonnegative(problem.cosines, problem.cosines * problem.moving, problem.noise)
    return preferences + _shortened(raised @ (problem.norms * preferences), problem)


def _shortened(lengths: Float64[np.ndarray, "n"], problem: Scaled) -> Float64[np.ndarray, "n"]:
    """Weights of gradients from weights of gradients of length 1."""
    return np.where(problem.moving, lengths / np.where(problem.moving, problem.norms, 1.0), 0.0)
