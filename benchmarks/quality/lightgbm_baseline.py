"""One LightGBM per task on the rows and features of the networks; everything is chosen on the validation part."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.bootstrap import Predictions, exact_auc
from benchmarks.quality.features import Ids, Matrix, read_matrix
from benchmarks.quality.labels import Labels, read_labels
from polytask.errors import Problem, UserError
from polytask.files import whole_file, write_json
from polytask.training.prepared import Prepared

ROUNDS, PATIENCE = 1_000, 50
FIXED: Mapping[str, Any] = {
    "objective": "binary",
    "metric": "auc",
    "learning_rate": 0.05,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.8,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
PARTS = ("train", "validation", "test")
LEAVES = (31, 63)
IDS: tuple[Ids, ...] = ("category", "none")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is tried on the validation part, for each task by itself.

    Attributes:
        num_leaves: Size of a tree.
        ids: What becomes of id columns.
    """

    num_leaves: int
    ids: Ids


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One task.

    Attributes:
        setting: The setting chosen.
        tried: Validation AUC of each setting with the first seed.
        validation: Validation AUC per seed.
        rounds: Trees per seed.
        seconds: Of the clock, for the search and all seeds.
        cpu_seconds: Of all threads together, which other programs on the machine hardly change.
        predictions: Test predictions, ``[seeds, rows]``.
    """

    setting: Setting
    tried: Sequence[tuple[Setting, float]]
    validation: Sequence[float]
    rounds: Sequence[int]
    seconds: float
    cpu_seconds: float
    predictions: Predictions


@dataclass(frozen=True, slots=True)
class TaskData:
    """One task's rows in one form.

    Attributes:
        train: Binned training rows.
        validation: Binned validation rows.
        held_out: The validation rows.
        held_out_labels: Their labels.
        test: The test rows.
    """

    train: lightgbm.Dataset
    validation: lightgbm.Dataset
    held_out: NDArray[np.float64]
    held_out_labels: NDArray[np.bool_]
    test: NDArray[np.float64]


class Baseline:
    """Trains LightGBM models; finished tasks are read from the folder.

    Args:
        prepared: The data.
        folder: Where results are kept.
        seeds: How many bagging seeds.
        threads: CPU threads; 0 leaves LightGBM's choice.
        rounds: Most trees of a model.
    """

    def __init__(self, prepared: Prepared, folder: Path, *, seeds: int, threads: int = 0, rounds: int = ROUNDS) -> None:
        self._prepared, self._folder, self._seeds = prepared, folder, seeds
        self._threads, self._rounds = threads, rounds

    def run(self, task: str) -> TaskResult:
        """Trains one task, or reads what was trained before.

        Raises:
            UserError: The folder holds results of other data or settings.
        """
        file = self._folder / f"{task}.json"
        if file.exists():
            return self._read(file)
        started, busy = time.perf_counter(), time.process_time()
        data = {ids: self._data(task, ids) for ids in (IDS if self._matrices["train"].ids else IDS[:1])}
        settings = [Setting(leaves, ids) for leaves, ids in product(LEAVES, data)]
        first = {setting: self._fit(data[setting.ids], setting, seed=0) for setting in settings}
        tried = [(setting, score) for setting, (_, score, _) in first.items()]
        chosen = max(tried, key=lambda one: -1.0 if np.isnan(one[1]) else one[1])[0]
        others = (self._fit(data[chosen.ids], chosen, seed) for seed in range(1, self._seeds))
        fitted = [first[chosen], *others]
        predictions = np.stack([scores for scores, _, _ in fitted]).astype(np.float32)
        seconds, cpu = time.perf_counter() - started, time.process_time() - busy
        result = TaskResult(
            chosen, tried, [v for _, v, _ in fitted], [r for _, _, r in fitted], seconds, cpu, predictions
        )
        self._write(file, result)
        return result

    def _data(self, task: str, ids: Ids) -> TaskData:
        """The rows that count for a task; of the test part all rows, without labels."""
        parts = []
        for part, labels in self._labels.items():
            number = labels.tasks.index(task)
            known = labels.observed[number]
            values, categorical = self._matrices[part].with_ids(ids)
            parts.append((values if known.all() else values[known], labels.positive[number, known]))
        train = lightgbm.Dataset(*parts[0], categorical_feature=categorical, params=dict(FIXED))
        validation = lightgbm.Dataset(*parts[1], reference=train)
        test = self._matrices["test"].with_ids(ids)[0]
        return TaskData(train, validation, *parts[1], test)

    def _fit(self, data: TaskData, setting: Setting, seed: int) -> tuple[NDArray[np.float64], float, int]:
        """Test predictions, validation AUC and number of trees."""
        own = {"num_leaves": setting.num_leaves, "num_threads": self._threads}
        seeds = {"bagging_seed": seed + 1, "feature_fraction_seed": seed + 1}
        booster = lightgbm.train(
            {**FIXED, **own, **seeds}, data.train, self._rounds, valid_sets=[data.validation],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )  # fmt: skip
        score = exact_auc(np.asarray(booster.predict(data.held_out)), data.held_out_labels)
        return np.asarray(booster.predict(data.test), dtype=np.float64), score, booster.best_iteration

    @cached_property
    def _matrices(self) -> dict[str, Matrix]:
        return {part: read_matrix(self._prepared, part) for part in PARTS}

    @cached_property
    def _labels(self) -> dict[str, Labels]:
        return {part: read_labels(self._prepared, part) for part in PARTS[:2]}

    def _key(self) -> dict[str, Any]:
        """What results depend on; threads are left out, since `deterministic` makes them irrelevant."""
        fixed = {name: value for name, value in FIXED.items() if name != "verbosity"}
        data = {name: part.source.fingerprint() for name, part in self._prepared.parts.items()}
        tried = {"leaves": list(LEAVES), "ids": list(IDS), "rounds": self._rounds, "patience": PATIENCE}
        return {"seeds": self._seeds, "fixed": fixed, **tried, "data": data}

    def _write(self, file: Path, result: TaskResult) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(file.with_suffix(".npy")) as partial, partial.open("wb") as stream:
            np.save(stream, result.predictions)
        facts = {
            "setting": asdict(result.setting),
            "tried": [{**asdict(setting), "validation_auc": score} for setting, score in result.tried],
            "validation": result.validation, "rounds": result.rounds, "seconds": result.seconds,
            "cpu_seconds": result.cpu_seconds,
        }  # fmt: skip
        write_json(file, {"key": self._key(), **facts})

    def _read(self, file: Path) -> TaskResult:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["key"] != self._key():
            what = "holds LightGBM results of other data, seeds or settings"
            raise UserError(Problem(str(file), what, f"use a new --out, or delete {self._folder}"))
        tried = [(Setting(**{k: v for k, v in one.items() if k != "validation_auc"}), one) for one in found["tried"]]
        return TaskResult(
            Setting(**found["setting"]), [(setting, one["validation_auc"]) for setting, one in tried],
            found["validation"], found["rounds"], found["seconds"], found["cpu_seconds"],
            np.load(file.with_suffix(".npy")),
        )  # fmt: skip
