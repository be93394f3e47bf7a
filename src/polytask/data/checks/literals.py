"""Values that a label or sample space compares a column with, and that the column never holds: most often a typo."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.checks.bound import BoundTask
from polytask.data.checks.columns import family
from polytask.data.checks.parts import PartBatch
from polytask.data.expressions import Expression
from polytask.errors import Problem, suggest

_KNOWN = 2_000  # distinct values kept per column for suggestions


class LiteralScan:
    """Looks for every literal of every expression in the column that it is compared with.

    Args:
        tasks: The tasks.
        schema: Only columns of text, integers and booleans are looked at: an exact match of a float proves nothing.
    """

    def __init__(self, tasks: Sequence[BoundTask], schema: pa.Schema) -> None:
        self._rows = 0
        self._wanted: list[tuple[str, str, str | int | float | bool]] = []
        for task in tasks:
            for key, expression in (("label", task.label), ("where", task.where)):
                self._wanted += [
                    (f"tasks.{task.spec.task}.{key}", column, value)
                    for column, values in _literals(expression).items()
                    if family(schema.field(column).type) in ("text", "integers", "booleans")
                    for value in values
                ]
        self._seen: dict[str, dict[object, None]] = {column: {} for _, column, _ in self._wanted}
        self._full: set[str] = set()

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are compared with a literal."""
        return frozenset(self._seen)

    def update(self, piece: PartBatch) -> None:
        """Notes the distinct values of one batch."""
        self._rows += len(piece.rows)
        for column, seen in self._seen.items():
            if column in self._full or column not in piece.batch.schema.names:
                continue
            array = piece.batch.column(column)
            values = (
                array.dictionary.take(pc.unique(array.indices).drop_null())
                if pa.types.is_dictionary(array.type)
                else pc.unique(array)
            )
            seen.update(dict.fromkeys(values.to_pylist()))
            if len(seen) > _KNOWN:
                self._full.add(column)

    def problems(self) -> list[Problem]:
        """A warning per literal that never occurs; columns with very many values are not judged."""
        return [
            Problem(
                where,
                f"column '{column}' never holds {value!r} in {self._rows:,} rows",
                suggest(str(value), sorted({str(one) for one in self._seen[column] if one is not None})),
                "warning",
            )
            for where, column, value in dict.fromkeys(self._wanted)
            if column not in self._full and value not in self._seen[column]
        ]


def _literals(expression: Expression | None) -> dict[str, tuple[str | int | float | bool, ...]]:
    return expression.literals_by_column() if expression is not None else {}
