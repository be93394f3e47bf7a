"""How `polytask reproduce` shows the neutral comparison of balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polytask.cli.output import grid
from polytask.reproduce.neutral.table import chosen, overview, per_task

if TYPE_CHECKING:
    from rich.console import Console

    from polytask.reproduce.neutral import NeutralReproduction


def show_neutral(result: NeutralReproduction, target: Console) -> None:
    """Per data set its tasks, then all methods with their ranks, and the verdict."""
    for one in result.measured:
        headings, lines = per_task(one)
        target.print(grid(one.data_set.title, headings, lines, right=headings[1:]))
        target.print(chosen(one), soft_wrap=True, markup=False)
        target.print()
    headings, lines = overview(result)
    target.print(grid(result.experiment.title, headings, lines, right=headings[1:]))
    for sentence in result.verdict:
        target.print(sentence, soft_wrap=True, markup=False)
