"""What functions like `polytask.compare` are given: a configuration, its file, or a table with tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from polytask.config import Config, parse_config
from polytask.data.label_kinds import ProposedTask, propose_tasks
from polytask.data.sources import TableSource, open_source
from polytask.errors import Problem, UserError, raise_errors, suggest

Tasks = Sequence[str] | Mapping[str, str | Mapping[str, Any]]
Section = TypeVar("Section")


def given(
    data: Any,
    *,
    tasks: Tasks | None,
    train: Mapping[str, Any] | None,
    more: Mapping[str, Any] | None,
    allow_code: Sequence[str],
    read: Callable[[Path], tuple[Config, Section]],
    otherwise: Callable[[], Section],
) -> tuple[Config, Section, TableSource | None]:
    """The configuration, what a command's own table of it says, and the table of rows where there is one.

    Args:
        data: A configuration, the path of its TOML file, or a table as `polytask.fit` takes it.
        tasks: For a table: label columns, or per task its kind or its whole table.
        train: For a table: the ``[train]`` table.
        more: For a table: further tables of the configuration.
        allow_code: Modules outside polytask that options may name.
        read: Reads a TOML file.
        otherwise: What the command's own table is where there is no file.

    Raises:
        UserError: Tasks are missing, or given beside a configuration.
    """
    table: TableSource | None = None
    if isinstance(data, Config):
        config, section = data, otherwise()
    elif isinstance(data, str | Path) and Path(data).suffix == ".toml":
        config, section = read(Path(data))
    else:
        table = open_source(data)
        config, section = _of_table(table, tasks, train, more or {}, allow_code), otherwise()
    if table is None and not (tasks is None and train is None and more is None):
        what = "given beside a configuration"
        raise UserError(Problem("tasks, train, config", what, "write them into the configuration"))
    return config, section, table


def _of_table(
    table: TableSource,
    tasks: Tasks | None,
    train: Mapping[str, Any] | None,
    more: Mapping[str, Any],
    allow_code: Sequence[str],
) -> Config:
    if tasks is None:
        raise UserError(Problem("tasks", "missing", "name the label columns, or give a configuration"))
    own = {
        "data": {"source": table.name if table.files else "memory"},
        "tasks": task_tables(tasks, table),
        "train": dict(train or {}),
    }
    return parse_config(over(own, more), allow_code=allow_code)


def over(own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Tables beside others, key by key; what stands in ``own`` goes before.

    Example:
        >>> over({"train": {"epochs": 1}}, {"train": {"epochs": 9, "seed": 3}, "encoder": {"embedding": 4}})
        {'train': {'epochs': 1, 'seed': 3}, 'encoder': {'embedding': 4}}
    """
    found = {
        name: {**more[name], **table} if isinstance(more.get(name), Mapping) else table for name, table in own.items()
    }
    return {**found, **{name: table for name, table in more.items() if name not in own}}


def task_tables(tasks: Tasks, source: TableSource) -> dict[str, Mapping[str, Any]]:
    """The ``[tasks]`` table; kinds that are not given are read off the labels.

    Raises:
        UserError: There is no such column.
    """
    if isinstance(tasks, Mapping):
        return {name: {"kind": task, "label": name} if isinstance(task, str) else task for name, task in tasks.items()}
    names = source.schema.names
    raise_errors(
        Problem(f"label {name}", f"no column '{name}' in {source.name}", suggest(str(name), names))
        for name in tasks
        if name not in names
    )
    return {task.name: _task_table(task) for task in propose_tasks(source, tasks)}


def _task_table(task: ProposedTask) -> dict[str, Any]:
    classes = {} if task.spec.classes is None else {"classes": list(task.spec.classes)}
    return {"kind": task.kind, "label": task.spec.label, **classes, **task.options}
