"""Labels that contradict their chain: something happened although what must happen before it did not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.checks.bound import BoundTask
from polytask.data.checks.parts import PartBatch
from polytask.data.expressions import parse
from polytask.data.spaces import positive
from polytask.errors import Problem, Severity

TOLERATED = 0.01  # of the rows where a task happened: late or lost records; above, the chain itself is wrong


class ChainScan:
    """Counts, for every task with ``after``, the rows where it happened and its parent is known not to have.

    Args:
        tasks: The tasks.
        schema: The columns of the table.
    """

    def __init__(self, tasks: Sequence[BoundTask], schema: pa.Schema) -> None:
        self._specs = [(task.spec, task.spec.after) for task in tasks if task.spec.after is not None]
        names = schema.names
        self._happened = [parse(positive(spec, names), names) for spec, _ in self._specs]
        self._before = [parse(positive(after, names), names) for _, after in self._specs]
        self._positives = [0] * len(self._specs)
        self._wrong = [0] * len(self._specs)
        self._first = [-1] * len(self._specs)

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the labels."""
        return frozenset(column for label in (*self._happened, *self._before) for column in label.columns)

    def update(self, piece: PartBatch) -> None:
        """Counts some rows."""
        if not self.columns <= set(piece.batch.schema.names):
            return
        for number, (happened, before) in enumerate(zip(self._happened, self._before, strict=True)):
            positives = pc.fill_null(happened.evaluate(piece.batch), False).to_numpy(zero_copy_only=False)
            possible = pc.fill_null(before.evaluate(piece.batch), True).to_numpy(zero_copy_only=False)
            wrong = positives & ~possible
            self._positives[number] += int(np.count_nonzero(positives))
            self._wrong[number] += int(np.count_nonzero(wrong))
            if self._first[number] < 0 and wrong.any():
                self._first[number] = int(piece.rows[wrong][0])

    def problems(self) -> list[Problem]:
        """One per task with such rows: an error above `TOLERATED` of the rows where it happened, else a warning."""
        found = []
        for number, (spec, after) in enumerate(self._specs):
            wrong, positives = self._wrong[number], self._positives[number]
            if not wrong:
                continue
            what = (
                f"{wrong:,} of {positives:,} rows with {spec.task!r} are without {after.task!r}, which must happen "
                f"before it (first: row {self._first[number]})"
            )
            severity: Severity = "error" if wrong > TOLERATED * positives else "warning"
            remedy = "mend the labels, or remove after" if severity == "error" else "they count as not happened"
            found.append(Problem(f"tasks.{spec.task}.after", what, remedy, severity))
        return found
