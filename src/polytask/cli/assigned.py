"""Options of the form NAME=VALUE."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from polytask.errors import Problem, UserError


def assigned(option: str, texts: Sequence[str] | None) -> dict[str, Any]:
    """Names with values in TOML syntax; a bare word is a text.

    Raises:
        UserError: A text has another form.

    Example:
        >>> assigned("--threshold", ["like=f1", "follow={ precision = 0.9 }", "click=0.3"])
        {'like': 'f1', 'follow': {'precision': 0.9}, 'click': 0.3}
    """
    found, problems = {}, []
    for text in texts or ():
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not value:
            problems.append(Problem(f"{option} {text}", "not of the form TASK=VALUE", f"for example {option} like=0.6"))
            continue
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    if problems:
        raise UserError(problems)
    return found


def listed(text: str | None) -> list[str] | None:
    """The names of a comma-separated list; None where the option is not given.

    Example:
        >>> listed("a, b"), listed(None)
        (['a', 'b'], None)
    """
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
