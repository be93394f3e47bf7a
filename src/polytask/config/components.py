"""Names in a configuration become functions, and the keys beside them are checked against the functions' signatures."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from polytask.config.models import ComponentConfig
from polytask.config.problems import dotted
from polytask.errors import Problem, UserError, suggest

Builder = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a builder.

    Attributes:
        name: The key in the TOML file.
        type: Its annotation, in words.
        default: Its default as Python shows it, or ``"(required)"``.
    """

    name: str
    type: str
    default: str


def resolve(
    package: str,
    part: ComponentConfig,
    *,
    path: str,
    provided: Collection[str] = (),
    allow_code: Sequence[str] = (),
) -> tuple[Builder, dict[str, Any]]:
    """The builder that ``part.use`` names, and its checked options.

    Args:
        package: Where names are looked up: the package whose ``__all__`` lists the builders (``"polytask.sharing"``).
        part: The TOML table: ``use`` and options.
        path: The table's place in the file, for messages.
        provided: Parameters that the caller fills itself; the file may not set them.
        allow_code: Modules outside polytask that an import path ``"package.module:function"`` may name.

    Returns:
        The builder, and its options with lists turned into the tuples that it declares.

    Raises:
        UserError: With all mistakes of this table: an unknown name, unknown or missing options, wrong types.
    """
    builder = find(package, part.use, path=f"{path}.use", allow_code=allow_code)
    return builder, check_options(builder, part.options, path=path, provided=provided)


def find(package: str, name: str, *, path: str, allow_code: Sequence[str] = ()) -> Builder:
    """The builder behind one name; see `resolve`."""
    if ":" in name:
        return _import_path(name, path=path, allow_code=allow_code)
    module = importlib.import_module(package)
    if name not in module.__all__:
        what = f"nothing is named {name!r} in {package}"
        raise UserError(Problem(path, what, suggest(name, list(module.__all__), shown=40)))
    return typing.cast(Builder, getattr(module, name))


def asked_for(builder: Builder, known: Mapping[str, Any]) -> dict[str, Any]:
    """What of the known values the builder has a parameter for.

    Example:
        >>> def build(names, *, depth=1): ...
        >>> asked_for(build, {"names": ["a"], "kinds": ["binary"]})
        {'names': ['a']}
    """
    parameters = inspect.signature(builder).parameters
    return {name: value for name, value in known.items() if name in parameters}


def check_options(
    builder: Builder,
    options: Mapping[str, Any],
    *,
    path: str,
    provided: Collection[str] = (),
    fields: Collection[str] = (),
) -> dict[str, Any]:
    """The options as ``builder`` declares them; see `resolve`. ``fields`` are further keys worth suggesting."""
    known = parameters(builder, provided)
    hints = _hints(builder)
    problems: list[Problem] = []
    checked: dict[str, Any] = {}
    for key, value in options.items():
        where = f"{path}.{dotted([key])}"
        if key not in known:
            problems.append(
                Problem(
                    where,
                    f"unknown option of {_name(builder)} (value {value!r})",
                    suggest(key, [*known, *fields], shown=30),
                )
            )
            continue
        try:
            if isinstance(value, Mapping) and (kinds := _tables(hints.get(key))):
                checked[key] = _table(kinds, value, where)
                continue
        except UserError as error:
            problems += error.problems
            continue
        try:
            checked[key] = _typed(value, hints.get(key, Any))
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be ")
            problems.append(Problem(where, f"found {value!r}", f"it should be {message} ({_words(hints[key])})"))
    for key, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and key not in options:
            problems.append(
                Problem(f"{path}.{key}", f"missing, and {_name(builder)} has no default for it", f"add {key} = ...")
            )
    if problems:
        raise UserError(problems)
    return checked


def parameters(builder: Builder, provided: Collection[str] = ()) -> dict[str, inspect.Parameter]:
    """The parameters of a builder that are options: all that can be named, but for those that the caller provides."""
    return {
        name: parameter
        for name, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in provided
    }


