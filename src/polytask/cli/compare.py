"""`polytask compare`: should these tasks share a model, and which one?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polytask.cli.options import AllowCode, ConfigFile, Overrides
from polytask.cli.output import console

if TYPE_CHECKING:
    from polytask.comparing.table import CompareConfig
    from polytask.config import Config


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
    overrides: Overrides = None,
    allow_code: AllowCode = None,
) -> None:
    """Compare architectures and balancers over seeds, against one network and one LightGBM model per task.

    All can be written into a [compare] table of the file instead, where parts may have options. Everything is checked
    before the first training. A run that fails is reported, and the others go on; Ctrl-C and --resume lose at most the
    steps since the last checkpoint of the runs in flight.

    Examples:
      polytask compare log.toml --sharing mmoe,ple,shared_bottom --balancers equal,uncertainty,mgda --out cmp

      polytask compare log.toml --sharing mmoe,ple --seeds 10 --workers 4 --out cmp --resume
    """
    given = {
        "sharing": _listed(sharing), "balancers": _listed(balancers), "single": single, "seeds": seeds,
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


def _listed(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _load(
    path: Path, overrides: Sequence[str], changes: dict[str, Any], allow_code: Sequence[str]
) -> tuple[Config, CompareConfig]:
    from polytask.comparing.table import read_comparison

    return read_comparison(path, overrides, changes, allow_code=allow_code)
