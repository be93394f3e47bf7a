"""From a configuration to open tables: the three parts, and how each column is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from polytask.config import Config, SplitConfig, simulator_name, source_kind
from polytask.data import named, simulators
from polytask.data.checks import CheckSettings, DataReport, check_data
from polytask.data.columns import ColumnOptions
from polytask.data.parts import PARTS, TEST, TRAIN, VALIDATION, Part
from polytask.data.sources import TableSource, open_source
from polytask.data.splits import SplitSpec, fit_split
from polytask.errors import Problem, UserError, raise_errors, suggest
from polytask.roles import Known, Roles, choose_roles
from polytask.specs import LabelSpec


@dataclass(frozen=True)
class Tables:
    """Open tables, and what is known of their columns before any pass over them.

    Attributes:
        parts: ``train``, ``validation`` and, where there is one, ``test``.
        roles: Per column its options; columns with ``kind="drop"`` are no features.
        reasons: Per column why it has its role.
        labels: The tasks' labels.
        keys: Columns that predictions pass through.
        problems: Warnings from opening the tables.
    """

    parts: Mapping[str, Part]
    roles: Mapping[str, ColumnOptions]
    reasons: Mapping[str, str]
    labels: tuple[LabelSpec, ...]
    keys: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def train(self) -> TableSource:
        """The table of the training rows."""
        return self.parts["train"].source


def open_tables(config: Config, data: Any = None, *, validation: Any = None, test: Any = None) -> Tables:
    """Opens everything that a configuration names.

    Args:
        config: What to open.
        data: A table in memory in place of ``data.source``; ``validation`` and ``test`` likewise.
        validation: See ``data``.
        test: See ``data``.

    Raises:
        UserError: Tables cannot be opened or divided, or columns that the configuration names do not exist; all at
            once.

    Example:
        >>> from polytask.config import parse_config
        >>> config = parse_config({"data": {"source": "."}, "tasks": {"buy": {"kind": "binary", "label": "buy"}}})
        >>> tables = open_tables(config, {"age": [31, 52, 47] * 40, "buy": [0, 1, 0] * 40})
        >>> list(tables.parts), {name: role.kind for name, role in tables.roles.items()}
        (['train', 'validation', 'test'], {'age': 'categorical', 'buy': 'drop'})
    """
    prepared = _prepared(config) if data is None else None
    problems: list[Problem] = []
    sources = _open(config, {"train": data, "validation": validation, "test": test}, prepared, problems)
    if "train" not in sources:
        raise UserError(problems)
    labels = config.labels()
    keys = config.data.keys or (prepared.keys if prepared is not None else ())
    known = Known(prepared.kinds, prepared.dropped) if prepared is not None else Known()
    roles, parts = Roles({}, {}), {}
    try:
        roles = choose_roles(config, sources["train"], labels, keys, known)
    except UserError as error:
        problems += error.problems
    try:
        parts = _divide(config.data.split, sources, problems)
    except UserError as error:
        absent = any(problem.where == "data.split.column" for problem in problems)  # said already, of the configuration
        problems += [problem for problem in error.problems if not (absent and problem.where == "split.column")]
    if config.train.segment is not None:
        for source in sources.values():
            problems += _segment_problems(config.train.segment, source.schema)
    for source in dict.fromkeys(sources.values()):
        problems += source.problems
    found = raise_errors(dict.fromkeys(problems))
    return Tables(parts, roles.options, roles.reasons, labels, tuple(keys), found)


def _prepared(config: Config) -> named.PreparedDataset | None:
    """The named or simulated data set that the configuration asks for, converted to files."""
    source = config.data.source
    kind = source_kind(source, config.relative_to) if isinstance(source, str) else "path"
    if kind == "path":
        if config.data.protocol is not None:
            what = f"'{config.data.protocol}' given, but only named data sets have protocols"
            raise UserError(Problem("data.protocol", what, "remove it"))
        return None
    dataset = named.get(str(source)) if kind == "named" else simulators.get(simulator_name(str(source)))()
    prepared = dataset.prepare()
    return prepared if config.data.protocol is None else prepared.under(config.data.protocol)


def _open(
    config: Config, given: Mapping[str, Any], prepared: named.PreparedDataset | None, problems: list[Problem]
) -> dict[str, TableSource]:
    """The tables by part, as far as they can be opened; a given table goes before a file, a file before a data set."""
    base = config.relative_to
    wanted: dict[str, Any] = {}
    if prepared is None:
        wanted["train"] = _placed(config.data.source, base)
    elif config.data.split is None:
        wanted = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
    else:
        wanted["train"] = [prepared.train, prepared.validation, prepared.test]
    files = {"validation": config.data.validation, "test": config.data.test}
    wanted |= {name: _placed(file, base) for name, file in files.items() if file is not None}
    wanted |= {name: table for name, table in given.items() if table is not None}
    opened: dict[str, TableSource] = {}
    for name, table in wanted.items():
        try:
            opened[name] = open_source(table)
        except UserError as error:
            problems += error.problems
    return opened


def _segment_problems(column: str, schema: pa.Schema) -> list[Problem]:
    """What is wrong with a column by whose values rows are to be shown apart."""
    if column not in schema.names:
        return [Problem("train.segment", f"there is no column '{column}'", suggest(column, schema.names))]
    kind = schema.field(column).type
    decimals = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not decimals and not (pa.types.is_nested(kind) and not pa.types.is_dictionary(kind)):
        return []
    what = f"column '{column}' holds {'decimals' if decimals else 'lists'}"
    return [Problem("train.segment", what, "name a column with few values: text, whole numbers, yes or no")]


def _placed(source: str | tuple[str, ...], base: Path) -> str | list[str]:
    return str(base / source) if isinstance(source, str) else [str(base / one) for one in source]


def _divide(split: SplitConfig | None, sources: Mapping[str, TableSource], problems: list[Problem]) -> dict[str, Part]:
    """Tables that are there stand for their part; what is missing is split off the training table."""
    given = {name: Part(sources[name]) for name in PARTS[1:] if name in sources}
    if "validation" in given and (split is None or "test" in given):
        if split is not None:
            what = "is not used: validation and test rows have tables of their own"
            problems.append(Problem("data.split", what, "remove it, or one of the tables", "warning"))
        return {"train": Part(sources["train"]), **given}
    spec = _split_spec(split)
    if spec.by != "column":
        spec = replace(
            spec,
            validation=0.0 if "validation" in given else spec.validation,
            test=0.0 if "test" in given else spec.test,
        )
    fitted = fit_split(spec, sources["train"])
    shares = fitted.counts if spec.by == "column" and fitted.counts else (1.0, spec.validation, spec.test)
    if not shares[VALIDATION] and "validation" not in given:
        what = "no row is left for validation, which decides when to stop"
        problems.append(Problem("data.split", what, "give it a share or values, or name a file in data.validation"))
    codes = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    parts = {name: Part(sources["train"], fitted, code) for name, code in codes.items() if shares[code]}
    parts |= given
    return {name: parts[name] for name in PARTS if name in parts}


def _split_spec(split: SplitConfig | None) -> SplitSpec:
    if split is None:
        return SplitSpec()
    spec = SplitSpec(split.by, split.validation, split.test, split.column, split.seed)
    if split.values is None:
        return spec
    values = split.values
    return replace(spec, train_values=values.train, validation_values=values.validation, test_values=values.test)


def report_on(config: Config, tables: Tables) -> DataReport:
    """What `polytask check` finds in the data of a configuration; not all of it stops anything."""
    settings = CheckSettings(
        batch_size=config.train.batch_size,
        balancer=config.balancer.use,
        unscaled=[name for name, task in config.tasks.items() if task.options.get("scaling") == "none"],
        given=[name for name, option in config.features.items() if option.kind is not None],
    )
    return check_data(tables.parts, tables.labels, tables.roles, settings)
