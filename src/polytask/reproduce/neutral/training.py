"""One training, from a seed to scores."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from polytask.balancing.engine import NonFiniteError
from polytask.config import ComponentConfig, TrainConfig, check_options, resolve
from polytask.evaluation.scores import Scores, score
from polytask.model import Model
from polytask.reproduce.neutral.experiment import SINGLE, DataSet, Schedule
from polytask.reproduce.neutral.material import Material
from polytask.reproduce.neutral.methods import Variant, balancing
from polytask.reproduce.neutral.rows import MemoryReader
from polytask.tasks import Task
from polytask.towers import Towers
from polytask.training.loop import EVALUATION_ROWS, EvaluationRecord, Training


@dataclass(frozen=True, slots=True)
class Job:
    """A training to do.

    Attributes:
        data_set: Its number.
        variant: What to train.
        learning_rate: Peak.
        seed: Initial weights, order, dropout.
        file: Keeps the outcome, in the folder of cells.
    """

    data_set: int
    variant: Variant
    learning_rate: float
    seed: int
    file: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A training that is done.

    Attributes:
        learning_rate: What it was done with.
        weights: Likewise; static ones.
        seed: Likewise.
        validation: Mean over tasks of the share of the constant prediction's loss that is saved, at the best
            evaluation; None if that is undefined, or the loss was not finite.
        step: Of that evaluation.
        test: Per task the metric of the data set; nothing if the loss was not finite.
        seconds: Of one processor.
        diverged: What was not finite, in words; empty if all was.
    """

    learning_rate: float
    weights: tuple[float, ...]
    seed: int
    validation: float | None
    step: int
    test: Mapping[str, float]
    seconds: float
    diverged: str = ""

    @property
    def objective(self) -> float:
        """What is raised by the choice of settings; minus infinity if there is nothing."""
        return -math.inf if self.validation is None else self.validation

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def build(data_set: DataSet, material: Material, tasks: tuple[Task, ...], *, stacked: bool) -> Model:
    """A fresh network.

    Args:
        data_set: Its settings.
        material: Its encoder.
        tasks: Of the network.
        stacked: A network per task, all in one.
    """
    network = data_set.network
    part = network.sharing
    if stacked:
        part = ComponentConfig(use=SINGLE, options=dict(part.options))
    builder, options = resolve("polytask.sharing", part, path="network.sharing", provided={"tasks", "in_features"})
    encoder = material.encoder()
    sharing = builder(len(tasks), encoder.out_features, **options)
    chosen = check_options(Towers, network.towers, path="network.towers", provided={"tasks", "in_features"})
    return Model(encoder, sharing, Towers(len(tasks), sharing.out_features, **chosen), tasks)


def new_training(job: Job, data_set: DataSet, material: Material) -> Training:
    """A run before its first step; draws from torch's generator."""
    torch.manual_seed(job.seed)
    variant = job.variant
    tasks = tuple(task for task in material.tasks if variant.task in (None, task.name))
    model = build(data_set, material, tasks, stacked=variant.method == SINGLE and variant.task is None)
    chosen = balancing(variant, tasks, data_set.train.at, job.seed)
    train, validation = (MemoryReader(material.parts[name]) for name in ("train", "validation"))
    return Training(model, chosen, train, validation, _config(data_set.train, job.learning_rate), seed=job.seed)


def train(job: Job, data_set: DataSet, material: Material) -> Outcome:
    """Trains one network, and scores its best evaluation on the test part.

    A loss that is not finite is an outcome as well: learning rates are tried.
    """
    began = time.process_time()
    training = new_training(job, data_set, material)
    known: dict[str, Any] = {"learning_rate": job.learning_rate, "weights": job.variant.weights, "seed": job.seed}
    weights: Mapping[str, torch.Tensor] = {}
    try:
        for record in training:
            if isinstance(record, EvaluationRecord) and record.best:
                weights = copy.deepcopy(training.model.state_dict())
    except NonFiniteError as error:
        spent = time.process_time() - began
        return Outcome(**known, validation=None, step=0, test={}, seconds=spent, diverged=str(error))
    training.model.load_state_dict(weights)
    rows = material.parts["test"]
    scores = score(training.model, MemoryReader(rows).ordered(EVALUATION_ROWS))
    best = training.best_score
    return Outcome(
        **known,
        validation=None if math.isnan(best) else best,
        step=training.best_step,
        test=_metric(scores, data_set.metric),
        seconds=time.process_time() - began,
    )


def _metric(scores: Scores, metric: str) -> dict[str, float]:
    return {task: values[metric] for task, values in scores.items()}


def _config(schedule: Schedule, learning_rate: float) -> TrainConfig:
    return TrainConfig(
        epochs=schedule.steps,  # an epoch has a step at least
        steps=schedule.steps,
        batch_size=schedule.batch_size,
        learning_rate=learning_rate,
        embedding_learning_rate=schedule.embedding_factor * learning_rate,
        weight_decay=schedule.weight_decay,
        patience=0,  # the best evaluation is kept anyway, and so all methods take as many steps
        evaluate_every=-(-schedule.steps // schedule.evaluations),
        device="cpu",
    )
