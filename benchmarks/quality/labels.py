"""The labels of one part in memory, and the units that a bootstrap draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask.training.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Labels:
    """What happened in the rows of one part.

    Attributes:
        tasks: The tasks' names.
        positive: ``[tasks, rows]``.
        observed: ``[tasks, rows]``; rows that count for the task.
        units: Per row the number of its user (or other group), from 0 without gaps; the row's own number where the
            tasks share no group column.
        unit: What a unit is, for the reader: ``"user_id"`` or ``"row"``.
    """

    tasks: tuple[str, ...]
    positive: NDArray[np.bool_]
    observed: NDArray[np.bool_]
    units: NDArray[np.int64]
    unit: str

    @property
    def rows(self) -> int:
        """Rows of the part."""
        return int(self.positive.shape[1])

    def rates(self) -> dict[str, float]:
        """Per task, the share of positives among its observed rows."""
        known = self.observed.sum(axis=1)
        found = (self.positive & self.observed).sum(axis=1)
        return dict(zip(self.tasks, (found / np.maximum(known, 1)).tolist(), strict=True))


def read_labels(prepared: Prepared, part: str) -> Labels:
    """Reads labels and groups of a part, in the order of the table."""
    preprocessor = replace(prepared.preprocessor, columns=())
    groups = {label.spec.group for label in preprocessor.labels}
    shared = groups.pop() if len(groups) == 1 else None
    blocks = [
        preprocessor.encode(batch, labels=True) for batch in prepared.parts[part].scan(preprocessor.label_columns())
    ]
    positive = np.concatenate([block.labels > 0.5 for block in blocks], axis=1)
    observed = np.concatenate([block.observed for block in blocks], axis=1)
    units = np.arange(positive.shape[1])
    if shared:
        units = np.unique(np.concatenate([block.groups[shared] for block in blocks]), return_inverse=True)[1]
    return Labels(preprocessor.tasks, positive, observed, units.astype(np.int64), shared or "row")
