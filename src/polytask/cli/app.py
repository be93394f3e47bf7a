"""All verbs of the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from polytask.cli import (
    calibrate,
    check,
    compare,
    data,
    demo,
    evaluate,
    fuse,
    group,
    init,
    listing,
    pareto,
    predict,
    report,
    reproduce,
    simulate,
    sweep,
    train,
)

app = typer.Typer(
    name="polytask",
    help="One model for many objectives, and whether that was worth it.",
    epilog="First steps:  polytask demo  ·  polytask init log.parquet --labels click,like -o log.toml  ·  "
    "polytask check log.toml  ·  polytask train log.toml --out runs/first",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from polytask import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def polytask(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """One model for many objectives, and whether that was worth it."""


app.command("init")(init.init)
app.command("check")(check.check)
app.command("train")(train.train)
app.command("compare")(compare.compare)
app.command("sweep")(sweep.sweep)
app.command("pareto")(pareto.pareto)
app.command("group")(group.group)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("calibrate")(calibrate.calibrate)
app.command("fuse")(fuse.fuse)
app.command("report")(report.report)
app.command("list")(listing.show)
app.add_typer(data.app, name="data")
app.command("demo")(demo.demo)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(simulate.app, name="simulate")
