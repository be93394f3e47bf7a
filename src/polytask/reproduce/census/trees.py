"""LightGBM on the rows of the networks: one model per task, stopped on the validation part."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from polytask.errors import MissingExtraError
from polytask.metrics import ExactAUC
from polytask.reproduce.census.experiment import TreeTraining
from polytask.reproduce.census.outcome import Job, Outcome
from polytask.training.prepared import Prepared

Matrix = npt.NDArray[np.float32]


def require_lightgbm() -> Any:
    """The package, or `MissingExtraError`."""
    try:
        return importlib.import_module("lightgbm")
    except ModuleNotFoundError as error:
        raise MissingExtraError("lightgbm", extra="baselines", purpose="one LightGBM model per task") from error


class Trees:
    """Trains LightGBM on the columns as the networks read them: codes of categories, and numbers.

    Args:
        prepared: The rows of all tasks.
        fixed: What is not tuned.
    """

    def __init__(self, prepared: Prepared, fixed: TreeTraining) -> None:
        self._package, self._fixed = require_lightgbm(), fixed
        self._parts = {part: _columns(prepared, part) for part in ("train", "validation", "test")}
        self._tasks = prepared.preprocessor.tasks

    def train(self, job: Job) -> Outcome:
        """One model of one task."""
        started, task = time.process_time(), self._tasks.index(str(job.task))
        labels = {name: part[1][task] for name, part in self._parts.items()}
        categorical = list(range(self._parts["train"][2]))
        train = self._package.Dataset(
            self._parts["train"][0], labels["train"], categorical_feature=categorical, params=self._options(job)
        )
        validation = self._package.Dataset(self._parts["validation"][0], labels["validation"], reference=train)
        stop = self._package.early_stopping(self._fixed.patience, verbose=False)
        booster = self._package.train(
            self._options(job), train, self._fixed.rounds, valid_sets=[validation], callbacks=[stop]
        )
        scores = {
            part: _auc(booster.predict(self._parts[part][0], num_threads=1), labels[part])
            for part in ("validation", "test")
        }
        return Outcome(
            job.settings, job.seed, {str(job.task): scores["validation"]}, {str(job.task): scores["test"]},
            best=booster.best_iteration, length=booster.current_iteration(),
            parameters=booster.current_iteration() * int(job.settings["num_leaves"]),
            seconds=time.process_time() - started,
        )  # fmt: skip

    def _options(self, job: Job) -> dict[str, Any]:
        return {
            "objective": "binary", "metric": "auc", "learning_rate": self._fixed.learning_rate, "bagging_freq": 1,
            "seed": job.seed % 2**31, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
            **job.settings,
        }  # fmt: skip


def _columns(prepared: Prepared, part: str) -> tuple[Matrix, npt.NDArray[np.float32], int]:
    """Features with categories first, labels ``[tasks, rows]``, and how many columns are categories."""
    batches = list(prepared.reader(part).ordered(1 << 20))
    ids = np.concatenate([batch.features.ids.numpy() for batch in batches])
    numbers = np.concatenate([batch.features.numeric.numpy() for batch in batches])
    labels = [np.concatenate([batch.labels[task].numpy() for batch in batches]) for task in prepared.preprocessor.tasks]
    ids = ids - ids.min(0, initial=0 if not len(ids) else ids.max())  # rows of one table that all columns share
    return np.concatenate([ids, numbers], axis=1, dtype=np.float32), np.stack(labels), ids.shape[1]


def _auc(predictions: Any, labels: npt.NDArray[np.float32]) -> float:
    metric = ExactAUC()
    metric.update(torch.from_numpy(np.asarray(predictions)), torch.from_numpy(labels))
    return metric.compute()
