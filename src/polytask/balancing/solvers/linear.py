"""Linear programs over the simplex, for as many unknowns as there are tasks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from polytask.errors import Problem, UserError

ACCURACY = 1e-11
"""Relative to the largest number of a row, what counts as 0 in the linear program."""
FEW = 10
"""Steps per unknown after which the rules of Bland take over."""
FRESH = 100
"""Steps after which the table is made anew from the program."""
PIVOTS = 200
"""Per unknown, after which the linear program is given up. No case is known that needs ten."""


def best_on_simplex(
    value: Float64[np.ndarray, "n"], matrix: Float64[np.ndarray, "m n"], least: Float64[np.ndarray, "m"]
) -> Float64[np.ndarray, "n"]:
    """``argmax_w value' w`` over the simplex with ``matrix w >= least``, by the simplex method.

    By steepest value first, and where that does not end by the rules of Bland, which always end. No first phase is
    needed: with ``sum w <= 1`` in the place of ``= 1`` zero is feasible, and a constant that is added to ``value``
    makes the sum 1 again, as some w of the simplex has ``matrix w >= 0``.

    Args:
        value: What to maximise.
        matrix: Some w of the simplex has ``matrix w >= 0``; rows are best of a size near 1.
        least: Up to 0.

    Raises:
        UserError: If the method does not end, as may be for some hundred tasks whose gradients differ in length by
            several powers of ten.

    Example:
        >>> best_on_simplex(np.array([1.0, 0.0]), np.array([[-1.0, 1.0]]), np.array([0.0])).tolist()
        [0.5, 0.5]
    """
    rows, count = matrix.shape
    size = float(np.abs(value).max(initial=0.0)) or 1.0
    # columns: w, slacks, right-hand side; last row: what an unknown adds to the value
    program = np.zeros((rows + 2, count + rows + 2))
    program[:rows, :count], program[rows, :count], program[-1, :count] = -matrix, 1.0, value / size + 2.0
    program[: rows + 1, count:-1] = np.eye(rows + 1)
    program[:rows, -1], program[rows, -1] = -least, 1.0
    solution = _steepest(program)
    if solution is None:
        solution = _by_bland(program)
    if solution is None:
        what = f"no solution of its linear program after {PIVOTS} steps per unknown"
        raise UserError(Problem("balancer 'epo'", what, "report the Gramian to polytask, and choose another balancer"))
    weights = np.maximum(solution[:count], 0.0)
    return weights / weights.sum()


def _steepest(program: Float64[np.ndarray, "m n"]) -> Float64[np.ndarray, "unknowns"] | None:
    """The unknown of the steepest value enters: few steps, but on degenerate programs it may not end."""
    table, basis, since = program.copy(), _slacks(program), 0
    for _ in range(FEW * len(basis)):
        done = bool((table[-1, :-1] <= ACCURACY).all())
        if since and (done or since == FRESH):
            try:
                table, since = _rebuilt(program, basis), 0  # errors of many steps add up
            except np.linalg.LinAlgError:
                return None
        elif done:
            return _values(table, basis)
        else:
            column = int(table[-1, :-1].argmax())
            ratios = _ratios(table, column)
            tied = np.flatnonzero(ratios <= ratios.min() + ACCURACY)
            _pivot(table, basis, int(tied[table[tied, column].argmax()]), column)
            since += 1
    return None


def _by_bland(program: Float64[np.ndarray, "m n"]) -> Float64[np.ndarray, "unknowns"] | None:
    """The first unknown that is worth it enters: many steps, but it always ends."""
    table, basis = program.copy(), _slacks(program)
    for _ in range(PIVOTS * len(basis)):
        entering = np.flatnonzero(table[-1, :-1] > ACCURACY)
        if len(entering) == 0:
            return _values(table, basis)
        ratios = _ratios(table, entering[0])
        tied = np.flatnonzero(ratios <= ratios.min() + ACCURACY)
        _pivot(table, basis, int(tied[basis[tied].argmin()]), entering[0])
    return None


def _slacks(program: Float64[np.ndarray, "m n"]) -> Int64[np.ndarray, "rows"]:
    """The unknowns to begin with."""
    rows, columns = program.shape
    return np.arange(columns - rows, columns - 1)


def _values(table: Float64[np.ndarray, "m n"], basis: Int64[np.ndarray, "rows"]) -> Float64[np.ndarray, "unknowns"]:
    found = np.zeros(table.shape[1] - 1)
    found[basis] = table[:-1, -1]
    return found


def _ratios(table: Float64[np.ndarray, "m n"], column: int) -> Float64[np.ndarray, "rows"]:
    """How far the unknown of a column may rise until that of each row is 0."""
    upper = table[:-1, column] > ACCURACY
    return np.where(upper, table[:-1, -1], np.inf) / np.where(upper, table[:-1, column], 1.0)


def _pivot(table: Float64[np.ndarray, "m n"], basis: Int64[np.ndarray, "rows"], row: int, column: int) -> None:
    """The unknown of the column takes the place of that of the row."""
    table[row] /= table[row, column]
    factors = table[:, column].copy()
    factors[row] = 0.0
    table -= np.outer(factors, table[row])
    table[:-1, -1] = np.maximum(table[:-1, -1], 0.0)
    basis[row] = column


def _rebuilt(program: Float64[np.ndarray, "m n"], basis: Int64[np.ndarray, "rows"]) -> Float64[np.ndarray, "m n"]:
    """The table that belongs to a basis, from the program itself."""
    upper = np.linalg.solve(program[:-1, basis], program[:-1])
    upper[:, -1] = np.maximum(upper[:, -1], 0.0)
    return np.vstack([upper, program[-1] - program[-1, basis] @ upper])
