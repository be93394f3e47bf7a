"""How the command line speaks: consoles, problems, and tables."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polytask.errors import Problem

PIPE_WIDTH = 160
MOST_METRICS = 9
"""Columns of scores that fit beside one another."""
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def console() -> Console:
    """Where results go."""
    # files and pipes have no width: tables need not be squeezed there
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def error_console() -> Console:
    """Where problems go."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_problems(problems: Sequence[Problem], target: Console | None = None) -> None:
    """Prints every problem on lines of its own: where, what, and the remedy."""
    target = target or error_console()
    for problem in problems:
        text = Text.assemble(
            (f"{problem.severity}: ", _STYLES[problem.severity]), (problem.where, "bold"), ": ", problem.what
        )
        target.print(text, soft_wrap=True)
        if problem.remedy:
            target.print(Text.assemble("  → ", problem.remedy), soft_wrap=True)


def count_problems(problems: Iterable[Problem]) -> str:
    """A sentence on how many there are.

    Example:
        >>> count_problems([Problem("a", "b"), Problem("a", "c", severity="note"), Problem("a", "d")])
        '2 errors, 1 note'
    """
    severities = [problem.severity for problem in problems]
    counts = {name: severities.count(name) for name in ("error", "warning", "note")}
    return ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count) or "no problems"


def grid(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> Table:
    """A table in the house style; columns named in ``right`` hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for heading in headings:
        numbers = heading in right
        table.add_column(heading, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def score_table(title: str, scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Tasks by metrics; a metric that a task does not have is left empty, an undefined one is a dash.

    Where metrics are too many for columns, each has a line.
    """
    names = dict.fromkeys(metric for values in scores.values() for metric in values)
    metrics = sorted(names, key=lambda metric: metric != "rows")  # how much the others rest on comes first
    if len(metrics) > MOST_METRICS:
        lines = [
            [task if metric == "rows" else "", metric, number(values[metric])]
            for task, values in scores.items()
            for metric in metrics
            if metric in values
        ]
        return grid(title, ["task", "metric", "value"], lines, right=["value"])
    rows = [[task, *(number(values.get(metric)) for metric in metrics)] for task, values in scores.items()]
    return grid(title, ["task", *metrics], rows, right=metrics)


def shortened(text: str, width: int = 48) -> str:
    """A text of at most ``width`` characters.

    Example:
        >>> shortened("education in ['Bachelors degree']", 20)
        "education in ['Bach…"
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def number(value: float | None) -> str:
    """A number as tables show it.

    Example:
        >>> [number(value) for value in (0.91234567, 12345, None, float("nan"), 1234.5678)]
        ['0.91235', '12,345', '', '-', '1,234.57']
    """
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "-"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.5f}"
