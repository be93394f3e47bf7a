"""Missing and infinite values in numeric columns, and bad sample weights, counted over all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.checks.bound import BoundTask
from polytask.data.checks.parts import PartBatch
from polytask.errors import Problem

IMPUTED = "median"  # what a missing number becomes unless the column says otherwise


@dataclass(slots=True)
class _Found:
    rows: int = 0
    missing: int = 0
    infinite: int = 0
    first: int = -1  # the first infinite value


class NumericScan:
    """Counts missing (null or NaN) and infinite values per numeric column.

    Args:
        columns: The numeric features.
        impute: Per column, the rule that replaces missing numbers, where it is not the median.
    """

    def __init__(self, columns: frozenset[str], impute: Mapping[str, str] | None = None) -> None:
        self._columns = columns
        self._impute = impute or {}
        self._found: dict[str, _Found] = {column: _Found() for column in sorted(columns)}

    @property
    def columns(self) -> frozenset[str]:
        """The numeric features."""
        return self._columns

    def update(self, piece: PartBatch) -> None:
        """Counts one batch."""
        for name, found in self._found.items():
            if name not in piece.batch.schema.names:
                continue
            column = piece.batch.column(name)
            found.rows += len(column)
            found.missing += column.null_count
            if not pa.types.is_floating(column.type):
                continue
            values = column.to_numpy(zero_copy_only=False)
            infinite = np.isinf(values)
            found.missing += int(np.isnan(values).sum()) - column.null_count
            found.infinite += int(infinite.sum())
            if found.first < 0 and infinite.any():
                found.first = int(piece.rows[infinite][0])

    def problems(self) -> list[Problem]:
        """A warning per column with infinite values, and one note on all columns with missing ones."""
        problems = []
        for name, found in self._found.items():
            if found.infinite:
                what = f"{found.infinite:,} of {found.rows:,} rows are infinite (first: row {found.first})"
                remedy = f"they are replaced by the {self._rule(name)}; clip them if they mean something"
                problems.append(Problem(f"column '{name}'", what, remedy, "warning"))
        gaps = [name for name, found in self._found.items() if found.missing]
        if gaps:
            share = {name: self._found[name].missing / self._found[name].rows for name in gaps}
            listed = ", ".join(
                f"{name} {self._found[name].missing:,} ({share[name]:.1%}, {self._rule(name)})"
                for name in sorted(gaps, key=lambda name: -share[name])
            )
            what = f"{len(gaps)} of {len(self._found)} have missing values, which are imputed: {listed}"
            problems.append(Problem("numeric columns", what, severity="note"))
        return problems

    def _rule(self, name: str) -> str:
        return self._impute.get(name, IMPUTED)


class WeightScan:
    """Negative, missing and infinite sample weights of one task, on the rows that it observes."""

    def __init__(self, task: BoundTask) -> None:
        self._task = task
        self._column = str(task.spec.weight)
        self._rows = 0
        self._total = 0.0
        self._bad = {"negative": 0, "infinite": 0, "missing": 0}
        self._first: dict[str, int] = {}
        self._type: pa.DataType | None = None

    @property
    def columns(self) -> frozenset[str]:
        """The weight column and what label and sample space read."""
        return self._task.columns | {self._column}

    def update(self, piece: PartBatch) -> None:
        """Counts one batch."""
        if not self.columns <= set(piece.batch.schema.names):
            return
        _, _, observed = self._task.observe(piece.batch)
        column = piece.batch.column(self._column)
        self._rows += int(observed.sum())
        if not (
            pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)
        ):
            self._type = column.type
            return
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)[observed]
        rows = piece.rows[observed]
        self._total += float(values[np.isfinite(values)].sum())
        for name, mask in (("negative", values < 0), ("infinite", np.isposinf(values)), ("missing", np.isnan(values))):
            if mask.any():
                self._first.setdefault(name, int(rows[mask][0]))
                self._bad[name] += int(mask.sum())

    def problems(self) -> list[Problem]:
        """An error for negative and for infinite weights, a warning for missing ones."""
        where = f"tasks.{self._task.spec.task}.weight"
        if self._type is not None:
            return [Problem(where, f"column '{self._column}' is of type {self._type}", "weights must be numbers")]
        problems = []
        for name, count in self._bad.items():
            if count:
                rows = f"{count:,} of {self._rows:,} observed rows (first: row {self._first[name]})"
                what = f"weight '{self._column}' is {name} in {rows}"
                remedy = "they count as 0" if name == "missing" else "weights must be finite and at least 0"
                problems.append(Problem(where, what, remedy, "warning" if name == "missing" else "error"))
        if self._rows and self._total == 0.0 and all(problem.severity != "error" for problem in problems):
            what = f"all {self._rows:,} weights in '{self._column}' are 0 or missing"
            problems.append(Problem(where, what, "choose another column"))
        return problems
