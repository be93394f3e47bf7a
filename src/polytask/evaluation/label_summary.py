"""What the labels of a table look like to training: how many are known, what they are, how they go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.checks.parts import PartName, Parts
from polytask.data.labels import LabelEncoder
from polytask.data.parts import Part
from polytask.types import TaskName

Floats = npt.NDArray[np.float64]
MOST_ROWS, MOST_CLASSES = 2_000_000, 50


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """The labels of one task; numbers of rows are those of whole parts, estimated where not all rows were read.

    Attributes:
        kind: The task's kind.
        observed: Per part, rows with a known label inside the sample space.
        mean: Per part, the mean label, of binary tasks the positive rate; NaN without rows and for classes.
        std: Standard deviation in the training part; NaN for classes.
        classes: Rows of the training part per class, the 50 largest; None for labels that are numbers.
    """

    kind: str
    observed: Mapping[PartName, int]
    mean: Mapping[PartName, float]
    std: float
    classes: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class LabelsSummary:
    """The labels of all tasks.

    Attributes:
        share: Share of the rows that were read.
        labels: Per task.
        overlap: Share of the training rows where the labels of both tasks are known.
        correlation: Pearson correlation over the training rows where both are known; NaN where it is undefined, as for
            classes without an order.
    """

    share: float
    labels: Mapping[TaskName, LabelSummary]
    overlap: tuple[tuple[float, ...], ...]
    correlation: tuple[tuple[float, ...], ...]


def summarize_labels(
    parts: Mapping[str, Part], labels: Sequence[LabelEncoder], rows: Mapping[str, int]
) -> LabelsSummary:
    """One pass over the columns of the labels; memory does not grow with the rows.

    Args:
        parts: The parts of the data.
        labels: The tasks' fitted labels.
        rows: Rows per part. Of tables with more than 2,000,000 rows in all, rows from all over them are read.
    """
    tables = Parts(parts)
    columns = list(dict.fromkeys(column for label in labels for column in label.columns))
    share = min(1.0, MOST_ROWS / max(tables.rows, 1))
    sums: dict[PartName, _Sums] = {}
    for piece in tables.scan(columns, share=share):
        sums.setdefault(piece.part, _Sums(labels)).update(piece.batch)
    found = {
        label.spec.task: _summary(
            number, label, sums, {name: rows[name] / max(one.rows, 1) for name, one in sums.items()}
        )
        for number, label in enumerate(labels)
    }
    train = sums.get("train", _Sums(labels))
    named = [number for number, label in enumerate(labels) if label.spec.kind == "multiclass"]
    correlation = train.correlation()
    correlation[named] = correlation[:, named] = np.nan
    return LabelsSummary(share, found, _square(train.both / max(train.rows, 1)), _square(correlation))


class _Sums:
    """Sums over the rows of one part."""

    def __init__(self, labels: Sequence[LabelEncoder]) -> None:
        tasks = len(labels)
        self._labels = labels
        self.rows = 0
        self.both = np.zeros((tasks, tasks))  # rows where both are known
        self._first = np.zeros((tasks, tasks))  # of those rows, the sum of the label of the first task
        self._squares, self._products = np.zeros((tasks, tasks)), np.zeros((tasks, tasks))
        self._shift: Floats | None = None
        self.classes = [np.zeros(0, np.int64) for _ in labels]

    def update(self, batch: pa.RecordBatch) -> None:
        """Adds some rows."""
        encoded = [label.encode(batch) for label in self._labels]
        values = np.stack([one[0] for one in encoded]).astype(np.float64)
        known = np.stack([one[1] for one in encoded]).astype(np.float64)
        if self._shift is None:  # squares of large numbers would lose the spread around their mean
            self._shift = (values * known).sum(1) / np.maximum(known.sum(1), 1.0)
        shifted = (values - self._shift[:, None]) * known
        self.rows += len(batch)
        self.both += known @ known.T
        self._first += shifted @ known.T
        self._squares += np.square(shifted) @ known.T
        self._products += shifted @ shifted.T
        for number, (label, (codes, observed, _)) in enumerate(zip(self._labels, encoded, strict=True)):
            if _has_classes(label):
                counts = np.bincount(codes[observed].astype(np.int64), minlength=len(self.classes[number]))
                counts[: len(self.classes[number])] += self.classes[number]
                self.classes[number] = counts

    def observed(self, task: int) -> float:
        """Rows with a known label."""
        return float(self.both[task, task])

    def mean(self, task: int) -> float:
        """Mean label."""
        if self._shift is None or not self.observed(task):
            return float("nan")
        return float(self._shift[task] + self._first[task, task] / self.observed(task))

    def std(self, task: int) -> float:
        """Standard deviation."""
        if not self.observed(task):
            return float("nan")
        mean = self._first[task, task] / self.observed(task)
        return float(np.sqrt(max(self._squares[task, task] / self.observed(task) - mean**2, 0.0)))

    def correlation(self) -> Floats:
        """Pearson correlation of all pairs."""
        with np.errstate(invalid="ignore", divide="ignore"):
            first, second = self._first / self.both, self._first.T / self.both
            variances = self._squares / self.both - first**2
            # what rounding leaves of a constant is no variance
            variances[variances <= 1e-12 * self._squares / self.both] = np.nan
            found = (self._products / self.both - first * second) / np.sqrt(variances * variances.T)
        return np.clip(found, -1.0, 1.0)


def _summary(
    number: int, label: LabelEncoder, sums: Mapping[PartName, _Sums], scale: Mapping[PartName, float]
) -> LabelSummary:
    numeric = label.spec.kind != "multiclass"
    observed = {name: round(one.observed(number) * scale[name]) for name, one in sums.items()}
    mean = {name: one.mean(number) if numeric else float("nan") for name, one in sums.items()}
    train = sums.get("train")
    std = train.std(number) if train is not None and numeric else float("nan")
    classes = None
    if _has_classes(label) and train is not None:
        counts = train.classes[number]
        largest = sorted(np.argsort(-counts, kind="stable")[:MOST_CLASSES].tolist())
        names = label.classes or tuple(range(len(counts)))
        classes = {str(names[code]): round(int(counts[code]) * scale["train"]) for code in largest}
    return LabelSummary(label.spec.kind, observed, mean, std, classes)


def _has_classes(label: LabelEncoder) -> bool:
    return label.spec.kind in ("binary", "multiclass", "ordinal")


def _square(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))
