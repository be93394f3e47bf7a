"""`polytask group`: which tasks should be trained together?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.options import AllowCode, Overrides
from polytask.cli.output import console
from polytask.cli.report import Report, report_on_result
from polytask.errors import Problem, UserError


def group(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The TOML file, or a run folder whose probes measured affinities.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write; of a run: RUN/grouping if left out."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="lookahead (one training) or pairs (every two tasks).")
    ] = "lookahead",
    groups: Annotated[
        int | None, typer.Option("--groups", min=1, help="Largest number of groups; 4 if left out.")
    ] = None,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="A group may hold tasks that another one serves, as helpers.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Seeds of the measurement; if left out 1, of pairs 3.")
    ] = None,
    check: Annotated[
        int | None,
        typer.Option(
            "--check", min=1, metavar="SEEDS", help="Also train the suggestion, one model of all and one per task."
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Runs at a time, in processes.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the folder holds; seeds and groups may have changed.")
    ] = False,
    report: Report = True,
    overrides: Overrides = None,
    allow_code: AllowCode = None,
) -> None:
    """Suggest which tasks to train together, from how much each helps each other one.

    Writes the affinities with their noise, a heat map, a verdict in words, and one ready TOML file per group. What a
    grouping is worth is an estimate; --check trains it.

    Examples:
      polytask group log.toml --out groups

      polytask group log.toml --method pairs --seeds 3 --workers 4 --out pairs

      polytask group log.toml --groups 2 --check 5 --out groups --resume

      polytask group runs/first
    """
    from polytask.cli.inspection import load_whole
    from polytask.grouping.options import Options
    from polytask.grouping.run import run_grouping
    from polytask.training.folder import CONFIG

    run = config if (config / CONFIG).is_file() else None
    if run is not None and overrides:
        raise UserError(Problem("--set", "given beside a run folder", "group the run's config.toml to change it"))
    if run is None and out is None:
        raise UserError(Problem("--out", "missing", "name the folder to write"))
    target, folder = console(), out if out is not None else config / "grouping"
    loaded = load_whole(config if run is None else run / CONFIG, overrides or (), allow_code or ())
    try:
        options = Options(method, groups, overlap, seeds, check, workers, resume)
        run_grouping(loaded, options, folder, run=run, console=target)
    except KeyboardInterrupt:
        target.print("interrupted; the same command with --resume goes on from there")
        raise
    if report:
        report_on_result(folder, target)
