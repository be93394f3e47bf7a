"""Where a dimension stands in a configuration: reading and setting one key by its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.config import PROVIDED, Config, find
from polytask.config.components import Builder, parameters
from polytask.config.loading import PENALTIES, SECTIONS

Table = dict[str, Any]
MISSING: Any = object()
PARTS = {section: package for section, (package, _) in SECTIONS.items()} | {"penalty": PENALTIES}


def path_of(key: str) -> list[str]:
    """The steps of a key; names of tasks may have points in them.

    Example:
        >>> path_of("sharing.gate.dropout"), path_of("tasks.v1.5 click.positive_weight")
        (['sharing', 'gate', 'dropout'], ['tasks', 'v1.5 click', 'positive_weight'])
    """
    section, _, rest = key.partition(".")
    if section == "tasks":
        name, _, option = rest.rpartition(".")
        return [section, name, option]
    return [section, *rest.split(".")]


def as_table(config: Config) -> Table:
    """The configuration as nested dictionaries."""
    return config.model_dump(mode="python", exclude_none=True)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values.

    Example:
        >>> config = Config.model_validate({"data": {"source": "a"}, "tasks": {"t": {"kind": "count", "label": "n"}}})
        >>> found = with_values(config, {"sharing.experts": 4, "train.learning_rate": 0.01})
        >>> found.sharing.options, found.train.learning_rate
        ({'experts': 4}, 0.01)
    """
    table = as_table(config)
    for key, value in values.items():
        put(table, key, value)
    return Config.model_validate(table).placed(config.relative_to, allow_code=config.allow_code)


def put(table: Table, key: str, value: Any) -> None:
    """Sets one key."""
    *above, last = path_of(key)
    for step in above:
        inner = table.get(step)
        table[step] = dict(inner) if isinstance(inner, Mapping) else {}
        table = table[step]
    table[last] = value


def own_value(config: Config, key: str) -> Any:
    """The configuration's own value, or the default of its builder; `MISSING` where there is neither."""
    steps, found = path_of(key), as_table(config)
    for step in steps:
        if not isinstance(found, Mapping) or step not in found:
            return _default(config, steps)
        found = found[step]
    return found


def options_of(config: Config, section: str) -> Mapping[str, Any]:
    """The options that the builder of a section has, with their defaults; empty where the section is not used."""
    builder = builder_of(config, section)
    if builder is None:
        return {}
    return {name: one.default for name, one in parameters(builder, PROVIDED.get(PARTS[section], ())).items()}


def builder_of(config: Config, section: str) -> Builder | None:
    """The function behind a section; None where it is not used."""
    part = getattr(config, section)
    if part is None:
        return None
    name = part.use if hasattr(part, "use") else SECTIONS[section][1]
    return find(PARTS[section], name, path=f"{section}.use", allow_code=config.allow_code)


def _default(config: Config, steps: list[str]) -> Any:
    if len(steps) == 2 and steps[0] in PARTS:
        return options_of(config, steps[0]).get(steps[1], MISSING)
    return MISSING