@contextmanager
def placed(section: str, builder: Builder) -> Iterator[None]:
    """Options that a builder finds wrong are named with the table of the file in which they stand.

    Args:
        section: The table.
        builder: What is called meanwhile.

    Raises:
        UserError: What the builder raises, with ``section.`` in front of its own options.

    Example:
        >>> def build(*, depth=1):
        ...     raise UserError(Problem("depth", "0 given", "choose at least 1"))
        >>> with placed("towers", build):
        ...     build()
        Traceback (most recent call last):
        ...
        polytask.errors.UserError: towers.depth: 0 given; choose at least 1
    """
    try:
        yield
    except UserError as error:
        known = inspect.signature(builder).parameters
        raise UserError(
            dataclasses.replace(problem, where=f"{section}.{problem.where}")
            if problem.where.partition(".")[0] in known
            else problem
            for problem in error.problems
        ) from error


def describe_options(builder: Builder, provided: Collection[str] = ()) -> tuple[Option, ...]:
    """What `polytask list` shows of a builder.

    Example:
        >>> def tower(width: int, *, depth: int = 2, act: str = "relu"): ...
        >>> [(option.name, option.type, option.default) for option in describe_options(tower, ["width"])]
        [('depth', 'int', '2'), ('act', 'str', "'relu'")]
    """
    hints = _hints(builder)
    return tuple(
        Option(
            name,
            _words(hints.get(name, Any)),
            "(required)" if parameter.default is parameter.empty else repr(parameter.default),
        )
        for name, parameter in parameters(builder, provided).items()
    )


def _import_path(name: str, *, path: str, allow_code: Sequence[str]) -> Builder:
    module_name, _, attribute = name.partition(":")
    if not any(module_name == allowed or module_name.startswith(f"{allowed}.") for allowed in allow_code):
        what = f"{name!r} is code outside polytask, which no file may run by itself"
        raise UserError(Problem(path, what, f"if you trust it, pass --allow-code {module_name or 'MODULE'}"))
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # as `python -m` has it: the user's module stands beside the file that names it
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        what = f"module {module_name!r} cannot be imported ({error})"
        raise UserError(
            Problem(path, what, "install it, run where it lies, or put its folder on PYTHONPATH")
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UserError(
            Problem(path, f"module {module_name!r} has no function {attribute!r}", suggest(attribute, public))
        )
    return typing.cast(Builder, found)


def _hints(builder: Builder) -> dict[str, Any]:
    target = builder.__init__ if inspect.isclass(builder) else builder
    try:
        return typing.get_type_hints(target)
    except NameError:
        return {}  # annotations that exist for the type checker only cannot be checked here


def _tables(annotation: Any) -> dict[str, type]:
    """The dataclasses among the types of an option, by the name that ``use`` gives them in a table of the file."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    parts = typing.get_args(annotation) if union else (annotation,)
    tables = [part for part in parts if inspect.isclass(part) and dataclasses.is_dataclass(part)]
    return {part.use: part for part in tables if hasattr(part, "use")}


def _table(kinds: Mapping[str, type], table: Mapping[str, Any], path: str) -> Any:
    """An option that is a table of options itself; without ``use`` it is of the first kind."""
    options = dict(table)
    name = options.pop("use", next(iter(kinds)))
    if name not in kinds:
        raise UserError(Problem(f"{path}.use", f"nothing is named {name!r} here", suggest(str(name), list(kinds))))
    return kinds[name](**check_options(kinds[name], options, path=path, fields=["use"]))


def _typed(value: Any, annotation: Any) -> Any:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(strict=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return value  # a type of the builder's own; it checks it itself
    try:
        return adapter.validate_python(_tuples(value))
    except ValidationError:
        return adapter.validate_python(value)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _name(builder: Builder) -> str:
    return str(getattr(builder, "__name__", builder))


def _words(annotation: Any) -> str:
    if annotation is Any:
        return "anything"
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(repr(choice) for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " | ".join(_words(one) for one in typing.get_args(annotation))
    if annotation is type(None):
        return "None"
    if typing.get_origin(annotation) is Callable:
        return "function"
    text = annotation.__name__ if inspect.isclass(annotation) and not typing.get_args(annotation) else str(annotation)
    return text.replace("typing.", "").replace("collections.abc.", "")
