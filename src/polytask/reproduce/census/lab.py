"""Trains models of one process: the rows of a group are read once and stay in memory."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from polytask.config import Config, parse_config
from polytask.data.reader import Reader
from polytask.errors import Problem, UserError
from polytask.evaluation.scores import score
from polytask.reproduce.census.experiment import CensusExperiment, Group
from polytask.reproduce.census.outcome import Job, Outcome
from polytask.reproduce.census.settings import configuration
from polytask.reproduce.census.trees import Trees
from polytask.specs import TaskName
from polytask.tables import Tables, open_tables
from polytask.training.loop import EVALUATION_ROWS, EvaluationRecord, Training
from polytask.training.prepared import Prepared, prepare
from polytask.training.run import single_task
from polytask.training.single import new_training


@dataclass(frozen=True)
class InMemory(Prepared):
    """Prepared rows whose readers are made once, so that every training reads the rows that the first one encoded."""

    readers: dict[str, Reader] = field(default_factory=dict)

    def reader(self, part: str) -> Reader:
        """The reader of a part, the same every time."""
        if part not in self.readers:
            self.readers[part] = super().reader(part)
        return self.readers[part]

    def only(self, *tasks: TaskName) -> InMemory:
        """The same with the labels of some tasks, and readers of its own."""
        labels = tuple(label for label in self.preprocessor.labels if label.spec.task in tasks)
        return replace(self, preprocessor=replace(self.preprocessor, labels=labels), readers={})


class Lab:
    """Does jobs, one after another.

    Args:
        experiment: All settings.
        folder: Where relative paths of the experiment start.
    """

    def __init__(self, experiment: CensusExperiment, folder: Path) -> None:
        self._experiment, self._folder = experiment, folder
        self._prepared: dict[tuple[int, str | None], InMemory] = {}
        self._trees: dict[int, Trees] = {}

    def train(self, job: Job) -> Outcome:
        """One training.

        Raises:
            UserError: The data are at fault.
        """
        if job.method == "lightgbm":
            if job.group not in self._trees:
                self._trees[job.group] = Trees(self.rows(job.group), self._experiment.lightgbm)
            return self._trees[job.group].train(job)
        group = self._experiment.groups[job.group]
        prepared = self.rows(job.group, job.task)
        config = configuration(self._experiment, group, job.method, job.settings, self._folder)
        if job.task is not None:
            config = single_task(config, job.task, self.rows(job.group).preprocessor)
        return train_network(
            config, prepared, job, objective=job.task or group.main, patience=self._experiment.networks.patience
        )

    def rows(self, number: int, task: str | None = None) -> InMemory:
        """The rows of a group, with the labels of all tasks or of one."""
        if (number, task) not in self._prepared:
            whole = self.rows(number) if task is not None else self._read(self._experiment.groups[number])
            self._prepared[number, task] = whole if task is None else whole.only(task)
        return self._prepared[number, task]

    def _read(self, group: Group) -> InMemory:
        config = parse_config(
            {
                "data": group.data.model_dump(exclude_none=True),
                "tasks": {name: task.model_dump(exclude_none=True) for name, task in group.tasks.items()},
            },
            relative_to=self._folder,
        )
        tables = open_tables(config)
        if "test" not in tables.parts:
            raise UserError(Problem(f"groups.{group.name}.data", "has no test part", "name a file in data.test"))
        if self._experiment.rows is not None:
            tables = first_rows(tables, config, self._experiment.rows)
        found = prepare(tables, buffer=max(config.train.shuffle_buffer, tables.train.rows))
        return InMemory(found.parts, found.preprocessor, found.rows, found.buffer)


def train_network(config: Config, prepared: Prepared, job: Job, *, objective: str, patience: int) -> Outcome:
    """Trains one network and scores its best epoch, by the validation AUC of ``objective``.

    A loss that is not finite is an outcome as well: learning rates are tuned.
    """
    started = time.process_time()
    training = new_training(config, prepared, job.seed)
    facts: dict[str, Any] = {
        "settings": job.settings, "seed": job.seed, "parameters": sum(p.numel() for p in training.model.parameters()),
    }  # fmt: skip
    try:
        best, length, weights, validation = _best_epoch(training, objective, patience)
    except UserError as error:  # the loop knows no other error of this kind
        spent = time.process_time() - started
        return Outcome(**facts, validation={}, test={}, best=0, length=0, seconds=spent, diverged=str(error))
    training.model.load_state_dict(weights)
    scores = score(training.model, prepared.reader("test").ordered(EVALUATION_ROWS))
    test = {task: values["auc"] for task, values in scores.items()}
    spent = time.process_time() - started
    return Outcome(**facts, validation=validation, test=test, best=best, length=length, seconds=spent)


def _best_epoch(
    training: Training, objective: str, patience: int
) -> tuple[int, int, Mapping[str, torch.Tensor], Mapping[str, float]]:
    """Number, epochs trained, weights and validation AUC of the best epoch."""
    best, epoch, highest = 0, 0, -math.inf
    weights: Mapping[str, torch.Tensor] = {}
    validation: Mapping[str, float] = {}
    for record in training:
        if not isinstance(record, EvaluationRecord):
            continue
        epoch += 1
        value = record.scores[objective]["auc"]
        if value > highest or not best:
            best, highest = epoch, value if value == value else -math.inf
            weights = copy.deepcopy(training.model.state_dict())
            validation = {task: values["auc"] for task, values in record.scores.items()}
        elif epoch - best >= patience:
            break
    return best, epoch, weights, validation


def first_rows(tables: Tables, config: Config, rows: int) -> Tables:
    """The first rows of every part, in memory, with the roles that the whole tables gave the columns."""
    found: dict[str, pa.Table] = {}
    for name, part in tables.parts.items():
        pieces: list[pa.RecordBatch] = []
        for batch in part.scan(part.source.schema.names):
            pieces.append(batch)
            if sum(len(piece) for piece in pieces) >= rows:
                break
        found[name] = pa.Table.from_batches(pieces).slice(0, rows)
    opened = open_tables(config, found["train"], validation=found["validation"], test=found["test"])
    return replace(opened, roles=tables.roles, reasons=tables.reasons)
