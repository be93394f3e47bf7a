"""A `Config` as TOML text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.items import Table

from polytask.config.models import Config


def dump_config(config: Config) -> str:
    """The configuration as TOML, defaults included; `load_config` reads it back to an equal one.

    Relative paths are written as they are; see `polytask.config.absolute`.

    Example:
        >>> tasks = {"t": {"kind": "count", "label": "n"}}
        >>> config = Config.model_validate({"data": {"source": "a.csv"}, "tasks": tasks})
        >>> print(dump_config(config).splitlines()[:3])
        ['[data]', 'source = "a.csv"', 'keys = []']
    """
    document = tomlkit.document()
    for key, value in config.model_dump(exclude_none=True, mode="python").items():
        if value or key in ("data", "tasks"):
            document.add(key, _table(value))
    return tomlkit.dumps(document)


def _table(values: Mapping[str, Any]) -> Table:
    nested = values and all(isinstance(value, Mapping) for value in values.values())
    table = tomlkit.table(is_super_table=bool(nested))
    for key, value in values.items():
        if value is None:
            continue
        table.add(key, _table(value) if isinstance(value, Mapping) else _plain(value))
    return table


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
