"""Quadratic programs over numbers from 0, many right-hand sides at once: the core of the other solvers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

RIDGE = 1e-10
"""Added to the diagonal, where it is 1: what is singular becomes regular, and errors stay below what counts."""
TOLERANCE = 1e-10
"""Numbers above minus this, relative to the largest of their column, count as not negative."""
LARGER = (1e-3, 1e-6)
"""Ridges on the way to the solution of a singular problem: each starts where the one before ended."""
ROUNDS = 10
"""Of block pivoting; regular problems need five or so."""
CHUNK = 2**22
"""Numbers in the matrices of one stacked solution: 32 MiB."""


def nonnegative(
    matrix: Float64[np.ndarray, "n n"],
    linear: Float64[np.ndarray, "n columns"],
    noise: float = 0.0,
    guess: Bool[np.ndarray, "n columns"] | None = None,
) -> Float64[np.ndarray, "n columns"]:
    """Per column ``argmin_x x' C x / 2 + q' x`` over ``x >= 0``: ``y = C x + q >= 0``, and ``y = 0`` where ``x > 0``.

    Block pivoting: guess where x is positive, solve the linear system there, exchange all entries of the wrong sign.
    All columns go at once, a few stacked solutions in all. Columns that do not settle (C singular) are solved with a
    larger ridge first; what is left after that is finished by the active-set method of Lawson and Hanson, which takes
    one entry at a time and always ends.

    Method: Kim and Park, "Fast nonnegative matrix factorization: an active-set-like method", SIAM J. Sci. Comput. 33,
    2011, https://doi.org/10.1137/110821172

    Args:
        matrix: C: symmetric with ones on the diagonal, positive semi-definite up to ``noise``.
        linear: q per column.
        noise: Bound of what may be wrong with C.
        guess: Where x may be positive, to start from.

    Example:
        >>> nonnegative(np.eye(2), np.array([[-3.0], [1.0]])).round(6).tolist()
        [[3.0], [0.0]]
    """
    ridge = max(RIDGE, noise)
    size = np.abs(linear).max(axis=0, initial=0.0)
    scale = np.where(size > 0.0, size, 1.0)
    right = linear / scale
    found, left = _by_blocks(_ridged(matrix, ridge), right, right < 0.0 if guess is None else guess)
    if len(left):
        found[:, left] = _by_ridges(matrix, right[:, left], ridge)
    return found * scale


def _ridged(matrix: Float64[np.ndarray, "n n"], ridge: float) -> Float64[np.ndarray, "n n"]:
    return matrix + ridge * np.eye(len(matrix))


def _by_ridges(
    matrix: Float64[np.ndarray, "n n"], linear: Float64[np.ndarray, "n columns"], ridge: float
) -> Float64[np.ndarray, "n columns"]:
    """Solutions where blocks alone do not settle."""
    x, guess, left = linear, linear < 0.0, np.arange(0)
    for larger in (*LARGER, ridge):
        x, left = _by_blocks(_ridged(matrix, max(larger, ridge)), linear, guess)
        guess = x > 0.0
    for column in left:
        x[:, column] = _one_by_one(_ridged(matrix, ridge), linear[:, column], x[:, column])
    return x


def _by_blocks(
    matrix: Float64[np.ndarray, "n n"], linear: Float64[np.ndarray, "n columns"], guess: Bool[np.ndarray, "n columns"]
) -> tuple[Float64[np.ndarray, "n columns"], np.ndarray]:
    """The solutions, and which columns have none yet."""
    inside = guess.copy()
    found = np.zeros_like(linear)
    todo = np.arange(linear.shape[1])
    fewest, patience = np.full(len(todo), len(matrix) + 1), np.full(len(todo), 3)
    for _ in range(ROUNDS):
        x = _solve(matrix, linear[:, todo], inside[:, todo])
        y = matrix @ x + linear[:, todo]
        size = np.abs(x).max(axis=0, initial=0.0)
        wrong = np.where(inside[:, todo], x < -TOLERANCE * size, y < -TOLERANCE * np.maximum(size, 1.0))
        count = wrong.sum(axis=0)
        found[:, todo] = np.maximum(x, 0.0)
        patience[todo] = np.where(count < fewest[todo], 3, patience[todo] - 1)
        fewest[todo] = np.minimum(count, fewest[todo])
        inside[:, todo] ^= np.where(patience[todo] >= 0, wrong, _last(wrong))
        todo = todo[count > 0]
        if len(todo) == 0:
            break
    return found, todo


def _last(wrong: Bool[np.ndarray, "n columns"]) -> Bool[np.ndarray, "n columns"]:
    """The last wrong entry of each column alone: exchanging one at a time cannot go in circles."""
    return wrong & (np.cumsum(wrong[::-1], axis=0)[::-1] == 1)


def _solve(
    matrix: Float64[np.ndarray, "n n"], linear: Float64[np.ndarray, "n columns"], inside: Bool[np.ndarray, "n columns"]
) -> Float64[np.ndarray, "n columns"]:
    """Per column the x with ``C x + q = 0`` where it is ``inside``, and 0 elsewhere."""
    found = np.zeros_like(linear)
    sizes = inside.sum(axis=0)
    columns = np.flatnonzero(sizes)
    # sorted, so that the padding to the longest of a chunk stays short
    columns = columns[np.argsort(sizes[columns], kind="stable")]
    start = 0
    while start < len(columns):
        stop = start + max(1, CHUNK // int(sizes[columns[start:]].max()) ** 2)
        taken = columns[start:stop]
        rows = np.argsort(~inside[:, taken], axis=0, kind="stable")[: sizes[taken].max()].T
        real = np.take_along_axis(inside[:, taken].T, rows, axis=1)
        both = real[:, :, None] & real[:, None, :]
        systems = np.where(both, matrix[rows[:, :, None], rows[:, None, :]], np.eye(rows.shape[1]))
        right = np.where(real, -np.take_along_axis(linear[:, taken].T, rows, axis=1), 0.0)
        solved = np.linalg.solve(systems, right[:, :, None])[:, :, 0]
        found[rows, taken[:, None]] = np.where(real, solved, 0.0)
        start = stop
    return found


def _one_by_one(
    matrix: Float64[np.ndarray, "n n"], linear: Float64[np.ndarray, "n"], start: Float64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """Lawson and Hanson: entries enter by steepest slope, one at a time, and leave when they would turn negative."""
    x, inside = _inward(matrix, linear, start, start > 0.0)
    for _ in range(5 * len(matrix) + 10):
        slopes = np.where(inside, np.inf, matrix @ x + linear)
        entering = int(np.argmin(slopes))
        if slopes[entering] >= -TOLERANCE * max(1.0, float(x.max())):
            break
        inside[entering] = True
        x, inside = _inward(matrix, linear, x, inside)
        if not inside[entering]:
            break  # by rounding: no entry can improve any more
    return x


def _inward(
    matrix: Float64[np.ndarray, "n n"],
    linear: Float64[np.ndarray, "n"],
    x: Float64[np.ndarray, "n"],
    inside: Bool[np.ndarray, "n"],
) -> tuple[Float64[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Moves to the solution on ``inside``, or to the border on the way there and again with fewer entries."""
    while inside.any():
        target = np.zeros_like(x)
        target[inside] = np.linalg.solve(matrix[np.ix_(inside, inside)], -linear[inside])
        leaving = inside & (target <= 0.0)
        if not leaving.any():
            return target, inside
        shares = np.where(leaving, x, np.inf) / np.where(leaving, x - target, 1.0)
        shares = np.where(leaving & (x <= 0.0), 0.0, shares)
        first = int(np.argmin(shares))
        x = np.maximum(x + min(1.0, float(shares[first])) * (target - x), 0.0)
        x[first] = 0.0
        inside = inside & (x > 0.0)
    return x, inside
