"""How `polytask reproduce` shows the Census-Income tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from polytask.cli.output import grid
from polytask.reproduce.census.figure import TITLES

if TYPE_CHECKING:
    from rich.console import Console

    from polytask.reproduce.census import CensusReproduction
    from polytask.reproduce.census.experiment import Group
    from polytask.reproduce.census.measured import Measured, TaskAuc


def show_census(result: CensusReproduction, target: Console) -> None:
    """A table per group, published figures beside those measured."""
    for group in result.experiment.groups:
        target.print(group_table(result, group))
        target.print()
    notes = [row for row in result.expected.published if row.note]
    for row in notes:
        target.print(f"* {TITLES[row.method]}: {row.note}", soft_wrap=True)
    for key, source in result.expected.sources.items():
        target.print(f"{key}: {source}", soft_wrap=True, markup=False)


def group_table(result: CensusReproduction, group: Group) -> Table:
    """The table of one group."""
    first, *others = result.expected.sources
    kinds = [f"best, {first}", "best, ours", f"mean, {first}", "mean, ours", *others]
    headings = ["test AUC", *(f"{task}\n{kind}" for task in group.order for kind in kinds)]
    rows = [_row(result, group, one) for one in result.measured[group.name]]
    shown = [n for n in range(len(headings)) if n == 0 or any(row[n] for row in rows)]
    title = f"{group.title}: trials per model {result.experiment.trials}, initialisations {result.experiment.seeds}"
    return grid(
        title,
        [headings[n] for n in shown],
        [[row[n] for n in shown] for row in rows],
        right=[headings[n] for n in shown[1:]],
    )


def _row(result: CensusReproduction, group: Group, one: Measured) -> list[str]:
    first, *others = result.expected.sources
    cells = [TITLES[one.method] + (f" ({one.diverged} diverged)" if one.diverged else "")]
    for number, auc in enumerate(one.tasks):
        rows = {source: result.expected.row(source, group.name, one.method) for source in (first, *others)}
        published = {source: (row.auxiliary if number else row.main) for source, row in rows.items() if row is not None}
        paper = published.get(first)
        best, mean = (None, None) if paper is None else (paper.best, paper.mean)
        cells += [_auc(best), _auc(auc.best), _auc(mean), _spread(auc)]
        for source in others:
            row = rows[source]
            cells.append(_auc(published[source].value) + "*" * bool(row and row.note and not number) if row else "")
    return cells


def _auc(value: float | None) -> str:
    """Four digits, as in the papers.

    Example:
        >>> _auc(0.94102), _auc(None)
        ('.9410', '')
    """
    return "" if value is None else "-" if math.isnan(value) else f"{value:.4f}".removeprefix("0")


def _spread(auc: TaskAuc) -> str:
    return f"{_auc(auc.mean)} ± {_auc(auc.std)}"
