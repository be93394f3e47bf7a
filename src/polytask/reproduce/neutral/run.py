"""The comparison from its file to results, a verdict, a table and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from polytask.files import make_folder, whole_file, write_json
from polytask.reproduce.figures import require_matplotlib
from polytask.reproduce.neutral.experiment import SINGLE, DataSet, NeutralExperiment, load_neutral
from polytask.reproduce.neutral.figure import draw_data_set, draw_ranks
from polytask.reproduce.neutral.measured import Row, rows
from polytask.reproduce.neutral.ranks import Ranking, rank, require_scipy
from polytask.reproduce.neutral.speed import step_seconds
from polytask.reproduce.neutral.study import study
from polytask.reproduce.neutral.table import markdown
from polytask.reproduce.neutral.verdict import verdict
from polytask.reproduce.neutral.work import Lab, workshop
from polytask.reproduce.settings import enter

RESULTS, TABLE, CELLS, RANKS = "results.json", "table.md", "cells", "critical-difference.png"
MAY_GROW = ("title", "seeds", "level", "methods")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on one data set.

    Attributes:
        data_set: Its settings.
        tasks: Names of its tasks.
        rows: Per part the number of rows.
        table: A row per method, single-task networks first, tuned static weights second.
    """

    data_set: DataSet
    tasks: tuple[str, ...]
    rows: Mapping[str, int]
    table: list[Row]


@dataclass(frozen=True, slots=True)
class NeutralReproduction:
    """A finished comparison.

    Attributes:
        experiment: Its settings.
        measured: Per data set.
        ranking: Of tuned static weights and all balancers; a block is a data set and a seed.
        over_data_sets: The same; a block is a data set, by the mean over its seeds.
        verdict: In plain words.
    """

    experiment: NeutralExperiment
    measured: list[Measured]
    ranking: Ranking
    over_data_sets: Ranking
    verdict: list[str]


def reproduce_neutral(
    folder: Path,
    out: Path,
    *,
    quick: bool = False,
    resume: bool = False,
    workers: int = 1,
    console: Console | None = None,
) -> NeutralReproduction:
    """Trains every method on every data set, ranks them, and writes ``results.json``, ``table.md`` and the figures.

    Every training is kept in ``out`` as soon as it is done; ``resume`` goes on from there, with more seeds or methods
    if the file has more now.

    Args:
        folder: With ``experiment.toml``.
        out: The folder to write.
        quick: A few methods, steps and rows, to see that everything works.
        resume: Go on with what ``out`` holds.
        workers: Trainings at a time, each in a process with one thread.
        console: Where progress is shown; None: nowhere.

    Raises:
        UserError: The file or the data are at fault, a package is missing, or ``out`` holds something else.
    """
    experiment = load_neutral(folder)
    experiment = experiment.quick() if quick else experiment
    require_matplotlib()
    require_scipy()
    lab = Lab(experiment, folder)
    materials = [lab.material(number) for number in range(len(experiment.data_sets))]
    tasks = [tuple(task.name for task in found.tasks) for found in materials]
    enter(out, experiment.model_dump(mode="json"), free=MAY_GROW, resume=resume)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        steps = [_speed(experiment, number, lab, out / CELLS) for number in range(len(experiment.data_sets))]
        trained = study(experiment, tasks, workshop(lab, experiment, folder, out / CELLS, workers, console))
    finally:
        torch.set_num_threads(threads)
    measured = [
        Measured(
            data_set, names, {part: len(found) for part, found in made.parts.items()}, rows(data_set, names, own, speed)
        )
        for data_set, names, made, own, speed in zip(
            experiment.data_sets, tasks, materials, trained, steps, strict=True
        )
    ]
    result = _ranked(experiment, measured)
    write_json(out / RESULTS, _record(result, quick=quick))
    with whole_file(out / TABLE) as partial:
        partial.write_text(markdown(result), encoding="utf-8")
    draw_ranks(out / RANKS, result.ranking)
    for one in measured:
        draw_data_set(out / f"{one.data_set.name}.png", one.data_set, one.table)
    return result


def _ranked(experiment: NeutralExperiment, measured: list[Measured]) -> NeutralReproduction:
    compared = [[row for row in one.table if row.method != SINGLE] for one in measured]
    methods = [row.method for row in compared[0]]
    gains = np.concatenate([np.stack([row.gain for row in table], axis=1) for table in compared])
    # a mean over the seeds that are left would hide that others diverged
    means = np.array([[row.gain.mean() for row in table] for table in compared])
    ranking, over = (rank(methods, scores, level=experiment.level) for scores in (gains, means))
    words = verdict(ranking, over, level=experiment.level)
    return NeutralReproduction(experiment, measured, ranking, over, words)


def _speed(experiment: NeutralExperiment, number: int, lab: Lab, cells: Path) -> Mapping[str, float]:
    """Timed once for the same methods, and kept; before the trainings, which would disturb it."""
    file = cells / experiment.data_sets[number].name / "speed.json"
    if file.is_file():
        kept: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        if set(experiment.methods) <= set(kept):
            return kept
    with torch.random.fork_rng(devices=[]):
        found = step_seconds(experiment, number, lab)
    make_folder(file.parent)
    write_json(file, found)
    return found


def _record(result: NeutralReproduction, *, quick: bool) -> dict[str, Any]:
    """What ``results.json`` holds."""
    return {
        "title": result.experiment.title,
        "quick": quick,
        "seeds": result.experiment.seeds,
        "torch": torch.__version__,
        "verdict": result.verdict,
        "ranking": _ranking(result.ranking),
        "ranking_over_data_sets": _ranking(result.over_data_sets),
        "data_sets": [
            {
                "name": one.data_set.name,
                "metric": one.data_set.metric,
                "tasks": list(one.tasks),
                "rows": dict(one.rows),
                "methods": [row.as_json(one.tasks) for row in one.table],
            }
            for one in result.measured
        ],
    }


def _ranking(ranking: Ranking) -> dict[str, Any]:
    return {
        "blocks": len(ranking.ranks),
        "chi_square": ranking.statistic,
        "p": ranking.p,
        "critical_difference": ranking.difference,
        "mean_ranks": dict(ranking.mean),
        "ranks": {name: column.tolist() for name, column in zip(ranking.methods, ranking.ranks.T, strict=True)},
    }
