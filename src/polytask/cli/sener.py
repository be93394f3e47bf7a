"""How `polytask reproduce` shows the tables of Sener and Koltun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polytask.cli.output import grid
from polytask.reproduce.sener.table import claim_lines, group_lines

if TYPE_CHECKING:
    from rich.console import Console

    from polytask.reproduce.sener import SenerReproduction


def show_sener(result: SenerReproduction, target: Console) -> None:
    """Per data set a table with the published figures, and the claims."""
    for found in result.groups:
        headings, lines = group_lines(result, found)
        title = f"{found.group.title}: {result.experiment.seeds} seeds, test parts, percent"
        target.print(grid(title, headings, lines, right=headings[1:]))
        if found.skipped:
            target.print(f"skipped: {found.skipped}", soft_wrap=True, markup=False)
        else:
            headings, lines = claim_lines(result, found)
            target.print()
            target.print(grid("claims of the paper", headings, lines, right=[headings[3]]))
        target.print()
    target.print(f"paper: {result.expected.source}", soft_wrap=True, markup=False)
