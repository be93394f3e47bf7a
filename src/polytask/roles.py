"""What each column of the training table becomes: what the configuration says, what is known, what the values tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from polytask.config import Config, FeatureOptions
from polytask.data.checks import Parts
from polytask.data.columns import ColumnOptions
from polytask.data.expressions import parse
from polytask.data.inference import RoleGuess, infer_roles
from polytask.data.labels import LabelEncoder
from polytask.data.parts import Part
from polytask.data.readings import epoch_unit
from polytask.data.sources import TableSource
from polytask.errors import Problem, UserError, suggest
from polytask.specs import LabelSpec

_SAMPLE_ROWS = 32_768


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a named data set before looking at it.

    Attributes:
        kinds: Per feature column its role.
        dropped: Columns that must not become features, each with the reason.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of all columns.

    Attributes:
        options: Per column how it is encoded; ``kind="drop"`` is not read as a feature.
        reasons: Per column why.
    """

    options: Mapping[str, ColumnOptions]
    reasons: Mapping[str, str]


def choose_roles(
    config: Config, source: TableSource, labels: Sequence[LabelSpec], keys: Sequence[str], known: Known
) -> Roles:
    """Decides for every column; what the configuration says goes before what is known, and that before the values.

    Raises:
        UserError: Columns that the configuration names do not exist, or expressions cannot be read; all at once.
    """
    names = tuple(source.schema.names)
    asked = {name: option for name, option in config.features.items() if name != "defaults"}
    problems = _missing(config, names, asked, keys)
    taken = _ranked_by(config, names, problems) | _taken(labels, names, problems)
    if problems:
        raise UserError(problems)
    dropped = _dropped(config, keys, known) | taken
    insisted = {name for name, option in asked.items() if option.kind is not None}
    judged = [name for name in names if name not in dropped or name in insisted]
    sample = Parts({"train": Part(source)}).sample(judged, _SAMPLE_ROWS)["train"] if judged else pa.table({})
    guesses = infer_roles(source.schema, sample, rows=source.rows, skip=set(names) - set(judged))
    options, reasons = {}, {}
    for name in names:
        if name in guesses:
            column = sample.column(name)
            options[name], reasons[name] = _role(config, name, guesses[name], known.kinds.get(name), column)
        else:
            options[name], reasons[name] = ColumnOptions("drop"), dropped[name]
    return Roles(options, reasons)


def _missing(
    config: Config, names: Sequence[str], asked: Mapping[str, FeatureOptions], keys: Sequence[str]
) -> list[Problem]:
    wanted = [(f"features.{name}", name) for name in asked]
    wanted += [
        (f"features.{name}.target", option.target) for name, option in asked.items() if option.target is not None
    ]
    wanted += [("data.drop", name) for name in config.data.drop] + [("data.keys", name) for name in keys]
    if config.data.split is not None and config.data.split.column is not None:
        wanted.append(("data.split.column", config.data.split.column))
    return [
        Problem(where, f"column '{name}' does not exist", suggest(name, names))
        for where, name in wanted
        if name not in names
    ]


def _dropped(config: Config, keys: Sequence[str], known: Known) -> dict[str, str]:
    split = config.data.split
    dropped = dict.fromkeys(config.data.drop, "data.drop") | dict(known.dropped)
    if split is not None and split.by == "column" and split.column is not None:
        dropped.setdefault(split.column, "says which part a row belongs to")
    return dropped | {name: "key" for name in keys if name not in known.kinds}


def _taken(labels: Sequence[LabelSpec], names: tuple[str, ...], problems: list[Problem]) -> dict[str, str]:
    """Columns that define a task, which features must not read."""
    taken: dict[str, str] = {}
    for label in labels:
        encoder = LabelEncoder(label, names, label.classes)
        own = _read_by(encoder, lambda one: one.label_columns, problems)
        space = _read_by(encoder, lambda one: one.space_columns, problems)
        taken |= dict.fromkeys(own, f"label of {label.task}")
        taken = dict.fromkeys((name for name in space if name not in own), f"sample space of {label.task}") | taken
        for key, column in (("weight", label.weight), ("group", label.group)):
            if column is not None and column not in names:
                what = f"column '{column}' does not exist"
                problems.append(Problem(f"tasks.{label.task}.{key}", what, suggest(column, names)))
        if label.weight is not None:
            taken.setdefault(label.weight, f"sample weight of {label.task}")
    return taken


def _ranked_by(config: Config, names: tuple[str, ...], problems: list[Problem]) -> dict[str, str]:
    """Columns that the fused score is fitted to: known only afterwards, as labels are."""
    fusion = config.fusion
    if fusion is None:
        return {}
    if fusion.group not in names:
        problems.append(
            Problem("fusion.group", f"column '{fusion.group}' does not exist", suggest(fusion.group, names))
        )
    if fusion.value in config.tasks or fusion.value.removesuffix("_joint") in config.tasks:
        return {}
    try:
        return dict.fromkeys(parse(fusion.value, names).columns, "value of the fused score")
    except UserError as error:
        problems += [Problem(f"fusion.value: {found.where}", found.what, found.remedy) for found in error.problems]
        return {}


def _read_by(
    encoder: LabelEncoder, columns: Callable[[LabelEncoder], tuple[str, ...]], problems: list[Problem]
) -> tuple[str, ...]:
    """The columns of an expression; none where it is wrong, which is noted."""
    try:
        return columns(encoder)
    except UserError as error:
        place = f"tasks.{encoder.spec.task}"
        problems += [Problem(f"{place}: {found.where}", found.what, found.remedy) for found in error.problems]
        return ()


def _role(
    config: Config, name: str, guess: RoleGuess, hint: str | None, sample: pa.ChunkedArray
) -> tuple[ColumnOptions, str]:
    own = config.features.get(name, FeatureOptions())
    options = config.feature(name).model_dump(exclude_none=True)
    if own.kind is not None:
        reason = "asked for"
    elif own.separator is not None:
        options["kind"], reason = "sequence", "has a separator"
    elif own.unit is not None:
        options["kind"], reason = "datetime", "has a unit"
    else:
        options["kind"], reason = hint or guess.kind, "known of this data set" if hint else guess.reason
    limits = {"hash_buckets", "max_vocabulary", "min_count"}
    if options["kind"] == "categorical" and not hint and not options.keys() & limits:
        options["hash_buckets"] = guess.hash_buckets
    counts = pa.types.is_integer(sample.type) or pa.types.is_floating(sample.type)
    if options["kind"] == "datetime" and counts and own.unit is None:
        options["unit"] = guess.unit or epoch_unit(sample)
    return ColumnOptions(**options), reason
