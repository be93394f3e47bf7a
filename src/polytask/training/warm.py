"""Warm start: a trained bundle goes on learning from new rows; ids that it has not seen get rows of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch

from polytask.data.columns import CategoricalColumn, ColumnOptions, DatetimeColumn, NumericColumn, SequenceColumn
from polytask.data.preprocessor import Preprocessor
from polytask.data.vocabulary import UNSEEN, HashBuckets, IdSpace, Vocabulary
from polytask.errors import Problem, UserError, raise_errors
from polytask.model import Model
from polytask.serving import Bundle

_TABLE = "encoder.table"
_SHARING = "sharing."


def other_columns(
    old: Preprocessor, roles: Mapping[str, ColumnOptions], columns: Collection[str]
) -> tuple[Problem, ...]:
    """What of the new table's columns is not as when the bundle was trained.

    Args:
        old: The bundle's preprocessing.
        roles: What the configuration makes of the new table.
        columns: Of the new table.

    Returns:
        A warning about features that the bundle does not know.

    Raises:
        UserError: Columns of the bundle are missing.
    """
    known = {column.name for column in old.columns}
    what = "is a feature of the bundle in train.warm_start, and the table lacks it"
    missing = sorted(known - set(columns))
    raise_errors(Problem(f"column '{name}'", what, "add it, or train from scratch") for name in missing)
    new = sorted(name for name, option in roles.items() if option.kind != "drop" and name not in known)
    if not new:
        return ()
    named = ", ".join(new[:5]) + (f" and {len(new) - 5:,} more" if len(new) > 5 else "")
    remedy = "drop them, or train from scratch"
    return (Problem("train.warm_start", f"the bundle does not know {named}: not used", remedy, "warning"),)


def roles_of(old: Preprocessor, roles: Mapping[str, ColumnOptions]) -> dict[str, ColumnOptions]:
    """How new rows must be read, so that they fit the bundle: its columns, in its roles.

    Args:
        old: The bundle's preprocessing.
        roles: What the configuration makes of the new table; its limits on vocabularies hold for new ids.
    """
    spaces = {id(space): name for name, space in old.spaces.items()}
    found: dict[str, ColumnOptions] = {}
    for column in old.columns:
        given = roles.get(column.name, ColumnOptions("drop"))
        if isinstance(column, CategoricalColumn | SequenceColumn):
            limits = ColumnOptions("categorical", min_count=given.min_count, max_vocabulary=given.max_vocabulary)
            hashed = column.space.buckets if isinstance(column.space, HashBuckets) else None
            found[column.name] = replace(limits, vocabulary=spaces[id(column.space)], hash_buckets=hashed)
            if isinstance(column, SequenceColumn):
                found[column.name] = replace(
                    found[column.name],
                    kind="sequence", pooling=column.pooling, target=column.target, separator=column.separator,
                )  # fmt: skip
        elif isinstance(column, NumericColumn):
            found[column.name] = ColumnOptions("numeric", encoding=column.encoder.encoding)
        elif isinstance(column, DatetimeColumn):
            found[column.name] = ColumnOptions("datetime", unit=column.unit)
        else:
            found[column.name] = ColumnOptions("boolean")
    return found


def extended(old: Preprocessor, fresh: Preprocessor) -> Preprocessor:
    """The bundle's preprocessing with the new rows' values added to its vocabularies.

    Scalers, bins, classes and label statistics stay as they were: the weights were trained on their units.

    Args:
        old: The bundle's preprocessing.
        fresh: Fitted on the new rows, read as `roles_of` says.

    Raises:
        UserError: The tasks differ, or a column holds text in one of them and numbers in the other.
    """
    before, now = ([(label.spec.task, label.spec.kind) for label in one.labels] for one in (old, fresh))
    problems = []
    if before != now:
        what = f"the bundle has the tasks {_listed(before)}, the configuration {_listed(now)}"
        problems.append(Problem("train.warm_start", what, "warm starts need the same tasks in the same order"))
    spaces: dict[str, IdSpace] = {}
    for name, space in old.spaces.items():
        other, spaces[name] = fresh.spaces[name], space
        if not isinstance(space, Vocabulary) or not isinstance(other, Vocabulary) or not len(other.values):
            continue
        if space.is_text == other.is_text:
            spaces[name] = space.extended(other)
        else:
            types = ("numbers", "text") if other.is_text else ("text", "numbers")
            what = f"held {types[0]} when the bundle was trained, holds {types[1]} now"
            problems.append(Problem(f"column '{name}'", what, "bring it to the same type"))
    raise_errors(problems)
    renamed = {id(space): spaces[name] for name, space in old.spaces.items()}
    columns = tuple(
        replace(column, space=renamed[id(column.space)])
        if isinstance(column, CategoricalColumn | SequenceColumn)
        else column
        for column in old.columns
    )
    labels = tuple(replace(new, classes=label.classes) for label, new in zip(old.labels, fresh.labels, strict=True))
    return Preprocessor(columns, spaces, labels, old.stats)


def _listed(tasks: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in tasks)


@torch.no_grad()
def start_from(model: Model, preprocessor: Preprocessor, bundle: Bundle) -> tuple[Problem, ...]:
    """Copies the bundle's weights; rows of new ids start as copies of the unseen row of their vocabulary.

    The sharing may have parameters that the bundle's has not, as cross-stitch units on top of networks that were
    trained alone: these stay as they start, and a warning names them. All weights of the bundle must have a place.

    Returns:
        The warning, if there is one.

    Raises:
        UserError: The architectures differ in anything else.
    """
    old, new = bundle.model.state_dict(), model.state_dict()
    added = sorted(name for name in new.keys() - old.keys() if name.startswith(_SHARING))
    other = sorted(
        name
        for name in (old.keys() | new.keys()) - set(added)
        if name not in old or name not in new or old[name].shape[name == _TABLE :] != new[name].shape[name == _TABLE :]
    )
    if other:
        what = f"the bundle's architecture differs ({', '.join(other[:5])}{', ...' if len(other) > 5 else ''})"
        raise UserError(
            Problem("train.warm_start", what, "use encoder, sharing and towers of the bundle's config.toml")
        )
    if _TABLE in new:
        before, after = bundle.preprocessor.space_rows(), preprocessor.space_rows()
        for name, (start, rows) in after.items():
            source, known = before[name]
            new[_TABLE][start : start + known] = old[_TABLE][source : source + known]
            new[_TABLE][start + known : start + rows] = old[_TABLE][source + UNSEEN]
        old = {**old, _TABLE: new[_TABLE]}
    model.load_state_dict({**old, **{name: new[name] for name in added}})
    if not added:
        return ()
    named = ", ".join(added[:5]) + (f" and {len(added) - 5:,} more" if len(added) > 5 else "")
    return (Problem("train.warm_start", f"the bundle has no {named}", "they start afresh", "warning"),)
