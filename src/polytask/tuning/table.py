"""The ``[sweep]`` table of a configuration: what is searched, and with which budget."""

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
from polytask.config.base import Names, Positive, Table

SECTION = "sweep"


class SweepConfig(Table):
    """What a sweep searches, and with which budget.

    Attributes:
        trials: Trainings of every method.
        sharing: Architectures: names, or tables with ``use`` and options; the configuration's own if left out.
        balancers: Balancers, likewise. Every architecture with every balancer is a method.
        objective: ``mean``: the validation score that selects weights, the mean over tasks; ``tasks``: each task's
            primary metric on the validation part, without weighing one against the other; or a list of tasks.
        pruning: Which trials are stopped early: ``median``, ``halving`` or ``none``.
        parallel: Trials of one method that may run at a time: each is suggested by what all but the last so many have
            shown, however many do run, so that results do not depend on that.
        sampler: ``tpe`` learns from finished trials; ``random`` does not.
        seed: Of the suggestions; trainings have that of ``[train]``.
        final_seeds: Seeds with which the best of each method is trained at the end; 0 trains none.
        space: Keys of the configuration, each with a list of choices or a range; a usual one if left out.
    """

    trials: Positive = 20
    sharing: Annotated[tuple[ComponentConfig, ...], Field(strict=False)] = ()
    balancers: Annotated[tuple[BalancerConfig, ...], Field(strict=False)] = ()
    objective: Literal["mean", "tasks"] | Names = "mean"
    pruning: Literal["median", "halving", "none"] = "median"
    parallel: Positive = 4
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Annotated[int, Field(ge=0)] = 0
    final_seeds: Annotated[int, Field(ge=0)] = 1
    space: dict[str, Any] | None = None

    @field_validator("sharing", "balancers", mode="before")
    @classmethod
    def _tables(cls, parts: object) -> object:
        return [{"use": part} if isinstance(part, str) else part for part in _items(parts)]

    @field_validator("objective", mode="before")
    @classmethod
    def _objective(cls, value: object) -> object:
        if isinstance(value, list | tuple) and not value:
            raise ValueError('an empty list; say "mean", "tasks", or name tasks')
        if isinstance(value, str) and value not in ("mean", "tasks"):
            raise ValueError(f'unknown value {value!r}; say "mean", "tasks", or a list of tasks')
        return value


def _items(parts: object) -> Any:
    return parts if isinstance(parts, list | tuple) else [parts]


def read_sweep(
    path: Path,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    *,
    allow_code: Sequence[str] = (),
) -> tuple[Config, SweepConfig]:
    """Reads a configuration with its ``[sweep]`` table.

    Args:
        path: The TOML file.
        overrides: As for `polytask.config.load_config`; they may go into ``sweep`` as well.
        changes: Keys of the table that replace those of the file.
        allow_code: Modules outside polytask whose functions the file may name.

    Raises:
        UserError: With every mistake found.
    """
    return read_with_section(path, SECTION, SweepConfig, overrides, changes, allow_code=allow_code)


def read_names(path: Path, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> SweepConfig:
    """The ``[sweep]`` table alone, without its keys that are wrong; see `read_sweep`."""
    return read_sound_section(path, SECTION, SweepConfig, overrides, changes)


def parse_sweep(table: object, changes: Mapping[str, Any] | None = None) -> SweepConfig:
    """Checks the keys of a ``[sweep]`` table; the names in it are looked up by `polytask.tuning.checks`.

    Example:
        >>> found = parse_sweep({"sharing": ["ple", {"use": "mmoe", "experts": 16}], "trials": 30})
        >>> [(part.use, part.options) for part in found.sharing], found.trials
        ([('ple', {}), ('mmoe', {'experts': 16})], 30)
        >>> parse_sweep({"trails": 3})
        Traceback (most recent call last):
        polytask.errors.UserError: sweep.trails: unknown key (value 3); did you mean 'trials'?
    """
    return parse_section(table, SECTION, SweepConfig, changes)
