"""The demo: the main job on real data, or on the simulator where there are none."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from polytask import presets
from polytask.config import Config, absolute, load_config
from polytask.data import named
from polytask.errors import UserError
from polytask.training.folder import CONFIG, differences
from polytask.training.run import RunResult, train_run

REAL, SIMULATED = "census-income", "short-video"


def run_demo(data: str | None, out: Path, console: Console) -> RunResult:
    """Trains a preset with its single-task baselines and prints the comparison.

    Args:
        data: A preset; by default Census-Income, or the simulator where it cannot be had.
        out: The run folder; an earlier demo there is replaced, an interrupted one is taken up again.
        console: Where everything is shown.

    Raises:
        UserError: ``data`` was asked for and cannot be had, or ``out`` holds something else than this demo.
    """
    name = data if data is not None else _available(console)
    config = load_config(presets.path(name))
    tasks = ", ".join(config.tasks)
    console.print(f"[bold]{name}[/bold]: {len(config.tasks)} tasks ({tasks}), one model", highlight=False)
    begun = (out / CONFIG).exists() and not differences(out, absolute(config))
    if begun and _finished(config, out):
        shutil.rmtree(out)
        begun = False
    return train_run(config, out, resume=begun, console=console)


def _finished(config: Config, out: Path) -> bool:
    folders = [out, *(out / "baselines" / task for task in config.tasks if config.train.baselines)]
    return all((folder / "scores.json").exists() for folder in folders)


def _available(console: Console) -> str:
    """The real data if it is here or can be downloaded, else the simulator, and it says so."""
    dataset = named.get(REAL)
    if dataset.locate() is not None:
        return REAL
    console.print(f"{REAL} is not here; downloading it from its publisher ...", highlight=False)
    try:
        dataset.fetch(None)
    except UserError as error:
        console.print(f"[yellow]{error}[/yellow]", highlight=False)
        console.print(f"the demo goes on with simulated data ({SIMULATED}) instead", highlight=False)
        return SIMULATED
    return REAL
