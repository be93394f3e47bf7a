"""`polytask sweep`: which settings, with the same budget for every method?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polytask.cli.options import AllowCode, ConfigFile, Overrides, listed
from polytask.cli.output import console
from polytask.cli.report import Report, report_on_result
from polytask.errors import UserError

if TYPE_CHECKING:
    from polytask.config import Config
    from polytask.errors import Problem
    from polytask.tuning.table import SweepConfig


def sweep(
    config: ConfigFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.")],
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Of every method; 20 if left out.")] = None,
    sharing: Annotated[
        str | None, typer.Option("--sharing", metavar="NAMES", help="Architectures, with commas between.")
    ] = None,
    balancers: Annotated[
        str | None, typer.Option("--balancers", metavar="NAMES", help="Balancers, with commas between.")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective", metavar="WHAT", help="mean, tasks (one objective each), or tasks with commas between."
        ),
    ] = None,
    pruning: Annotated[
        str | None, typer.Option("--pruning", metavar="RULE", help="median, halving or none; median if left out.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the suggestions.")] = None,
    final_seeds: Annotated[
        int | None, typer.Option("--final-seeds", min=0, help="Seeds of the final trainings; 1 if left out.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Trials at a time, in processes.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the folder holds; trials and methods may have grown.")
    ] = False,
    report: Report = True,
    overrides: Overrides = None,
    allow_code: AllowCode = None,
) -> None:
    """Search settings for every pair of architecture and balancer, with the same number of trials for each.

    What is searched stands in the table `sweep.space` of the file; without it, learning rates, decay, dropout and sizes
    are. Everything is checked before the first training. Trials that fall behind are stopped early; the best of each
    method is written as a ready file and trained again. Ctrl-C and --resume lose at most the trials in flight.

    Examples:
      polytask sweep log.toml --sharing mmoe,ple --trials 40 --workers 4 --out sweep

      polytask sweep log.toml --objective tasks --trials 60 --out front
    """
    given = {
        "trials": trials, "sharing": listed(sharing), "balancers": listed(balancers),
        "objective": objective if objective in ("mean", "tasks") else listed(objective), "pruning": pruning,
        "seed": seed, "final_seeds": final_seeds,
    }  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    from polytask.tuning.run import run_sweep

    target = console()
    loaded, options = _load(config, overrides or (), changes, allow_code or ())
    try:
        run_sweep(loaded, options, out, workers=workers, resume=resume, console=target)
    except KeyboardInterrupt:
        target.print("interrupted; the same command with --resume goes on from there")
        raise
    if report:
        report_on_result(out, target)


def _load(
    path: Path, overrides: Sequence[str], changes: dict[str, Any], allow_code: Sequence[str]
) -> tuple[Config, SweepConfig]:
    from polytask.tuning.table import read_sweep

    try:
        return read_sweep(path, overrides, changes, allow_code=allow_code)
    except UserError as error:
        # methods and data may hold more mistakes: one message should name them all
        found = [*error.problems, *_more(path, overrides, changes, allow_code)]
        raise UserError(dict.fromkeys(found)) from None


def _more(
    path: Path, overrides: Sequence[str], changes: dict[str, Any], allow_code: Sequence[str]
) -> Iterator[Problem]:
    """What else is wrong with the methods that are listed, and with what the file names."""
    from polytask.cli.inspection import errors_in
    from polytask.tuning.checks import part_problems
    from polytask.tuning.table import read_names

    try:
        yield from part_problems(read_names(path, overrides, changes), allow_code)
    except UserError as error:
        yield from error.problems
    yield from errors_in(path, overrides, allow_code)
