"""From folders and files to one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polytask.files import whole_file
from polytask.reporting.files import Gaps
from polytask.reporting.page import Page, render
from polytask.reporting.runs import read_run
from polytask.reporting.sections.headline import headline
from polytask.reporting.sections.learning import learning
from polytask.reporting.sections.reproduction import reproduction
from polytask.reporting.sections.scores import scores


def write_report(paths: Sequence[Path], out: Path, *, refresh: float | None = None) -> Path:
    """Writes one HTML file that holds everything it needs.

    Args:
        paths: Folders.
        out: The file.
        refresh: Seconds.

    Returns:
        ``out``.
    """
    gaps = Gaps()
    runs = [read_run(path, gaps, curves=len(paths)) for path in paths]
    title, verdict, tiles = headline(runs)
    sections = [make(runs, gaps) for make in (scores, learning, reproduction)]
    with whole_file(out) as partial:
        partial.write_text(
            render(Page(title, verdict, [tiles] if tiles else [], sections, gaps.found), refresh=refresh),
            encoding="utf-8",
        )
    return out
