"""`polytask train`: one configuration, one run folder."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polytask.cli.browser import show_page
from polytask.cli.options import AllowCode, ConfigFile, Overrides
from polytask.cli.output import console
from polytask.cli.report import Report, report_on_result

if TYPE_CHECKING:
    from polytask.config import Config


def train(
    config: ConfigFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run folder to write.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    overrides: Overrides = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Train so many seeds.")] = None,
    baselines: Annotated[
        bool | None, typer.Option("--baselines/--no-baselines", help="Also train one network per task, same budget.")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", metavar="a,b", help="Loggers: tensorboard, mlflow, wandb, or your own.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--open", help="Open the report in the browser; it is renewed as training goes on.")
    ] = False,
    report: Report = True,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Look at all rows before training, as polytask check does.")
    ] = True,
    allow_code: AllowCode = None,
) -> None:
    """Train a multi-task model, print its scores per task, and write the run folder with its bundle.

    Ctrl-C and crashes lose at most the steps since the last checkpoint: the same command with --resume goes on from
    there, to the same weights.

    Examples:
      polytask train census.toml --out runs/census

      polytask train census.toml --out runs/ple --set sharing.use=ple --set train.batch_size=4096

      polytask train census.toml --out runs/five --seeds 5 --baselines

      polytask train census.toml --out runs/seen --log tensorboard --open
    """
    given = {"train.device": device, "train.threads": threads, "train.seeds": seeds}
    overrides = [*(overrides or ()), *(f"{key}={value}" for key, value in given.items() if value is not None)]
    if baselines is not None:
        overrides.append(f"train.baselines={str(baselines).lower()}")
    if log is not None:
        overrides.append(f"train.log={json.dumps([name.strip() for name in log.split(',') if name.strip()])}")
    from polytask.cli.inspection import load_whole

    _run(load_whole(config, overrides, allow_code or ()), out, resume=resume, check=check, live=live, report=report)


def _run(config: Config, out: Path, *, resume: bool, check: bool, live: bool, report: bool) -> None:
    from polytask.training.live import LiveReport
    from polytask.training.run import train_run

    target = console()
    try:
        with LiveReport(out, target, show=show_page) if live else nullcontext() as page:
            watchers = [] if page is None else [page]
            train_run(config, out, resume=resume, check=check, console=target, watchers=watchers)
    except KeyboardInterrupt:
        target.print("interrupted; the same command with --resume goes on from the last checkpoint")
        raise
    if report and not live:
        report_on_result(out, target)
