"""Everything that a run needs before its first step: fitted preprocessing and one reader per part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from polytask.data.fitting import Progress, count_rows, fit
from polytask.data.parts import Part
from polytask.data.preprocessor import Preprocessor
from polytask.data.reader import Reader
from polytask.errors import Problem, UserError
from polytask.specs import TaskName
from polytask.tables import Tables


@dataclass(frozen=True)
class Prepared:
    """Fitted preprocessing, and how many rows of each part lie in each fragment.

    Attributes:
        parts: The parts of the data.
        preprocessor: Fitted on the training part.
        rows: Per part, its rows per fragment.
        buffer: Rows of the shuffle buffer.
    """

    parts: Mapping[str, Part]
    preprocessor: Preprocessor
    rows: Mapping[str, npt.NDArray[np.int64]]
    buffer: int

    def reader(self, part: str) -> Reader:
        """Encoded batches of one part."""
        return Reader(self.parts[part], self.preprocessor, self.rows[part], buffer=self.buffer)

    @property
    def part_rows(self) -> dict[str, int]:
        """Rows per part."""
        return {name: int(count.sum()) for name, count in self.rows.items()}

    def only(self, *tasks: TaskName) -> Prepared:
        """The same features and rows with the labels of some tasks."""
        labels = tuple(label for label in self.preprocessor.labels if label.spec.task in tasks)
        return replace(self, preprocessor=replace(self.preprocessor, labels=labels))


def prepare(
    tables: Tables, *, buffer: int, progress: Progress | None = None, preprocessor: Preprocessor | None = None
) -> Prepared:
    """Fits the preprocessing, or takes a fitted one, and counts the rows of all parts.

    Args:
        tables: The open tables.
        buffer: Rows of the shuffle buffer.
        progress: Called with rows as the training part is read.
        preprocessor: Fitted before; nothing is learned from these rows then.

    Raises:
        UserError: A part has no rows, or columns do not fit their roles.
    """
    parts = tables.parts
    if preprocessor is None:
        fitted = fit(parts["train"], tables.roles, tables.labels, progress=progress)
        preprocessor, train_rows = fitted.preprocessor, fitted.fragment_rows
    else:
        preprocessor.check(tables.train.schema, labels=True)
        train_rows = count_rows(parts["train"])
    rows = {name: train_rows if name == "train" else count_rows(part) for name, part in parts.items()}
    empty = [
        Problem(f"{name} part", "has no rows", "check the split or the file") for name in rows if not rows[name].sum()
    ]
    if empty:
        raise UserError(empty)
    return Prepared(parts, preprocessor, rows, buffer)
