"""The other baseline: one LightGBM model per task, on the rows, labels and weights of the networks."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from polytask.comparing.memory import PeakMemory
from polytask.comparing.outcome import Outcome
from polytask.config import Config
from polytask.data.columns import CategoricalColumn, NumericColumn, SequenceColumn, id_rows
from polytask.data.preprocessor import Preprocessor
from polytask.errors import Problem, UserError
from polytask.evaluation.scores import TaskScorer
from polytask.serving.bundle import fitted_tasks
from polytask.tasks import Task
from polytask.training.prepared import Prepared
from polytask.training.single import SPLITS
from polytask.types import Batch, Features

ROUNDS, PATIENCE, RATE = 2_000, 50, 0.05
OPTIONS = {"bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.8}
"""Without them all seeds would give the same model."""
READ = 1 << 18
SPEED_ROWS = 8_192
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Rows:
    """One part of the data.

    Attributes:
        columns: ``[rows, columns]``.
        labels: Everything else, without features.
    """

    columns: Matrix
    labels: Batch


class Trees:
    """Trains LightGBM on what the networks read: codes of categories, scaled numbers and their gaps.

    A list of ids becomes its length and its last item. Bins and exact values of numbers are left out: trees find their
    own. 2,000 rounds at most, a learning rate of 0.05, stopped on the validation part; the rest are LightGBM's defaults
    but for the shares of rows and columns (0.8 each) that make seeds differ.

    Args:
        config: The configuration.
        prepared: Its data.
    """

    def __init__(self, config: Config, prepared: Prepared) -> None:
        self._package: Any = importlib.import_module("lightgbm")
        self._threads, self._prepared = config.train.threads or 1, prepared
        self._tasks = {task.name: task for task in fitted_tasks(config, prepared.preprocessor)}
        self._columns = _Columns(prepared.preprocessor)
        self._parts = {part: self._read(prepared, part) for part in ("train", *SPLITS) if part in prepared.parts}

    def train(self, name: str, seed: int) -> Outcome:
        """One model of one task.

        Raises:
            UserError: The validation part, by which it stops, has no label of the task.
        """
        if not self._parts["validation"].labels.observed[name].any():
            what = "no observed label in the validation part, by which trees stop"
            raise UserError(Problem(f"tasks.{name}", what, "use a larger validation part"))
        task, options = self._tasks[name], self._options(name, seed)
        train = self._dataset(name, "train", options)
        validation = self._dataset(name, "validation", options, reference=train)
        stop = self._package.early_stopping(PATIENCE, first_metric_only=True, verbose=False)

        started = time.perf_counter()
        with PeakMemory() as memory:
            booster = self._package.train(options, train, ROUNDS, valid_sets=[validation], callbacks=[stop])
        seconds = time.perf_counter() - started
        scores = {part: {name: self._score(task, booster, part)} for part in SPLITS if part in self._parts}
        leaves = sum(tree["num_leaves"] for tree in booster.dump_model(booster.best_iteration)["tree_info"])
        return Outcome(
            scores, seconds, leaves, self._speed(booster), memory.mib, booster.current_iteration(),
            booster.best_iteration,
        )  # fmt: skip

    def _read(self, prepared: Prepared, part: str) -> _Rows:
        batches = list(prepared.reader(part).ordered(READ))
        return _Rows(np.concatenate([self._columns(batch.features) for batch in batches]), _joined(batches))

    def _dataset(self, name: str, part: str, options: Any, reference: Any = None) -> Any:
        rows = self._parts[part]
        seen = rows.labels.observed[name].numpy()
        weights = rows.labels.weights.get(name)
        return self._package.Dataset(
            rows.columns[seen], rows.labels.labels[name].numpy()[seen], params=options, reference=reference,
            weight=None if weights is None else weights.numpy()[seen],
            categorical_feature=self._columns.categories, feature_name=self._columns.names,
        )  # fmt: skip

    def _score(self, task: Task, booster: Any, part: str) -> dict[str, float]:
        rows = self._parts[part]
        predictions = np.asarray(booster.predict(rows.columns, num_threads=self._threads), dtype=np.float64)
        scorer = TaskScorer(task, self._prepared.preprocessor.groups.get(task.name))
        scorer.update(torch.from_numpy(predictions), rows.labels)
        return scorer.compute()

    def _speed(self, booster: Any) -> float:
        rows = self._parts["validation"].columns[:SPEED_ROWS]
        started = time.perf_counter()
        booster.predict(rows, num_threads=self._threads)
        return len(rows) / max(time.perf_counter() - started, 1e-9)

    def _options(self, name: str, seed: int) -> dict[str, Any]:
        task = self._tasks[name]
        return {
            "learning_rate": RATE, "seed": seed, "deterministic": True, "force_row_wise": True,
            "num_threads": self._threads, "verbosity": -1, **OPTIONS, **objective(task),
        }  # fmt: skip


def objective(task: Task) -> dict[str, Any]:
    """What LightGBM minimises for a task, by the loss that selects the networks as well.

    Example:
        >>> from polytask.tasks import binary, count
        >>> objective(binary("click")), objective(count("visits"))
        ({'objective': 'binary'}, {'objective': 'poisson'})
    """
    if task.kind in ("multiclass", "ordinal"):
        return {"objective": "multiclass", "num_class": len(task.constant_prediction)}
    if task.kind == "regression":
        names = {"absolute_error": "l1", "pinball": "quantile"}
        found: dict[str, Any] = {"objective": names.get(task.selection_loss_name, "l2")}
        return found | ({"alpha": getattr(task, "quantile", 0.5)} if found["objective"] == "quantile" else {})
    return {"objective": "poisson" if task.kind == "count" else "binary"}


class _Columns:
    """Picks the columns for trees from encoded rows.

    Attributes:
        names: Of the columns, plain words that LightGBM accepts.
        categories: Which of them are codes.
    """

    def __init__(self, preprocessor: Preprocessor) -> None:
        spec, place = preprocessor.spec, 0
        self._ids: list[int] = []
        for column in preprocessor.columns:
            width = 1 if isinstance(column, CategoricalColumn) else len(id_rows(column))
            if not isinstance(column, NumericColumn):  # bins and exact values: trees find their own
                self._ids += range(place, place + width)
            place += width
        spans = preprocessor.space_rows()
        first = {id(space): spans[f"vocabulary {name}"][0] for name, space in preprocessor.spaces.items()}
        lists = [column for column in preprocessor.columns if isinstance(column, SequenceColumn)]
        self._sequences = {column.name: first[id(column.space)] for column in lists}
        # rows of one table that all columns share: codes are counted from the column's own first row
        self._starts = np.array([spec.unseen[column] for column in self._ids], dtype=np.int64)
        codes, numbers = len(self._ids), len(spec.numerics)
        self.names = [f"column {index}" for index in range(codes + 2 * len(self._sequences) + numbers)]
        self.categories = list(range(codes + len(self._sequences)))

    def __call__(self, features: Features) -> Matrix:
        """Codes, last items of lists, lengths of lists, numbers."""
        codes = features.ids.numpy()[:, self._ids] - self._starts
        lasts, lengths = [], []
        for name, start in self._sequences.items():
            ragged = features.sequences[name]
            ends, values = ragged.offsets.numpy(), ragged.values.numpy()
            length = np.diff(ends)
            last = np.full(len(length), -1)  # below 0 is missing to LightGBM
            last[length > 0] = values[ends[1:][length > 0] - 1] - start
            lasts.append(last)
            lengths.append(length)
        parts: Sequence[npt.NDArray[Any]] = [
            codes,
            *(one[:, None] for one in (*lasts, *lengths)),
            features.numeric.numpy(),
        ]
        return np.concatenate(parts, axis=1, dtype=np.float32)


def _joined(batches: Sequence[Batch]) -> Batch:
    """Labels of all batches behind one another; features are left out."""

    def join(name: str) -> dict[str, torch.Tensor]:
        first = getattr(batches[0], name)
        return {key: torch.cat([getattr(batch, name)[key] for batch in batches]) for key in first}

    rows = sum(len(batch) for batch in batches)
    nothing = Features(torch.zeros(rows, 0, dtype=torch.int32), torch.zeros(rows, 0))
    return Batch(nothing, join("labels"), join("observed"), join("weights"), join("groups"))
