"""What `check` and `train` do before any training: the file, its parts, and the data, all mistakes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.config import Config, apply_overrides, component_problems, load_config, parse_config, read_toml
from polytask.errors import Problem, UserError

if TYPE_CHECKING:
    from polytask.data.checks import DataReport
    from polytask.tables import Tables


@dataclass(frozen=True, slots=True)
class Inspection:
    """A configuration and what was found about it.

    Attributes:
        config: The configuration.
        tables: The open tables; ``None`` where they could not be opened.
        report: What the data checks found; ``None`` likewise.
        problems: Everything, errors first.
    """

    config: Config
    tables: Tables | None
    report: DataReport | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop a run."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def _data_alone(table: Mapping[str, Any], path: Path, problems: Sequence[Problem]) -> Config:
    """The configuration without the tables that say nothing of the data, whose mistakes must not hide those in it.

    Raises:
        UserError: With ``problems``: the mistakes lie in what the data are read by.
    """
    kept = {name: table[name] for name in ("data", "features", "tasks") if name in table}
    try:
        return parse_config(kept, relative_to=path.parent, components=False)
    except UserError:
        raise UserError(problems) from None


def errors_in(path: Path, overrides: Sequence[str] = (), allow_code: Sequence[str] = ()) -> Sequence[Problem]:
    """Everything that stops a run, also where the file itself is wrong."""
    try:
        return inspect_config(path, overrides, allow_code).errors
    except UserError as error:
        return error.problems


def load_whole(path: Path, overrides: Sequence[str] = (), allow_code: Sequence[str] = ()) -> Config:
    """The configuration.

    Raises:
        UserError: With every mistake, also those in the data: one message should name them all.
    """
    try:
        return load_config(path, overrides, allow_code=allow_code)
    except UserError:
        raise UserError(inspect_config(path, overrides, allow_code).errors) from None


def inspect_config(path: Path, overrides: Sequence[str] = (), allow_code: Sequence[str] = ()) -> Inspection:
    """Reads a file and looks at everything that it names.

    Raises:
        UserError: The file itself is wrong, so that nothing that it names can be looked at.
    """
    from polytask.cli.trial import trial_problems
    from polytask.tables import open_tables, report_on

    table = read_toml(path)
    wrong: list[Problem] = []
    try:
        apply_overrides(table, overrides)
    except UserError as error:
        wrong += error.problems
    options, whole = wrong + component_problems(table, allow_code), True
    try:
        config = parse_config(table, relative_to=path.parent, allow_code=allow_code, components=False)
    except UserError as error:
        options, whole = [*error.problems, *options], False
        config = _data_alone(table, path, options)
    try:
        tables = open_tables(config)
    except UserError as error:
        return Inspection(config, None, None, (*options, *error.problems))
    report = report_on(config, tables)
    # warnings depend on batch size and balancer, which are not known where their tables are wrong
    found = [one for one in (*report.problems, *tables.problems) if whole or one.severity == "error"]
    if not options and all(one.severity != "error" for one in found):
        options += trial_problems(config, tables)
    return Inspection(config, tables, report, (*options, *found))
