"""From a TOML file and overrides to a checked `Config`, with every mistake in one message."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from polytask.config.chains import chain_problems
from polytask.config.components import check_options, find
from polytask.config.deciding import decision_problems
from polytask.config.models import BalancerConfig, ComponentConfig, Config, TaskConfig
from polytask.config.problems import dotted, problems_of
from polytask.errors import Problem, UserError, suggest

_TASK_NAME = re.compile(r"\w[\w.\- ]*")


def load_config(
    path: Path, overrides: Sequence[str] = (), *, allow_code: Sequence[str] = (), components: bool = True
) -> Config:
    """Reads a configuration.

    Args:
        path: The TOML file.
        overrides: ``"train.batch_size=1024"``: a TOML path, and a value in TOML syntax; a bare word is a string.
        allow_code: Modules outside polytask whose functions the file may name.
        components: Also look up encoder, sharing, towers, balancer and task kinds, and check their options; this
            imports torch.

    Raises:
        UserError: With every mistake found, each with its TOML path, the value, and what to write instead.
    """
    table = read_toml(path)
    apply_overrides(table, overrides)
    return parse_config(table, relative_to=path.parent, allow_code=allow_code, components=components)


def parse_config(
    table: Mapping[str, Any],
    *,
    relative_to: Path | None = None,
    allow_code: Sequence[str] = (),
    components: bool = True,
) -> Config:
    """Checks a table that has the form of the TOML file; see `load_config`.

    Example:
        >>> table = {"data": {"source": "log.csv"}, "tasks": {"buy": {"kind": "binary", "label": "y"}}, "trian": {}}
        >>> parse_config(table, components=False)
        Traceback (most recent call last):
        polytask.errors.UserError: trian: unknown key (value {}); did you mean 'train'?
    """
    problems: list[Problem] = []
    config: Config | None = None
    # each of these is for the verb of its name, which checks it
    table = {key: value for key, value in table.items() if key not in ("compare", "pareto", "sweep")}
    try:
        config = Config.model_validate(table)
    except ValidationError as error:
        problems += problems_of(error, Config)
    if config is not None:
        config = config.placed((relative_to or Path()).absolute(), allow_code=tuple(allow_code))
        problems += _crossed(config)
    if components:
        problems += component_problems(table, allow_code)
    if problems or config is None:
        raise UserError(problems)
    return config


def read_toml(path: Path) -> dict[str, Any]:
    """The file as nested dictionaries."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a byte order mark first
    except IsADirectoryError as error:
        raise UserError(Problem(str(path), "is a folder", "name the TOML file itself")) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        nearby = sorted(file.name for file in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        remedy = suggest(path.name, nearby) if nearby else "polytask init DATA --labels a,b -o CONFIG.toml writes one"
        raise UserError(Problem(str(path), "no such file", remedy)) from error
    except UnicodeDecodeError as error:
        raise UserError(Problem(str(path), "is no UTF-8 text", "name a TOML file, saved as UTF-8")) from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            Problem(str(path), f"not valid TOML: {error}", "texts need quotes, tables need [brackets]")
        ) from error


def apply_overrides(table: dict[str, Any], overrides: Sequence[str]) -> None:
    """Writes ``"path.to.key=value"`` entries into ``table``.

    Example:
        >>> table = {"train": {"seed": 0}}
        >>> apply_overrides(table, ["train.batch_size=512", "sharing.use=ple", "towers.widths=[64, 32]"])
        >>> table
        {'train': {'seed': 0, 'batch_size': 512}, 'sharing': {'use': 'ple'}, 'towers': {'widths': [64, 32]}}
    """
    problems: list[Problem] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        parsed = (_toml(f"{key} = {value}") or _toml(f"{key} = {json.dumps(value)}")) if equals else None
        if parsed is None:
            problems.append(
                Problem(f"--set {text}", "not of the form key=value", "for example --set train.batch_size=1024")
            )
        elif not _merge(table, parsed):
            problems.append(
                Problem(f"--set {text}", f"{key!r} goes through something that is no table", "check the path")
            )
    if problems:
        raise UserError(problems)


