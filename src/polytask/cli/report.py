"""`polytask report`: folders and files to one page that opens anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from polytask.cli.browser import show_page
from polytask.cli.output import console, show_problems
from polytask.errors import Problem

NAME = "report.html"
Report = Annotated[bool, typer.Option("--report/--no-report", help="Also write report.html into the folder.")]


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders; folders or JSON files of comparisons, fronts, sweeps and task affinities.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The HTML file; report.html in the first folder if left out."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write one HTML file about runs: scores, curves, gates, conflicts, fronts, and how to do it again.

    The page needs no network, holds its data, and shows what it can of unfinished or damaged folders. Several runs are
    laid over one another.

    Examples:
      polytask report runs/first --open

      polytask report runs/mmoe runs/ple -o both.html

      polytask report cmp tuned/sweep.json -o all.html
    """
    from polytask.reporting import write_report
    from polytask.reporting.report import default_file

    file = write_report(paths, out or default_file(paths[0]))
    _say(file, console())
    if show and not show_page(file):
        console().print("no browser here; open the file yourself")


def report_on_result(folder: Path, target: Console) -> None:
    """The report at the end of a command; what goes wrong with it is told, and the result stays.

    Args:
        folder: What the command has written.
        target: Where its path is shown.
    """
    from polytask.reporting import write_report

    try:
        _say(write_report([folder], folder / NAME), target)
    except Exception as error:  # noqa: BLE001  # a page is not worth a result
        what = f"cannot be written ({type(error).__name__}: {error})"
        show_problems([Problem(str(folder / NAME), what, f"polytask report {folder} tries again", "warning")])


def _say(file: Path, target: Console) -> None:
    target.print(f"report: {file}", markup=False, highlight=False, soft_wrap=True)
