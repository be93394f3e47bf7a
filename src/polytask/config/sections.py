"""Tables that belong to one command alone, beside those of training: ``[compare]``, ``[pareto]``, ``[sweep]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from polytask.config.base import Table
from polytask.config.loading import apply_overrides, parse_config, read_toml
from polytask.config.models import Config
from polytask.config.problems import problems_of
from polytask.errors import Problem, UserError

Section = TypeVar("Section", bound=Table)


def read_with_section(
    path: Path,
    name: str,
    model: type[Section],
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    *,
    allow_code: Sequence[str] = (),
) -> tuple[Config, Section]:
    """Reads a configuration with one of these tables.

    Args:
        path: The TOML file.
        name: Of the table.
        model: Its typed form.
        overrides: As for `polytask.config.load_config`; they may go into the table as well.
        changes: Keys of the table that replace those of the file.
        allow_code: Modules outside polytask whose functions the file may name.

    Raises:
        UserError: With every mistake found.
    """
    whole = read_toml(path)
    apply_overrides(whole, overrides)
    problems: list[Problem] = []
    config, section = None, None
    try:
        config = parse_config(whole, relative_to=path.parent, allow_code=allow_code)
    except UserError as error:
        problems += error.problems
    try:
        section = parse_section(whole.get(name, {}), name, model, changes)
    except UserError as error:
        problems += error.problems
    if config is None or section is None:
        raise UserError(problems)
    return config, section


def read_sound_section(
    path: Path,
    name: str,
    model: type[Section],
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Section:
    """The table alone without its keys that are wrong, so that more can be said of the others.

    Raises:
        UserError: The file cannot be read, or the table is none.
    """
    whole = read_toml(path)
    apply_overrides(whole, overrides)
    table = whole.get(name, {})
    try:
        return parse_section(table, name, model, changes)
    except UserError:
        if not isinstance(table, Mapping):
            raise
    given = {**table, **(changes or {})}
    return model.model_validate({key: value for key, value in given.items() if _sound(model, key, value)})


def _sound(model: type[Table], key: str, value: object) -> bool:
    try:
        model.model_validate({key: value})
    except ValidationError:
        return False
    return True


def parse_section(table: object, name: str, model: type[Section], changes: Mapping[str, Any] | None = None) -> Section:
    """Checks the keys of a table; the names in it are looked up by those who use it.

    Raises:
        UserError: With every mistake found.
    """
    if not isinstance(table, Mapping):
        raise UserError(Problem(name, f"{table!r} is no table", f"write [{name}] and keys below it"))
    try:
        return model.model_validate({**table, **(changes or {})})
    except ValidationError as error:
        raise UserError(problems_of(error, model, under=[name])) from error
