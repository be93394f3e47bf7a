"""Too few rows: an empty part, a single training row, a batch larger than the data."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from polytask.data.checks.parts import PARTS, PartBatch, PartName
from polytask.errors import Problem


class RowScan:
    """Counts rows per part.

    Args:
        batch_size: Rows of a training step.
        parts: The parts that there are: one of them without rows stops a run, one that is not meant to be does not.
    """

    def __init__(self, *, batch_size: int, parts: Collection[str] = ()) -> None:
        self._batch_size = batch_size
        self._parts = parts
        self._rows: dict[PartName, int] = dict.fromkeys(PARTS, 0)

    @property
    def columns(self) -> frozenset[str]:
        """None."""
        return frozenset()

    @property
    def rows(self) -> Mapping[PartName, int]:
        """Rows of each part."""
        return self._rows

    def update(self, piece: PartBatch) -> None:
        """Counts one batch."""
        self._rows[piece.part] += len(piece.rows)

    def problems(self) -> list[Problem]:
        """What is too small."""
        train = self._rows["train"]
        problems = []
        if train == 0:
            problems.append(Problem("the train part", "has no rows", "check data.split"))
        elif train == 1:
            problems.append(Problem("the train part", "has one row only", "one row teaches nothing; check data.split"))
        elif train < self._batch_size:
            what = f"{self._batch_size:,} is more than the {train:,} train rows, so that an epoch is a single step"
            smaller = max(1, 1 << max(0, (train // 16).bit_length() - 1))
            problems.append(Problem("train.batch_size", what, f"try train.batch_size = {smaller}", "warning"))
        remedies = {
            "validation": "training cannot stop early or choose its best epoch; enlarge data.split.validation",
            "test": "no test scores will be printed; enlarge data.split.test",
        }
        problems += [
            Problem(f"the {part} part", "has no rows", "check the split or the file")
            if part in self._parts
            else Problem(f"the {part} part", "has no rows", remedies[part], "warning")
            for part in PARTS[1:]
            if train and not self._rows[part]
        ]
        return problems
