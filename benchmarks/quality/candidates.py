"""The three candidates of the table: their test predictions, validation scores and cost, from one run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.quality.bootstrap import Predictions
from benchmarks.quality.lightgbm_baseline import Baseline
from polytask.config import Config
from polytask.data.parts import Part
from polytask.data.reader import to_batch
from polytask.files import whole_file
from polytask.serving import load_bundle
from polytask.training.prepared import Prepared
from polytask.training.run import train_run

LIGHTGBM, SINGLE, ONE = "LightGBM", "one network per task", "one model"


@dataclass(frozen=True)
class Candidate:
    """One way to answer all tasks.

    Attributes:
        name: Its heading.
        predictions: On the test part, ``[seeds, tasks, rows]``.
        validation: Validation AUC, ``[seeds][tasks]``.
        facts: What it cost and which settings were chosen, for the JSON.
    """

    name: str
    predictions: Predictions
    validation: Sequence[Sequence[float]]
    facts: dict[str, Any]


def networks(config: Config, prepared: Prepared, folder: Path, console: Console | None) -> list[Candidate]:
    """Trains all seeds of the one model, and of the single-task networks if ``train.baselines`` asks for them.

    An interrupted run is taken up again; a finished one is read.

    Raises:
        UserError: Configuration or data are at fault, or ``folder`` holds a run with another configuration.
    """
    run = train_run(config, folder, resume=(folder / "config.toml").exists(), console=console)
    tasks, seeds = tuple(config.tasks), config.train.seeds
    folders = [_seed_folder(run.path, config, number) for number in range(seeds)]
    ours = np.stack([_predictions(one, prepared.parts["test"]) for one in folders])
    validation = [[scores["validation"][task]["auc"] for task in tasks] for scores in run.seeds]
    found = [Candidate(ONE, ours, validation, {"seeds": [_facts(one) for one in folders]})]
    if not run.baselines:
        return found
    alone = {
        task: [_seed_folder(run.path / "baselines" / task, config, number) for number in range(seeds)] for task in tasks
    }
    theirs = np.stack(
        [[_predictions(alone[task][number], prepared.parts["test"])[0] for task in tasks] for number in range(seeds)]
    )
    validation = [[run.baselines[task][number]["validation"][task]["auc"] for task in tasks] for number in range(seeds)]
    facts = {"tasks": {task: [_facts(one) for one in folders] for task, folders in alone.items()}}
    return [Candidate(SINGLE, theirs, validation, facts), *found]


def trees(prepared: Prepared, baseline: Baseline, console: Console | None) -> Candidate:
    """Trains one LightGBM per task and seed, or reads the finished ones."""
    results = {}
    for task in prepared.preprocessor.tasks:
        results[task] = result = baseline.run(task)
        if console is not None:
            mean = np.mean(result.validation)
            line = f"LightGBM {task}: {result.setting}, validation AUC {mean:.4f}, {result.seconds:.0f} s"
            console.print(line, soft_wrap=True, highlight=False)
    facts = {
        task: {
            "setting": asdict(result.setting),
            "tried": [{**asdict(setting), "validation_auc": score} for setting, score in result.tried],
            "rounds": list(result.rounds),
            "seconds": result.seconds,
            "cpu_seconds": result.cpu_seconds,
        }
        for task, result in results.items()
    }
    validation = np.array([result.validation for result in results.values()]).T.tolist()
    predictions = np.stack([result.predictions for result in results.values()], axis=1)
    return Candidate(LIGHTGBM, predictions, validation, {"tasks": facts})


def _seed_folder(run: Path, config: Config, number: int) -> Path:
    """Where a run keeps one of its seeds: by itself if it is the only one."""
    return run if config.train.seeds == 1 else run / "seeds" / str(config.train.seed + number)


def _predictions(folder: Path, part: Part) -> Predictions:
    """Predictions of a finished run for all rows of a part, ``[tasks, rows]``; kept beside its bundle."""
    file = folder / "test-predictions.npy"
    if not file.exists():
        bundle = load_bundle(folder / "bundle")
        pieces = []
        for raw in part.scan(bundle.preprocessor.feature_columns()):
            features = to_batch(bundle.preprocessor.encode(raw), bundle.preprocessor).features
            pieces.append(np.stack([values.float().numpy() for values in bundle.model.predict(features).values()]))
        with whole_file(file) as partial, partial.open("wb") as stream:
            np.save(stream, np.concatenate(pieces, axis=1))
    return np.asarray(np.load(file), dtype=np.float32)


def _facts(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return {key: found[key] for key in ("seed", "seconds", "steps", "best_step", "parameters")}
