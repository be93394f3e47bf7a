"""The preferences of a front: a grid where there are few tasks, evenly spread points where there are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from polytask.errors import Problem, UserError
from polytask.fronts import preferences
from polytask.tradeoffs.table import ParetoConfig

Preference = tuple[float, ...]
"""One number from 0 per traded task; they add up to 1."""
DIGITS = 6


def spread(tasks: int, points: int, least: float | None = None) -> tuple[Preference, ...]:
    """Preferences between all tasks, each at least ``least``.

    The lattice of [`preferences`][polytask.fronts.preferences.preferences] where one has so many points, as one always
    has for two tasks. Elsewhere the ends, one for each task, and points of a Sobol sequence between them: the gaps of
    sorted uniform numbers are uniform on the simplex.

    Args:
        tasks: How many.
        points: How many.
        least: None: a tenth of an even preference.

    Raises:
        UserError: If ``least`` leaves no room, or there are fewer points than ends.

    Example:
        >>> spread(2, 3), len(spread(4, 30))
        (((0.05, 0.95), (0.5, 0.5), (0.95, 0.05)), 30)
    """
    lowest = 0.1 / tasks if least is None else least
    problems = []
    if lowest * tasks >= 1.0:
        what = f"{lowest:g} for each of {tasks} tasks leaves no room"
        problems.append(Problem("pareto.least", what, f"give a number below {1 / tasks:.3g}"))
    if points < tasks:
        what = f"{points} for {tasks} tasks, which have as many ends"
        problems.append(Problem("pareto.points", what, f"give {tasks} or more"))
    if problems:
        raise UserError(problems)
    try:
        rows = preferences(tasks, points, least=lowest)
    except UserError:  # no lattice of so many points
        sobol: Any = torch.quasirandom.SobolEngine(tasks - 1, scramble=True, seed=0)  # type: ignore[no-untyped-call]
        uniform = sobol.draw(points - tasks).double()
        edges = torch.nn.functional.pad(uniform.sort(1).values, (1, 0))
        inner = torch.nn.functional.pad(edges, (0, 1), value=1.0).diff(dim=1)
        rows = lowest + (1.0 - tasks * lowest) * torch.cat([torch.eye(tasks, dtype=torch.float64), inner])
    return tuple(rounded(row) for row in rows.tolist())


def chosen_preferences(options: ParetoConfig, tasks: Sequence[str]) -> tuple[Preference, ...]:
    """The preferences that a table asks for.

    Raises:
        UserError: If one is none, or two are the same.
    """
    if not options.preferences:
        return spread(len(tasks), options.points, options.least)
    problems = []
    for number, row in enumerate(options.preferences):
        if len(row) != len(tasks) or not sum(row) > 0 or not all(math.isfinite(one) for one in row):
            what = f"{list(row)} given for {', '.join(tasks)}"
            remedy = "give one number from 0 for each traded task, not all 0"
            problems.append(Problem(f"pareto.preferences[{number}]", what, remedy))
    if problems:
        raise UserError(problems)
    rows = [rounded([one / sum(row) for one in row]) for row in options.preferences]
    twice = [f"{list(row)}" for number, row in enumerate(rows) if shown(row) in map(shown, rows[:number])]
    if twice:
        raise UserError(Problem("pareto.preferences", f"{', '.join(twice)} is given twice", "give each once"))
    return tuple(rows)


def rounded(row: Sequence[float]) -> Preference:
    """Numbers that a file can say."""
    return tuple(round(float(one), DIGITS) for one in row)


def shown(preference: Preference, between: str = " : ") -> str:
    """A preference in few digits.

    Example:
        >>> shown((0.25, 0.75)), shown((0.1234567, 0.8765433), "-")
        ('0.25 : 0.75', '0.1235-0.8765')
    """
    return between.join(f"{one:.4g}" for one in preference)
