"""Ready configurations for the named data sets, as TOML files to run or to copy."""

from __future__ import annotations

from pathlib import Path

from polytask.errors import Problem, UserError, suggest


def names() -> tuple[str, ...]:
    """The data sets that have one."""
    return tuple(sorted(file.stem for file in Path(__file__).parent.glob("*.toml")))


def path(name: str) -> Path:
    """The TOML file for a data set.

    Raises:
        UserError: There is none.

    Example:
        >>> path("census-income").name
        'census-income.toml'
    """
    if name not in names():
        raise UserError(Problem(f"preset '{name}'", "does not exist", suggest(name, names())))
    return Path(__file__).with_name(f"{name}.toml")
