"""Checks of the options that scalarizers have in common: one number per task, and numbers within limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from polytask.errors import Problem, suggest


def per_task(
    option: str,
    values: Mapping[str, float] | Sequence[float],
    names: Sequence[str],
    *,
    above: float | None = None,
    least: float | None = 0.0,
) -> tuple[list[float], list[Problem]]:
    """One number for every task, in the order of the tasks, and what is wrong with them.

    Args:
        option: What the numbers are called in a configuration.
        values: A mapping from the task's name, or a list in the order of the tasks.
        names: Of all tasks; needed for a mapping.
        above: The numbers must be greater, if given.
        least: They must not be smaller; None: no limit.

    Example:
        >>> per_task("weights", {"like": 2.0, "click": 1.0}, ["click", "like"])
        ([1.0, 2.0], [])
    """
    problems = []
    if isinstance(values, Mapping):
        problems += [
            Problem(f"{option}.{name}", "no task has this name", suggest(name, names))
            for name in values
            if name not in names
        ]
        problems += [
            Problem(f"{option}.{name}", f"the task has no {_one(option)}", "give every task one")
            for name in names
            if name not in values
        ]
        listed = [(name, float(values[name])) for name in names if name in values]
    else:
        listed = [(str(number), float(value)) for number, value in enumerate(values)]
        if names and len(listed) != len(names):
            found = f"{len(listed)} {option} for {len(names)} tasks"
            problems.append(Problem(option, found, f"give one for each of {', '.join(names)}"))
    for name, value in listed:
        problems += limits(f"{option}.{name}", value, above=above, least=least)
    return [value for _, value in listed], problems


def limits(option: str, value: float, *, above: float | None = None, least: float | None = None) -> list[Problem]:
    """What is wrong with a number that must be finite, and greater than ``above`` or from ``least``.

    Example:
        >>> print(*limits("temperature", 0.0, above=0))
        temperature: 0.0 given; choose a finite number above 0
    """
    good = value > above if above is not None else least is None or value >= least
    if good and math.isfinite(value):
        return []
    asked = f"above {above:g}" if above is not None else f"from {least:g}" if least is not None else ""
    return [Problem(option, f"{value} given", f"choose a finite number {asked}".rstrip())]


def _one(option: str) -> str:
    return option.removesuffix("s")
