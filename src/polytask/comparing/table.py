"""The ``[compare]`` table of a configuration: what is compared with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from polytask.config import (
    BalancerConfig,
    ComponentConfig,
    Config,
    parse_section,
    read_sound_section,
    read_with_section,
)
from polytask.config.base import Positive, Table

SECTION = "compare"


class CompareConfig(Table):
    """What a comparison trains beside the configuration's own parts.

    Attributes:
        sharing: Architectures: names, or tables with ``use`` and options; the configuration's own if left out.
        balancers: Balancers, likewise.
        single: The architecture of the single-task networks; the configuration's own if left out.
        seeds: Consecutive seeds of every method, from ``train.seed`` on.
        lightgbm: Also train one gradient-boosted model per task and seed.
        only_changed: ``axes`` leaves out the grid: every architecture with the first balancer, and every balancer with
            the first architecture.
    """

    sharing: Annotated[tuple[ComponentConfig, ...], Field(strict=False)] = ()
    balancers: Annotated[tuple[BalancerConfig, ...], Field(strict=False)] = ()
    single: ComponentConfig | None = None
    seeds: Positive = 5
    lightgbm: bool = True
    only_changed: Literal["axes"] | None = None

    @field_validator("sharing", "balancers", mode="before")
    @classmethod
    def _tables(cls, parts: object) -> object:
        return [_table(part) for part in parts] if isinstance(parts, list | tuple) else parts

    @field_validator("single", mode="before")
    @classmethod
    def _one_table(cls, part: object) -> object:
        return _table(part)


def _table(part: object) -> object:
    return {"use": part} if isinstance(part, str) else part


def read_comparison(
    path: Path,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    *,
    allow_code: Sequence[str] = (),
) -> tuple[Config, CompareConfig]:
    """Reads a configuration with its ``[compare]`` table.

    Args:
        path: The TOML file.
        overrides: As for `polytask.config.load_config`; they may go into ``compare`` as well.
        changes: Keys of the table that replace those of the file.
        allow_code: Modules outside polytask whose functions the file may name.

    Raises:
        UserError: With every mistake found.
    """
    return read_with_section(path, SECTION, CompareConfig, overrides, changes, allow_code=allow_code)


def read_parts(path: Path, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> CompareConfig:
    """The ``[compare]`` table alone, without its keys that are wrong; see `read_comparison`."""
    return read_sound_section(path, SECTION, CompareConfig, overrides, changes)


def parse_comparison(table: object, changes: Mapping[str, Any] | None = None) -> CompareConfig:
    """Checks the keys of a ``[compare]`` table; the names in it are looked up by `polytask.comparing.checks`.

    Example:
        >>> found = parse_comparison({"sharing": ["ple", {"use": "mmoe", "experts": 16}], "seeds": 3})
        >>> [(part.use, part.options) for part in found.sharing], found.seeds
        ([('ple', {}), ('mmoe', {'experts': 16})], 3)
        >>> parse_comparison({"seed": 3})
        Traceback (most recent call last):
        polytask.errors.UserError: compare.seed: unknown key (value 3); did you mean 'seeds'?
    """
    return parse_section(table, SECTION, CompareConfig, changes)
