"""What a check that needs all rows looks like: it names its columns, sees every batch once, and reports at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from polytask.data.checks.parts import PartBatch, Parts
from polytask.errors import Problem


class Scan(Protocol):
    """A check over all rows; several share one pass."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns it reads."""

    def update(self, piece: PartBatch) -> None:
        """Sees some rows of one part."""

    def problems(self) -> list[Problem]:
        """What was found."""


def run_scans(parts: Parts, scans: Sequence[Scan]) -> list[Problem]:
    """One pass over all rows for all checks."""
    columns = sorted({column for scan in scans for column in scan.columns})
    for piece in parts.scan(columns):
        for scan in scans:
            scan.update(piece)
    return [problem for scan in scans for problem in scan.problems()]
