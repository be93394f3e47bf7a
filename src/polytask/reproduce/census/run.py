"""Tables 1 and 2 from their file to results and a figure."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from polytask.files import write_json
from polytask.reproduce.census.chain import Chain, chains
from polytask.reproduce.census.experiment import CensusExpected, CensusExperiment, load_census
from polytask.reproduce.census.figure import draw_tables
from polytask.reproduce.census.measured import Measured, measure
from polytask.reproduce.census.trees import require_lightgbm
from polytask.reproduce.census.tuning import require_optuna
from polytask.reproduce.census.work import work
from polytask.reproduce.figures import require_matplotlib
from polytask.reproduce.settings import enter

RESULTS, FIGURE, CELLS = "results.json", "tables.png", "cells"
MAY_GROW = ("title", "trials", "seeds")


@dataclass(frozen=True, slots=True)
class CensusReproduction:
    """A finished reproduction.

    Attributes:
        experiment: Its settings.
        expected: What was published.
        measured: Per group what was measured, in the order of the methods.
    """

    experiment: CensusExperiment
    expected: CensusExpected
    measured: Mapping[str, list[Measured]]


def reproduce_census(
    folder: Path,
    out: Path,
    *,
    quick: bool = False,
    resume: bool = False,
    workers: int = 1,
    console: Console | None = None,
) -> CensusReproduction:
    """Tunes and trains every method, and writes ``results.json`` and ``tables.png``.

    Every training is kept in ``out`` as soon as it is done; ``resume`` goes on from there, with more trials or seeds if
    the file has more now.

    Args:
        folder: With ``experiment.toml`` and ``expected.toml``.
        out: The folder to write.
        quick: Two methods, few rows, one trial and two seeds, to see that everything works.
        resume: Go on with what ``out`` holds.
        workers: Trainings at a time, each in a process with one thread.
        console: Where progress is shown; None: nowhere.

    Raises:
        UserError: The files or the data are at fault, a package is missing, or ``out`` holds something else.
    """
    experiment, expected = load_census(folder)
    experiment = experiment.quick() if quick else experiment
    require_optuna()
    require_matplotlib()
    if "lightgbm" in experiment.methods:
        require_lightgbm()
    enter(out, experiment.model_dump(mode="json"), free=MAY_GROW, resume=resume)
    per_group = chains(experiment, out / CELLS)
    work(experiment, folder, [chain for group in per_group for chain in group], workers=workers, console=console)
    measured = {
        group.name: measure(group, found) for group, found in zip(experiment.groups, per_group, strict=True)
    }  # fmt: skip
    result = CensusReproduction(experiment, expected, measured)
    write_json(out / RESULTS, _record(result, per_group, quick=quick))
    draw_tables(out / FIGURE, experiment.groups, measured, expected)
    return result


def _record(result: CensusReproduction, per_group: list[list[Chain]], *, quick: bool) -> dict[str, Any]:
    """What ``results.json`` holds."""
    experiment = result.experiment
    versions = {name: importlib.metadata.version(name) for name in ("optuna", "lightgbm") if _installed(name)}
    return {
        "title": experiment.title,
        "paper": experiment.paper,
        "quick": quick,
        "trials": experiment.trials,
        "seeds": experiment.seeds,
        "versions": {"torch": torch.__version__, **versions},
        "processor_seconds": sum(
            outcome.seconds
            for group in per_group
            for chain in group
            for outcome in (*chain.trials, *chain.runs.values())
        ),
        "groups": [
            {
                "name": group.name,
                "main": group.order[0],
                "auxiliary": group.order[1],
                "methods": [one.as_json() for one in result.measured[group.name]],
                "published": [row.model_dump() for row in result.expected.published if row.group == group.name],
            }
            for group in experiment.groups
        ],
        "sources": result.expected.sources,
    }


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
