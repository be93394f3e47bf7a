"""`polytask predict`: a bundle's predictions for raw rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.options import AllowCode, BundlePath, Table
from polytask.cli.output import console


def predict(
    bundle: BundlePath,
    data: Table,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.parquet", help="The Parquet file to write.")],
    keys: Annotated[
        str | None,
        typer.Option("--keys", metavar="a,b", help="Columns to pass through; those of the training by default."),
    ] = None,
    allow_code: AllowCode = None,
) -> None:
    """Predict all objectives for raw rows, streaming, and pass key columns through.

    The file has one column per task, named after it; TASK_CLASS columns for tasks with many classes; then, where the
    bundle has them, TASK_label columns with 0 and 1 from thresholds, and a column score to rank by.

    Examples:
      polytask predict runs/census/bundle today.parquet -o scores.parquet

      polytask predict runs/feed/bundle 'log/*.parquet' -o scores.parquet --keys user_id,video_id
    """
    from polytask.serving import load_bundle, predict_to

    target = console()
    names = [name.strip() for name in keys.split(",") if name.strip()] if keys is not None else None
    summary = predict_to(load_bundle(bundle, allow_code=allow_code or ()), data, out, keys=names, console=target)
    target.print(str(summary), markup=False, soft_wrap=True)
