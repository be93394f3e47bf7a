"""`polytask report`: folders and files to one page that opens anywhere."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.output import console

NAME = "report.html"


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

      polytask report cmp front.json -o all.html
    """
    from polytask.reporting import write_report

    file = write_report(paths, out or default_file(paths[0]))
    console().print(f"report: {file}", markup=False, highlight=False, soft_wrap=True)
    if show and not webbrowser.open(file.resolve().as_uri()):
        console().print("no browser was found; open the file yourself", markup=False)


def default_file(path: Path) -> Path:
    """Where a report goes if nothing is said: into the folder, or beside the file."""
    return (path if path.is_dir() else path.parent) / NAME
