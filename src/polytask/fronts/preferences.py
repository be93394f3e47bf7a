"""Preferences: points of the simplex, spread evenly or drawn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.errors import Problem, UserError, suggest
from polytask.options import in_range

Draw = Literal["lattice", "dirichlet"]


def preferences(
    tasks: int,
    count: int,
    *,
    draw: Draw = "lattice",
    concentration: float = 1.0,
    least: float = 0.0,
    seed: int = 0,
) -> Float[Tensor, "count tasks"]:
    """Preferences for the tasks: rows from 0 that add up to 1.

    - ``draw="lattice"``: all p with ``H p_t`` a whole number, ``C(H + T - 1, T - 1)`` of them: the corners, and points
      at equal distances between. For two tasks there is one of every ``count``; for more, of some.
    - ``draw="dirichlet"``: from ``Dirichlet(concentration, ...)``; 1 is uniform, less favours the corners.

    Source of the lattice: Das and Dennis, "Normal-Boundary Intersection", SIAM J. Optim. 8, 1998.

    Args:
        tasks: T.
        count: How many.
        draw: See above.
        concentration: Above 0, of ``dirichlet``.
        least: Every ``p_t`` is at least this: p becomes ``least + (1 - T least) p``. Methods that divide by a
            preference need it above 0.
        seed: Of ``dirichlet``.

    Returns:
        In double precision; a lattice in order, from the last task to the first.

    Raises:
        UserError: If a number is out of range, or no lattice has so many points.

    Example:
        >>> preferences(2, 3).tolist()
        [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
        >>> preferences(3, 3, least=0.1).round(decimals=6).tolist()
        [[0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]
    """
    problems = in_range(tasks, where="tasks", least=1) + in_range(count, where="count", least=1)
    problems += in_range(concentration, where="concentration", above=0)
    problems += [] if problems else in_range(least, where="least", least=0, below=1 / tasks)
    if draw not in get_args(Draw):
        problems.append(Problem("draw", f"'{draw}' is unknown", suggest(draw, get_args(Draw))))
    if problems:
        raise UserError(problems)
    if draw == "lattice":
        points = _lattice(tasks, count)
    else:
        generator = torch.Generator().manual_seed(seed)
        points = dirichlet(concentration, tasks, count, generator=generator)
    return least + (1.0 - tasks * least) * points


def dirichlet(
    concentration: float, tasks: int, count: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "count tasks"]:
    """Draws from ``Dirichlet(concentration, ...)``, in double precision.

    Args:
        concentration: Above 0.
        tasks: T.
        count: How many.
        generator: Of the processor; None: torch's own.
    """
    shape = torch.full((count, tasks), concentration, dtype=torch.float64)
    drawn = torch._standard_gamma(shape, generator=generator)
    # all gamma draws of a row may be below the smallest float where the concentration is small
    drawn = drawn.clamp_min(torch.finfo(torch.float64).tiny)
    return drawn / drawn.sum(1, keepdim=True)


def _lattice(tasks: int, count: int) -> Float[Tensor, "count tasks"]:
    if count == 1:
        return torch.full((1, tasks), 1.0 / tasks, dtype=torch.float64)
    if tasks == 1:
        raise UserError(Problem("count", f"one task has one preference, {count} are asked for", "choose 1"))
    sizes = list(_sizes(tasks, count))
    if sizes[-1] != count:
        near = " or ".join(str(size) for size in sizes[-2:])
        what = f"no lattice of {tasks} tasks has {count} points"
        raise UserError(Problem("count", what, f"choose {near}, or draw = 'dirichlet'"))
    parts = len(sizes)
    # bars between stars: the gaps are a composition of `parts`
    places = parts + tasks - 1
    bars = torch.tensor(list(combinations(range(places), tasks - 1)))
    edges = torch.nn.functional.pad(torch.nn.functional.pad(bars, (1, 0), value=-1), (0, 1), value=places)
    return (edges.diff(dim=1) - 1).double() / parts


def _sizes(tasks: int, count: int) -> Iterator[int]:
    """Numbers of points for 1, 2, ... parts, up to the first that is not below ``count``."""
    parts, size = 0, 1
    while size < count:
        parts += 1
        size = comb(parts + tasks - 1, tasks - 1)
        yield size
