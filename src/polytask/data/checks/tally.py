"""Counts of one task's labels, per part: the numbers behind the label checks and the table of `polytask check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.checks.bound import BoolArray, BoundTask
from polytask.data.checks.parts import PartBatch, PartName
from polytask.errors import Problem

Value = str | int | float | bool
MAX_VALUES = 20_000  # distinct label values counted one by one; beyond that a label is no set of classes


@dataclass(slots=True)
class LabelTally:
    """What was seen of one task's label in one part.

    Attributes:
        rows: Rows of the part.
        in_space: Rows of the task's sample space.
        observed: Those with a label.
        counts: Rows per distinct value, unless there are more than `MAX_VALUES` (then `overflow`).
        first: The table row of each value's first occurrence.
        overflow: There were more distinct values than are counted.
        infinite: Rows with an infinite label, and the first of them.
        total: Sum of finite numeric labels.
        squares: Sum of their squares.
        minimum: Smallest finite label.
        maximum: Largest finite label.
        text: The label is text.
    """

    rows: int = 0
    in_space: int = 0
    observed: int = 0
    counts: dict[Value, int] = field(default_factory=dict)
    first: dict[Value, int] = field(default_factory=dict)
    overflow: bool = False
    infinite: int = 0
    first_infinite: int = -1
    total: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf
    text: bool = False

    @property
    def mean(self) -> float:
        """Mean of the finite numeric labels, NaN without any."""
        finite = self.observed - self.infinite
        return self.total / finite if finite and not self.text else float("nan")

    @property
    def variance(self) -> float:
        """Their variance."""
        finite = self.observed - self.infinite
        return max(self.squares / finite - self.mean**2, 0.0) if finite and not self.text else float("nan")

    def rate(self, value: Value) -> float:
        """Share of the observed rows with this value."""
        return self.counts.get(value, 0) / self.observed if self.observed else float("nan")

    def add(self, labels: pa.Array, space: BoolArray, observed: BoolArray, rows: np.ndarray) -> None:
        """Counts one batch."""
        self.rows += len(labels)
        self.in_space += int(space.sum())
        self.observed += int(observed.sum())
        labels, rows = labels.filter(pa.array(observed)), rows[observed]
        self.text = self.text or pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type)
        if not self.text and len(labels):
            self._add_numbers(labels, rows)
        if not self.overflow:
            self._add_values(labels, rows)

    def _add_numbers(self, labels: pa.Array, rows: np.ndarray) -> None:
        if pa.types.is_boolean(labels.type):
            labels = labels.cast(pa.uint8())
        if pa.types.is_temporal(labels.type):
            labels = labels.cast(pa.int64()) if labels.type.bit_width == 64 else labels.cast(pa.int32())
        values = labels.to_numpy(zero_copy_only=False).astype(np.float64)
        finite = np.isfinite(values)
        if not finite.all():
            self.first_infinite = int(rows[~finite][0]) if not self.infinite else self.first_infinite
            self.infinite += int((~finite).sum())
            values = values[finite]
        if len(values):
            self.total += float(values.sum())
            self.squares += float(np.square(values).sum())
            self.minimum = min(self.minimum, float(values.min()))
            self.maximum = max(self.maximum, float(values.max()))

    def _add_values(self, labels: pa.Array, rows: np.ndarray) -> None:
        for entry in pc.value_counts(labels).to_pylist():
            value, count = entry["values"], entry["counts"]
            if value not in self.counts:
                if len(self.counts) >= MAX_VALUES:
                    self.overflow = True
                    return
                self.first[value] = (
                    int(rows[pc.index(labels, pa.scalar(value, labels.type)).as_py()]) if len(self.counts) < 64 else -1
                )
            self.counts[value] = self.counts.get(value, 0) + count


class LabelScan:
    """Tallies every task in every part in one pass."""

    def __init__(self, tasks: tuple[BoundTask, ...]) -> None:
        self._tasks = tasks
        self._tallies: dict[str, dict[PartName, LabelTally]] = {task.spec.task: {} for task in tasks}

    @property
    def columns(self) -> frozenset[str]:
        """All columns that labels and sample spaces read."""
        return frozenset().union(*(task.columns for task in self._tasks))

    @property
    def tallies(self) -> Mapping[str, Mapping[PartName, LabelTally]]:
        """Per task, per part."""
        return MappingProxyType(self._tallies)

    def update(self, piece: PartBatch) -> None:
        """Counts the labels of some rows."""
        for task in self._tasks:
            if task.columns <= set(piece.batch.schema.names):
                tally = self._tallies[task.spec.task].setdefault(piece.part, LabelTally())
                tally.add(*task.observe(piece.batch), piece.rows)

    def problems(self) -> list[Problem]:
        """None of its own: `polytask.data.checks.labels` judges the tallies."""
        return []
