"""The ``[pareto]`` table of a configuration: what is traded, how, and what is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from polytask.config import BalancerConfig, Config, parse_section, read_sound_section, read_with_section
from polytask.config.base import Names, Positive, Table

SECTION = "pareto"


class ParetoConfig(Table):
    """What a front is made of.

    Attributes:
        method: ``linear``, ``tchebycheff``, ``epo`` (a model per preference), ``pamal``, ``lorpman``, ``phn``,
            ``cosmos`` (one model for all preferences): names, or tables with ``use`` and options.
        tasks: The tasks that are traded; the others keep their weight. All if left out.
        points: How many preferences.
        least: The smallest preference of a task; a tenth of an even one if left out.
        preferences: The preferences themselves, in the place of ``points`` and ``least``: one number per traded task.
        scaled: Losses count in shares of the constant prediction's loss, so that units do not weigh.
        seeds: Consecutive seeds, from ``train.seed`` on.
        baselines: Also train one network per task.
        reference: Per traded task the value of its primary metric that hypervolumes are measured from; the worst of the
            methods' ends if left out.
        choose: A preference (``"0.3,0.7"``, ``"click=0.3,like=0.7"``, after ``"METHOD:"`` where there are several), or
            ``knee`` or ``best-mean``; if left out, ``best-mean``, or with floors the most for the other tasks.
        floor: Per task the least that its primary metric must reach (the most, where less is better) to be chosen.
    """

    method: Annotated[tuple[BalancerConfig, ...], Field(strict=False, min_length=1)] = (BalancerConfig(use="linear"),)
    tasks: Names = ()
    points: Positive = 11
    least: Annotated[float, Field(ge=0.0)] | None = None
    preferences: Annotated[tuple[tuple[Annotated[float, Field(ge=0.0)], ...], ...], Field(strict=False)] = ()
    scaled: bool = True
    seeds: Positive = 1
    baselines: bool = False
    reference: dict[str, float] = Field(default_factory=dict)
    choose: str | None = None
    floor: dict[str, float] = Field(default_factory=dict)

    @field_validator("method", mode="before")
    @classmethod
    def _tables(cls, parts: object) -> object:
        listed = parts if isinstance(parts, list | tuple) else [parts]
        return [{"use": part} if isinstance(part, str) else part for part in listed]

    @field_validator("preferences", mode="before")
    @classmethod
    def _rows(cls, rows: object) -> object:
        if not isinstance(rows, list | tuple):
            return rows
        return tuple(tuple(row) if isinstance(row, list | tuple) else row for row in rows)


def read_pareto(
    path: Path,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    *,
    allow_code: Sequence[str] = (),
) -> tuple[Config, ParetoConfig]:
    """Reads a configuration with its ``[pareto]`` table.

    Args:
        path: The TOML file.
        overrides: As for `polytask.config.load_config`; they may go into ``pareto`` as well.
        changes: Keys of the table that replace those of the file.
        allow_code: Modules outside polytask whose functions the file may name.

    Raises:
        UserError: With every mistake found.
    """
    return read_with_section(path, SECTION, ParetoConfig, overrides, changes, allow_code=allow_code)


def read_methods(path: Path, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> ParetoConfig:
    """The ``[pareto]`` table alone, without its keys that are wrong; see `read_pareto`."""
    return read_sound_section(path, SECTION, ParetoConfig, overrides, changes)


def parse_pareto(table: object, changes: Mapping[str, Any] | None = None) -> ParetoConfig:
    """Checks the keys of a ``[pareto]`` table; what they name is looked up by `polytask.tradeoffs.checks`.

    Example:
        >>> found = parse_pareto({"method": "pamal", "floor": {"click": 0.74}})
        >>> [part.use for part in found.method], found.points
        (['pamal'], 11)
        >>> parse_pareto({"point": 3})
        Traceback (most recent call last):
        polytask.errors.UserError: pareto.point: unknown key (value 3); did you mean 'points'?
    """
    return parse_section(table, SECTION, ParetoConfig, changes)
