"""`polytask init`: a first configuration for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.options import Table
from polytask.cli.output import console, count_problems, show_problems
from polytask.errors import Problem, UserError
from polytask.files import whole_file


def init(
    data: Table,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="CONFIG.toml", help="The TOML file to write.")],
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="a,b,c", help="Label columns; a named data set brings its own.")
    ] = None,
    keys: Annotated[str | None, typer.Option("--keys", metavar="a,b", help="Columns to pass through.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite CONFIG.toml.")] = False,
) -> None:
    """Look at a table, propose roles and tasks, and write a commented configuration that trains as it is.

    Task kinds follow from the label values; ids, columns that leak a label and sample weights are left out, each with a
    comment that says why.

    Examples:
      polytask init log.parquet --labels click,like,play_time -o log.toml

      polytask init census-income -o census.toml
    """
    from polytask.cli.proposal import propose, write_proposal

    if out.exists() and not force:
        raise UserError(Problem(str(out), "exists already", "choose another name, or pass --force to overwrite it"))
    if not out.absolute().parent.is_dir():
        raise UserError(Problem(str(out.parent), "no such folder", "create it first"))
    target = console()
    proposal = propose(data, _names(labels), _names(keys), out)
    with whole_file(out) as partial:
        partial.write_text(write_proposal(proposal), encoding="utf-8")
    for task in proposal.tasks:
        target.print(f"task {task.name}: {task.kind}, {task.comment}", markup=False, soft_wrap=True)
    for column, reason in proposal.drop.items():
        target.print(f"left out {column}: {reason}", markup=False, soft_wrap=True)
    _look_again(out)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _look_again(out: Path) -> None:
    from polytask.cli.inspection import inspect_config

    found = inspect_config(out)
    if found.errors:
        raise UserError(found.problems)
    target = console()
    show_problems([problem for problem in found.problems if problem.severity == "warning"], target)
    target.print(f"{out}: {count_problems(found.problems)}; next: polytask check {out}", markup=False, soft_wrap=True)
