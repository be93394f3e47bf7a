"""Affinities from one training of all tasks: what a step on one task's loss does to the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from polytask.comparing.lab import Lab
from polytask.comparing.plan import RUNS, Method, Run
from polytask.comparing.progress import Display
from polytask.comparing.work import do_runs
from polytask.config import Config
from polytask.errors import Problem, UserError
from polytask.grouping.affinity import Affinity, Samples, chain_units, mean_known
from polytask.training.folder import RECORDS
from polytask.training.prepared import Prepared

EVERY = 10
"""Steps between two probes, as in the paper."""
PROBES = 20
"""Probes of a short run."""
STRETCHES = 10
"""Pieces of one run whose means are its samples."""


def train_lookahead(
    config: Config, prepared: Prepared, out: Path, seeds: Sequence[int], display: Display, workers: int
) -> Affinity:
    """Trains all tasks together and measures on the way.

    Args:
        config: What to train.
        prepared: Its data.
        out: The folder of the grouping.
        seeds: One run each.
        display: Shows how far it is.
        workers: Runs at a time.

    Raises:
        UserError: A run failed.
    """
    train = config.train.model_copy(update={"probe": _every(config, prepared), "probe_affinity": True})
    probed = config.model_copy(update={"train": train})
    method = Method("all tasks, probed", "shared", f"{RUNS}/lookahead", config.sharing, config.balancer)
    runs = [Run(method, seed) for seed in seeds]
    outcomes = do_runs(Lab(probed, prepared, out), runs, display, workers=workers)
    failed = [(run, failure) for run in runs if (failure := outcomes[run.key].failure) is not None]
    if failed:
        raise UserError(Problem(run.title, failure.what, "see its outcome.json") for run, failure in failed)
    return of_runs(config, [out / run.key for run in runs])


def _every(config: Config, prepared: Prepared) -> int:
    """Steps between probes: what the configuration says, else 10, less where the run is short."""
    if config.train.probe:
        return config.train.probe
    steps = config.train.epochs * prepared.reader("train").batches_per_epoch(config.train.batch_size)
    return max(1, min(EVERY, min(steps, config.train.steps or steps) // PROBES))


def run_folders(run: Path) -> list[Path]:
    """The folders of a run's seeds."""
    seeds = sorted((run / "seeds").glob("*"), key=lambda folder: folder.name.zfill(12))
    return [folder for folder in seeds if (folder / RECORDS).exists()] or [run]


def of_runs(config: Config, folders: Sequence[Path]) -> Affinity:
    """The affinities that trained runs have recorded, on average over each training.

    Args:
        config: Of the runs.
        folders: One per seed. Of a single one the samples are the means over ten stretches of its training.

    Raises:
        UserError: A run has recorded none.
    """
    probes = [read_affinities(folder / RECORDS, len(config.tasks)) for folder in folders]
    if len(probes) > 1:
        samples, of = np.stack([mean_known(one) for one in probes]), f"{len(probes)} seeds"
        mean = mean_known(samples)
    else:
        parts = np.array_split(probes[0], min(STRETCHES, len(probes[0])))
        samples, of = np.stack([mean_known(part) for part in parts]), f"{len(parts)} stretches of one training"
        mean = mean_known(probes[0])
    return Affinity("lookahead", tuple(config.tasks), mean, samples, of, chain_units(config))


def read_affinities(file: Path, tasks: int) -> Samples:
    """The affinities of all probes in a ``records.jsonl``.

    Raises:
        UserError: There are none.
    """
    found = []
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if '"probe"' in line and (matrix := _matrix(line)) is not None:
                    found.append(matrix)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        raise UserError(Problem(str(file), what, "name a finished run folder, or a configuration")) from error
    if not found:
        remedy = "group the configuration itself, or train with --set train.probe=10 --set train.probe_affinity=true"
        raise UserError(Problem(str(file), "holds no affinities", remedy))
    other = next((one for one in found if one.shape != (tasks, tasks)), None)
    if other is not None:
        what = f"its affinities are a table of {' x '.join(map(str, other.shape))}, the configuration has {tasks} tasks"
        raise UserError(Problem(str(file), what, "name the run as it was written"))
    return np.stack(found)


def _matrix(line: str) -> Float[np.ndarray, "..."] | None:
    """The affinities of a line, null as NaN; None of other lines, and of half a line that a crash has left."""
    try:
        record = json.loads(line)
        if record["kind"] != "probe" or record["affinity"] is None:
            return None
        return np.array(record["affinity"], dtype=float)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
