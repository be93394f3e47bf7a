"""What several sections say."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.reporting.runs import Run


def why(runs: Sequence[Run], otherwise: str) -> tuple[str, str]:
    """Why a section of ``diagnostics.json`` is missing, and what makes it."""
    if any(run.diagnostics for run in runs):
        return otherwise, ""
    if not runs:
        return "no run is given", "name a run folder"
    return "the run has no diagnostics.json", "polytask train writes it at the end (train.diagnostics = true)"
