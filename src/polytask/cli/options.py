"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The TOML file; `polytask init` writes one.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override any key of the file: --set train.batch_size=4096."),
]
AllowCode = Annotated[
    list[str] | None,
    typer.Option("--allow-code", metavar="MODULE", help="Your module whose functions the file may name and run."),
]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a run folder that holds one.")]
Table = Annotated[str, typer.Argument(metavar="DATA", help="Parquet or CSV: a file, a folder or a glob.")]


def listed(names: str | None) -> list[str] | None:
    """Names with commas between.

    Example:
        >>> listed("mmoe, ple,"), listed(None)
        (['mmoe', 'ple'], None)
    """
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]
