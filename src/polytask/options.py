"""Checks of option values: each gives its findings, so that a builder can report all of them at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from polytask.errors import Problem, suggest


def in_range(
    value: float,
    *,
    where: str,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> list[Problem]:
    """A finding if ``value`` is no finite number within the bounds.

    Example:
        >>> print(*in_range(2.0, above=0, most=1, where="tasks.like.keep_negatives"))
        tasks.like.keep_negatives: is 2.0; give a number above 0 and at most 1
    """
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    text = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    remedy = f"give a number {text}".rstrip()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return [Problem(where, f"is {value!r}", remedy)]
    inside = (
        (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    )
    return [] if inside else [Problem(where, f"is {value!r}", remedy)]


def one_of(value: str, choices: Sequence[str], *, where: str) -> list[Problem]:
    """A finding if ``value`` is not among the choices.

    Example:
        >>> print(*one_of("log", ["standard", "log1p", "none"], where="tasks.price.scaling"))
        tasks.price.scaling: is 'log'; did you mean 'log1p'?
    """
    return [] if value in choices else [Problem(where, f"is {value!r}", suggest(value, choices))]
