"""`polytask compare`: should these tasks share a model, and which one?"""

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
    from polytask.comparing.table import CompareConfig
    from polytask.config import Config
    from polytask.errors import Problem


def compare(
    config: ConfigFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.")],
    sharing: Annotated[
        str | None, typer.Option("--sharing", metavar="NAMES", help="Architectures, with commas between.")
    ] = None,
    balancers: Annotated[
        str | None, typer.Option("--balancers", metavar="NAMES", help="Balancers, with commas between.")
    ] = None,
    single: Annotated[
        str | None, typer.Option("--single", metavar="NAME", help="Architecture of the single-task networks.")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Seeds of every method; 5 if left out.")] = None,
    lightgbm: Annotated[
        bool | None, typer.Option("--lightgbm/--no-lightgbm", help="One LightGBM model per task as well; the default.")
    ] = None,
    only_changed: Annotated[
        str | None,
        typer.Option(
            "--only-changed",
            metavar="axes",
            help="No grid: every architecture with the first balancer, every balancer with the first architecture.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Runs at a time, in processes.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the folder holds; lists and seeds may have grown.")
    ] = False,
    report: Report = True,
    overrides: Overrides = None,
    allow_code: AllowCode = None,
) -> None:
    """Compare architectures and balancers over seeds, against one network and one LightGBM model per task.

    All can be written into the table `compare` of the file instead, where parts may have options. Everything is checked
    before the first training. A run that fails is reported, and the others go on; Ctrl-C and --resume lose at most the
    steps since the last checkpoint of the runs in flight.

    Examples:
      polytask compare log.toml --sharing mmoe,ple,shared_bottom --balancers equal,uncertainty,mgda --out cmp

      polytask compare log.toml --sharing mmoe,ple --seeds 10 --workers 4 --out cmp --resume
    """
    given = {
        "sharing": listed(sharing), "balancers": listed(balancers), "single": single, "seeds": seeds,
        "lightgbm": lightgbm, "only_changed": only_changed,
    }  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    from polytask.comparing.run import run_comparison

    target = console()
    loaded, options = _load(config, overrides or (), changes, allow_code or ())
    try:
        run_comparison(loaded, options, out, workers=workers, resume=resume, console=target)
    except KeyboardInterrupt:
        target.print("interrupted; the same command with --resume goes on from there")
        raise
    if report:
        report_on_result(out, target)


def _load(
    path: Path, overrides: Sequence[str], changes: dict[str, Any], allow_code: Sequence[str]
) -> tuple[Config, CompareConfig]:
    from polytask.comparing.table import read_comparison

    try:
        return read_comparison(path, overrides, changes, allow_code=allow_code)
    except UserError as error:
        # parts and data may hold more mistakes: one message should name them all
        found = [*error.problems, *_more(path, overrides, changes, allow_code)]
        raise UserError(dict.fromkeys(found)) from None


def _more(
    path: Path, overrides: Sequence[str], changes: dict[str, Any], allow_code: Sequence[str]
) -> Iterator[Problem]:
    """What else is wrong with the parts that are listed, and with what the file names."""
    from polytask.cli.inspection import errors_in
    from polytask.comparing.checks import part_problems
    from polytask.comparing.table import read_parts

    try:
        yield from part_problems(read_parts(path, overrides, changes), allow_code)
    except UserError as error:
        yield from error.problems
    yield from errors_in(path, overrides, allow_code)
