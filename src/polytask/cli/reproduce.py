"""`polytask reproduce`: a published experiment, its claims evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from polytask.cli.output import console, grid

if TYPE_CHECKING:
    from rich.console import Console

    from polytask.reproduce import Reproduction


def reproduce(
    experiment: Annotated[
        str | None,
        typer.Argument(metavar="[EXPERIMENT]", show_default=False, help="A folder, or a name; none: list the names."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="The folder to write.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few runs of a few steps: shows that all works.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what DIR holds.")] = False,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes of one thread, in place of threads.")
    ] = None,
) -> None:
    """Run a published experiment, evaluate the paper's claims, and draw its figures.

    After Ctrl-C or a crash the same command with --resume goes on from the last finished block of runs.

    Examples:
      polytask reproduce

      polytask reproduce ma-2018-mmoe --out runs/ma-2018-mmoe

      polytask reproduce ma-2018-census --out runs/ma-2018-census --workers 2

      polytask reproduce sener-2018-mgda --out runs/sener-2018-mgda --workers 2

      polytask reproduce neutral-balancers --out runs/neutral-balancers --workers 2
    """
    from polytask.errors import Problem, UserError
    from polytask.reproduce import find, shipped
    from polytask.reproduce import reproduce as run
    from polytask.reproduce.places import program

    target = console()
    if experiment is None:
        for name, folder in shipped().items():
            target.print(Text.assemble((name, "bold"), "  ", str(folder)), soft_wrap=True)
        if not shipped():
            target.print("no experiments here; they come with the source, not with the package", soft_wrap=True)
        return
    folder = find(experiment)
    if out is None:
        raise UserError(Problem("--out", "missing", f"name the folder to write: --out runs/{folder.resolve().name}"))
    by_trainings = _by_trainings(program(folder))
    if (threads if by_trainings else workers) is not None:
        given, other = ("--threads", "--workers") if by_trainings else ("--workers", "--threads")
        raise UserError(Problem(given, "this experiment does not take it", f"use {other}"))
    if by_trainings:
        run_trainings, show, written = by_trainings
        try:
            result = run_trainings(folder, out, quick=quick, resume=resume, workers=workers or 1, console=target)
        except KeyboardInterrupt:
            target.print("interrupted; the same command with --resume goes on after the last finished training")
            raise
        show(result, target)
        _done(quick, f"{written} in {out}", target)
        return
    try:
        result = run(folder, out, quick=quick, resume=resume, threads=threads, console=target)
    except KeyboardInterrupt:
        target.print("interrupted; the same command with --resume goes on from the last finished block of runs")
        raise
    _show(result, target)
    seconds = sum(clock for clock, _ in result.spent.values())
    _done(quick, f"results and figures in {out} ({seconds:,.0f} s)", target)


def _by_trainings(program: str) -> tuple[Callable[..., Any], Callable[[Any, Console], None], str] | None:
    """What runs and what shows an experiment whose trainings are kept one by one, and what it writes."""
    if program == "ma-2018-census":
        from polytask.cli.census import show_census
        from polytask.reproduce.census import reproduce_census

        return reproduce_census, show_census, "results and figure"
    if program == "sener-2018-mgda":
        from polytask.cli.sener import show_sener
        from polytask.reproduce.sener import reproduce_sener

        return reproduce_sener, show_sener, "results, tables and figure"
    if program == "neutral-balancers":
        from polytask.cli.neutral import show_neutral
        from polytask.reproduce.neutral import reproduce_neutral

        return reproduce_neutral, show_neutral, "results, table and figures"
    return None


def _done(quick: bool, text: str, target: Console) -> None:
    if quick:
        target.print("[yellow]--quick: the numbers mean nothing, they show that everything runs[/yellow]")
    target.print(text, soft_wrap=True, markup=False)


def _show(result: Reproduction, target: Console) -> None:
    from polytask.reproduce.run import summary_rows

    numbers = ["rate", "mean", "std", "best", "median", "worst"]
    title = f"test loss at the end, {result.experiment.figure4.runs} runs per row"
    target.print(grid(title, ["p", "model", *numbers], summary_rows(result), right=["p", *numbers]))
    rows = []
    for claim in result.expected.claims:
        held = "held" if result.held(claim.key) else "not held"
        rows.append([f"({claim.key})", held, claim.text, "", ""])
        for found in result.findings[claim.key]:
            interval = f"{found.estimate:.4g} [{found.low:.4g}, {found.high:.4g}]"
            verdict, bounds = "  yes" if found.held else "  no", _bounds(found.above, found.below)
            rows.append(["", verdict, f"  {found.text}", interval, bounds])
    level = f"{100 * result.experiment.claims.level:g} % interval"
    target.print()
    target.print(grid("claims of the paper", ["", "verdict", "claim", level, "must be"], rows, right=[level]))


def _bounds(above: float, below: float) -> str:
    """Bounds in words.

    Example:
        >>> _bounds(0.0, float("inf")), _bounds(-0.1, 0.1)
        ('> 0', '> -0.1, < 0.1')
    """
    parts = [f"> {above:g}"] * (above != float("-inf")) + [f"< {below:g}"] * (below != float("inf"))
    return ", ".join(parts)
