"""What functions like `polytask.compare` are given: a configuration, its file, or a table with tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from polytask.config import Config, parse_config
from polytask.data.label_kinds import propose_tasks
from polytask.data.sources import TableSource, open_source
from polytask.errors import Problem, UserError

Tasks = Sequence[str] | Mapping[str, str | Mapping[str, Any]]
Section = TypeVar("Section")


def given(
    data: Any,
    *,
    tasks: Tasks | None,
    train: Mapping[str, Any] | None,
    allow_code: Sequence[str],
    read: Callable[[Path], tuple[Config, Section]],
    otherwise: Callable[[], Section],
) -> tuple[Config, Section, TableSource | None]:
    """The configuration, what a command's own table of it says, and the table of rows where there is one.

    Args:
        data: A configuration, the path of its TOML file, or a table as `polytask.fit` takes it.
        tasks: For a table: label columns, or per task its kind or its whole table.
        train: For a table: the ``[train]`` table.
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
        config, section = table_config(table, tasks, train, allow_code), otherwise()
    if table is None and (tasks is not None or train is not None):
        raise UserError(Problem("tasks, train", "given beside a configuration", "write them into the configuration"))
    return config, section, table


def table_config(
    table: TableSource, tasks: Tasks | None, train: Mapping[str, Any] | None, allow_code: Sequence[str]
) -> Config:
    """The configuration of a table in memory, or of a file; see `given`."""
    if tasks is None:
        raise UserError(Problem("tasks", "missing", "name the label columns, or give a configuration"))
    if isinstance(tasks, Mapping):
        tables = {
            name: {"kind": task, "label": name} if isinstance(task, str) else task for name, task in tasks.items()
        }
    else:
        tables = {}
        for task in propose_tasks(table, tasks):
            classes = {} if task.spec.classes is None else {"classes": list(task.spec.classes)}
            tables[task.name] = {"kind": task.kind, "label": task.spec.label, **classes, **task.options}
    source = table.name if table.files else "memory"
    whole = {"data": {"source": source}, "tasks": tables, "train": dict(train or {})}
    return parse_config(whole, allow_code=allow_code)
