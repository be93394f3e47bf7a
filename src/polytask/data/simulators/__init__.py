"""Data with known truth, of any size: for demonstrations without a download, and for tests of scale."""

from __future__ import annotations

from collections.abc import Mapping

from polytask.data.simulators.ma_2018 import Ma2018
from polytask.data.simulators.short_video import ShortVideo
from polytask.errors import Problem, UserError, suggest

__all__ = ["names", "get", "ShortVideo", "Ma2018"]

_ALL: Mapping[str, type[ShortVideo]] = {"short-video": ShortVideo}


def names() -> tuple[str, ...]:
    """The names of all simulators, as in ``source = "simulator:short-video"``.

    Example:
        >>> names()
        ('short-video',)
    """
    return tuple(_ALL)


def get(name: str) -> type[ShortVideo]:
    """The simulator called ``name``.

    Raises:
        UserError: There is none of that name.

    Example:
        >>> get("short-video")(rows=1000).rows
        1000
    """
    if name not in _ALL:
        raise UserError(Problem(f"simulator '{name}'", "is not known", suggest(name, names())))
    return _ALL[name]
