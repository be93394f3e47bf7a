"""Pydantic's findings in the user's own words: the TOML path, the value found, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from polytask.errors import Problem, suggest

_EXAMPLES = {
    "data": 'add [data] with source = "log.parquet"',
    "data.source": 'add source = "log.parquet", or a named data set',
    "tasks": 'add [tasks.NAME] with kind = "binary" and label = "COLUMN"',
}
_TASK_EXAMPLES = {"kind": 'add kind = "binary"', "label": 'add label = "COLUMN"'}


def problems_of(error: ValidationError, model: type[BaseModel], *, under: Sequence[str] = ()) -> list[Problem]:
    """All findings of one validation, in the order of the file's tables.

    Args:
        error: What pydantic found.
        model: What it was to be.
        under: The path of the table that was validated, where it is not the whole file.
    """
    return [_problem(details, model, under) for details in error.errors(include_url=False)]


def _problem(details: Any, model: type[BaseModel], under: Sequence[str]) -> Problem:
    where = dotted([*under, *details["loc"]])
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        fields = _fields_at(model, details["loc"][:-1])
        return Problem(where, f"unknown key (value {value!r})", suggest(str(details["loc"][-1]), fields, shown=30))
    if kind == "missing":
        remedy = _EXAMPLES.get(where) or _TASK_EXAMPLES.get(str(details["loc"][-1]), f"add {details['loc'][-1]} = ...")
        return Problem(where, "missing", remedy)
    if kind == "literal_error":
        choices = [choice.strip("' ") for choice in details["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return Problem(where, f"unknown value {value!r}", suggest(str(value), choices))
    if kind == "value_error":
        what, _, remedy = str(details["ctx"]["error"]).partition("; ")
        return Problem(where, what, remedy)
    if kind in ("too_short", "model_type", "dict_type"):
        what = "empty" if value in ({}, [], ()) else f"{value!r} is no table"
        return Problem(where, what, _EXAMPLES.get(where, f"write [{where}] and keys below it"))
    message = details["msg"].removeprefix("Input should be ").replace("a valid tuple", "a list")
    return Problem(where, f"found {value!r}", f"it should be {message}")


def dotted(path: Sequence[str | int]) -> str:
    """A TOML path as one would write it.

    Example:
        >>> dotted(["features", "capital gains", "kind"])
        'features."capital gains".kind'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        bare = part.replace("_", "").replace("-", "").isalnum() and part.isascii()
        text += ("." if text else "") + (part if bare else f'"{part}"')
    return text


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that the table at ``path`` knows."""
    here: Any = model
    for part in path:
        models = list(_models_in(here.model_fields[part].annotation)) if _knows(here, part) else [here]
        here = models[0] if models else here
    return list(here.model_fields)


def _knows(model: type[BaseModel], part: str | int) -> bool:
    return isinstance(part, str) and part in model.model_fields


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
