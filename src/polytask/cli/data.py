"""`polytask data`: named data sets, where they are, and how to get them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from polytask.cli.output import console
from polytask.errors import Problem, UserError

app = typer.Typer(help="Named data sets: list them, find them, fetch them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set of `polytask data list`.")]


@app.command("list")
def show() -> None:
    """List the named data sets: what they are, under which licence, and whether they are here.

    Example:
      polytask data list
    """
    from polytask.data import named

    target = console()
    for name in named.names():
        about = named.describe(name)
        target.print(Text.assemble((name, "bold"), "  ", about["description"]), soft_wrap=True)
        for heading in ("protocols", "licence", "homepage", "citation", "download size"):
            target.print(Text.assemble((f"    {heading}: ", "dim"), about[heading]), soft_wrap=True)
        where = about["location"] or f"not here; polytask data fetch {name}"
        target.print(Text.assemble(("    location: ", "dim"), where), soft_wrap=True)


@app.command("path")
def path(name: Name) -> None:
    """Print the folder that holds a data set, for use in scripts.

    Example:
      ls $(polytask data path census-income)
    """
    from polytask.data import named

    folder = named.get(name).locate()
    if folder is None:
        remedy = f"polytask data fetch {name}, or set POLYTASK_DATA to the folder that holds it"
        raise UserError(Problem(f"data set '{name}'", "is not on this machine", remedy))
    typer.echo(folder)


@app.command("fetch")
def fetch(name: Name) -> None:
    """Download a data set into the user's cache, with a checksum; an interrupted download goes on where it stopped.

    Example:
      polytask data fetch census-income
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from polytask.data import named

    dataset = named.get(name)
    target = console()
    with Progress(TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=target) as progress:
        task = progress.add_task(name, total=None)
        folder = dataset.fetch(lambda done, total: progress.update(task, completed=done, total=total))
    target.print(f"{name}: {folder}", soft_wrap=True)