def component_problems(table: Mapping[str, Any], allow_code: Sequence[str] = ()) -> list[Problem]:
    """What is wrong with the names and options of encoder, sharing, towers, balancer and tasks."""
    problems: list[Problem] = []

    def collect(package: str, name: object, options: Mapping[str, Any], path: str, fields: Collection[str]) -> None:
        def check() -> None:
            key = "kind" if "kind" in fields else "use"
            builder = find(package, str(name), path=f"{path}.{key}", allow_code=allow_code)
            check_options(builder, options, path=path, provided=PROVIDED.get(package, ()), fields=fields)

        problems.extend(_problems_raised_by(check))

    for section, (package, default) in SECTIONS.items():
        entry = table.get(section, {})
        if isinstance(entry, Mapping):
            fields = _fields(BalancerConfig if section == "balancer" else ComponentConfig)
            options = {key: value for key, value in entry.items() if key not in fields}
            collect(package, entry.get("use", default), options, section, fields)
    penalty = table.get("penalty")
    if isinstance(penalty, Mapping) and "use" in penalty:
        options = {key: value for key, value in penalty.items() if key != "use"}
        collect(PENALTIES, penalty["use"], options, "penalty", ("use",))
    problems += _logger_problems(table.get("train", {}), allow_code)
    tasks, own = table.get("tasks", {}), _fields(TaskConfig)
    for name, task in tasks.items() if isinstance(tasks, Mapping) else ():
        if isinstance(task, Mapping) and isinstance(task.get("kind"), str):
            options = {key: value for key, value in task.items() if key not in own}
            path = dotted(["tasks", name])
            collect("polytask.tasks", task["kind"], options, path, own)
            problems += _own_loss_problems(options.get("loss"), f"{path}.loss", allow_code)
    return problems


SECTIONS = {
    "encoder": ("polytask.encoders", "table"),
    "sharing": ("polytask.sharing", "mmoe"),
    "towers": ("polytask.towers", "Towers"),
    "balancer": ("polytask.balancing", "equal"),
    "chain": ("polytask.chains", "plain"),
}
PENALTIES = "polytask.sharing.penalties"  # a part that no model has by default
LOGGERS = "polytask.tracking"
# parameters that the library fills in itself
PROVIDED: Mapping[str, tuple[str, ...]] = {
    "polytask.encoders": ("spec", "streams"),
    "polytask.sharing": ("tasks", "in_features", "names", "slices", "streams"),
    "polytask.towers": ("tasks", "in_features", "names"),
    "polytask.balancing": ("tasks", "kinds", "names"),
    "polytask.chains": ("chain", "in_features", "tower_features"),
    "polytask.tasks": ("name", "classes"),
    "polytask.tracking": ("run",),
}


def _fields(table: type[TaskConfig] | type[ComponentConfig]) -> frozenset[str]:
    """The keys of a table that are no options of a builder."""
    return frozenset(table.model_fields) - {"options"}


def _own_loss_problems(loss: object, path: str, allow_code: Sequence[str]) -> tuple[Problem, ...]:
    """A loss that is an import path needs the same permission as a part that is one."""
    if not isinstance(loss, str) or ":" not in loss:
        return ()
    return _problems_raised_by(lambda: find("polytask.tasks", loss, path=path, allow_code=allow_code))


def _logger_problems(train: object, allow_code: Sequence[str]) -> list[Problem]:
    """Loggers are named in a list: they have no options."""
    names = train.get("log", ()) if isinstance(train, Mapping) else ()
    found: list[Problem] = []
    for place, name in enumerate(names if isinstance(names, list | tuple) else ()):
        path = f"train.log[{place}]"
        if isinstance(name, str):
            found += _problems_raised_by(partial(find, LOGGERS, name, path=path, allow_code=allow_code))
    return found


def _problems_raised_by(check: Callable[[], object]) -> tuple[Problem, ...]:
    try:
        check()
    except UserError as error:
        return error.problems
    return ()


def _crossed(config: Config) -> list[Problem]:
    """What no single table can know."""
    problems = [*chain_problems(config), *decision_problems(config)]
    for name in config.tasks:
        if not _TASK_NAME.fullmatch(name):
            what = "a task's name becomes a column and a folder"
            problems.append(Problem(dotted(["tasks", name]), what, "use letters, digits, '_', '-', '.' and spaces"))
    selection = config.train.selection
    problems += [
        Problem(dotted(["train", "selection", name]), "no task has this name", suggest(name, list(config.tasks)))
        for name in selection or ()
        if name not in config.tasks
    ]
    if selection is not None and not any(selection.get(name, 1.0) for name in config.tasks):
        problems.append(Problem("train.selection", "all weights are 0", "give one task a weight above 0"))
    clash = set(config.tasks) & set(config.data.keys)
    problems += [
        Problem("data.keys", f"{name!r} is a task as well; both would be columns of the predictions", "rename the task")
        for name in sorted(clash)
    ]
    defaults = config.features.get("defaults")
    for key in ("kind", "vocabulary", "target", "unit") if defaults is not None else ():
        if getattr(defaults, key) is not None:
            problems.append(Problem(f"features.defaults.{key}", "cannot hold for all columns", "set it per column"))
    return problems


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _merge(table: dict[str, Any], update: Mapping[str, Any]) -> bool:
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            if not _merge(table[key], value):
                return False
        elif isinstance(value, dict) and value and key in table:
            return False
        else:
            table[key] = value
    return True
