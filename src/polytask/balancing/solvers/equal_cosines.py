"""The direction that makes the same angle with all gradients."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from polytask.balancing.solvers.scaled import Scaled

OUTSIDE = 1e-6
"""Mean square of what is missing, from which on there is no such direction."""


def equal_cosines(problem: Scaled) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """``z = C^+ 1``: all gradients of length 1 have the inner product 1 with ``sum_t z_t u_t``, or nearly so.

    Args:
        problem: The Gramian; gradients of zero get 0.

    Returns:
        z, the shortest of all that come nearest; and ``1 - C z``, where that is not rounding: weights of a combination
        that vanishes, so that no direction has equal angles with all. Eigenvalues below the noise count as 0.

    Example:
        >>> from polytask.balancing.solvers.scaled import scaled
        >>> z, missing = equal_cosines(scaled(np.array([[4.0, 0.0], [0.0, 1.0]])))
        >>> z.tolist(), missing.tolist()
        ([1.0, 1.0], [0.0, 0.0])
    """
    z, missing, kept = np.zeros(len(problem.norms)), np.zeros(len(problem.norms)), problem.moving
    if not kept.any():
        return z, missing
    values, vectors = np.linalg.eigh(problem.cosines[np.ix_(kept, kept)])
    regular = values > max(problem.noise, len(values) * float(np.finfo(np.float64).eps)) * values[-1]
    ones = vectors.sum(axis=0)
    z[kept] = vectors[:, regular] @ (ones[regular] / values[regular])
    rest = vectors[:, ~regular] @ ones[~regular]
    if rest @ rest > OUTSIDE * len(rest):
        missing[kept] = rest
    return z, missing
