"""Tasks bound to a table: their expressions parsed, and which rows of a batch they observe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.expressions import Expression, parse
from polytask.data.spaces import sample_space
from polytask.errors import Problem, UserError, suggest
from polytask.specs import LabelSpec

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BoundTask:
    """A task whose expressions fit the table.

    Attributes:
        spec: What the user wrote.
        label: Its label.
        where: Its sample space.
    """

    spec: LabelSpec
    label: Expression
    where: Expression | None

    @property
    def columns(self) -> frozenset[str]:
        """Columns that label and sample space read; never features."""
        return frozenset(self.label.columns) | frozenset(self.where.columns if self.where else ())

    def observe(self, batch: pa.RecordBatch) -> tuple[pa.Array, BoolArray, BoolArray]:
        """Labels, which rows lie in the sample space, and which of those have a label (NaN counts as missing)."""
        labels = _whole(self.label.evaluate(batch))
        if pa.types.is_dictionary(labels.type):
            labels = labels.dictionary_decode()
        space = np.ones(len(batch), bool)
        if self.where is not None:
            inside = pc.fill_null(_whole(self.where.evaluate(batch)), False)
            space = np.asarray(inside.to_numpy(zero_copy_only=False), dtype=bool)
        known = labels.is_valid()
        if pa.types.is_floating(labels.type):
            known = pc.and_(known, pc.invert(pc.fill_null(pc.is_nan(labels), True)))
        return labels, space, space & known.to_numpy(zero_copy_only=False)


def bind_tasks(labels: Sequence[LabelSpec], schema: pa.Schema) -> tuple[list[BoundTask], list[Problem]]:
    """Parses every label and sample space against the columns; tasks with a mistake are reported and left out."""
    bound: list[BoundTask] = []
    problems: list[Problem] = []
    for spec in labels:
        found: list[Problem] = []
        label = _parse(spec.label, schema, f"tasks.{spec.task}.label", found)
        space = sample_space(spec, schema.names)
        where = _parse(space, schema, f"tasks.{spec.task}.where", found) if space else None
        if where is not None and not pa.types.is_boolean(where.type(schema)):
            remedy = f'write a comparison, for example where = "{spec.where} == 1"'
            found.append(Problem(f"tasks.{spec.task}.where", f"{spec.where!r} is not true or false", remedy))
        for key, column in (("weight", spec.weight), ("group", spec.group)):
            if column is not None and column not in schema.names:
                found.append(
                    Problem(f"tasks.{spec.task}.{key}", f"no column '{column}'", suggest(column, schema.names))
                )
        problems += found
        if label is not None and not found:
            bound.append(BoundTask(spec, label, where))
    return bound, problems


def _parse(text: str, schema: pa.Schema, where: str, found: list[Problem]) -> Expression | None:
    try:
        expression = parse(text, schema.names)
        kind = expression.type(schema)
    except UserError as error:
        found += [Problem(where, f"{problem.where}: {problem.what}", problem.remedy) for problem in error.problems]
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        found.append(Problem(where, f"{text!r} holds lists", "a label has one value a row"))
        return None
    return expression


def _whole(values: pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
