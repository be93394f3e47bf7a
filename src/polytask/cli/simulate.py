"""`polytask simulate`: data with known truth, of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.output import console
from polytask.errors import Problem, UserError

app = typer.Typer(help="Write data with known truth, of any size, streamed.", no_args_is_help=True)


@app.callback()
def simulate() -> None:
    """Write data with known truth, of any size, streamed."""


@app.command("short-video")
def short_video(
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Impressions to simulate.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.parquet", help="The Parquet file to write.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Every number follows from it.")] = 0,
) -> None:
    """Simulate a short-video log: expose, watch, then like, share or follow.

    Example:
      polytask simulate short-video --rows 1000000 -o log.parquet
    """
    from rich.progress import Progress

    from polytask.data.simulators import ShortVideo

    if out.suffix.lower() in (".csv", ".tsv", ".txt", ".data"):
        raise UserError(Problem(str(out), "the log is written as Parquet", f"name it {out.stem}.parquet"))
    target = console()
    with Progress(console=target, transient=True, disable=not target.is_terminal) as progress:
        bar = progress.add_task("simulate", total=rows)
        simulator = ShortVideo(rows=rows, seed=seed)
        simulator.write_parquet(out, progress=lambda done, total: progress.update(bar, completed=done, total=total))
    target.print(
        f"{rows:,} rows in {out}; next: polytask init {out} --labels click,like,share -o log.toml", soft_wrap=True
    )
