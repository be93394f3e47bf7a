"""The training loop: an iterator of records. Loggers, progress bars and checkpoints consume it; nothing calls back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from polytask.balancing.engine import Balancing, NonFiniteError
from polytask.config import TrainConfig
from polytask.data.reader import Position, Reader
from polytask.evaluation.scores import Scores, score, selection_score
from polytask.model import Model
from polytask.tasks import Task
from polytask.training.checkpoint import random_state, set_random_state
from polytask.training.optimization import Optimization
from polytask.training.probe import MOST_ROWS, ProbeRecord, probe, probe_every
from polytask.training.step import StepRecord, held_out_slopes, losses_again, train_step
from polytask.types import Batch

EVALUATION_ROWS = 8_192
SKIPPED = 20
"""Steps in a row that may be left out because something is not finite."""


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """An evaluation on the validation part.

    Attributes:
        step: Steps done.
        scores: Per task and metric.
        score: What selects the model.
        best: Whether it is the best so far.
    """

    kind: ClassVar[str] = "evaluation"

    step: int
    scores: Scores
    score: float
    best: bool


Record = StepRecord | EvaluationRecord | ProbeRecord


class Training:
    """One run of the loop, as an iterator with a state that can be saved between any two records.

    Args:
        model: What is trained, in place.
        balancer: How the tasks are joined.
        train: The training rows.
        validation: The validation rows.
        config: Length, batch size, learning rates, stopping.
        seed: Decides order and dropout; the model's initial weights are the caller's.
        groups: Per task the group column, for grouped metrics.
        kpis: Per task the metric that balancers may follow; default: see `kpi`.
        share: Share of a batch's rows on which gradients are compared.
        probes: Whether there are probes where ``config`` says nothing of them.

    Raises:
        UserError: While iterating: a loss is not finite; the message names task and step.
    """

    def __init__(
        self,
        model: Model,
        balancer: Balancing,
        train: Reader,
        validation: Reader,
        config: TrainConfig,
        *,
        seed: int,
        groups: Mapping[str, str] | None = None,
        kpis: Mapping[str, str] | None = None,
        share: float = 1.0,
        probes: bool = False,
    ) -> None:
        self.model, self.balancer = model, balancer
        self._train, self._validation, self._config = train, validation, config
        self._seed, self._groups = seed, groups
        self.epoch_steps = train.batches_per_epoch(config.batch_size)
        self.steps = min(config.epochs * self.epoch_steps, config.steps or config.epochs * self.epoch_steps)
        self.step = 0
        self.best_score, self.best_step = math.nan, 0
        self._without_gain, self._owes_evaluation, self._owes_probe = 0, False, False
        self._probe_every = probe_every(config, self.steps, usual=probes)
        self._probed: Batch | None = None
        self._fresh: Iterator[tuple[Position, Batch]] | None = None
        self._skipped, self._share, self._kpi_names = 0, share, kpis or {}
        self._kpis: Tensor | None = None
        self._position, self._held_out_position = Position(), Position()
        self._held_out: Iterator[tuple[Position, Batch]] | None = None
        self._device = next(model.parameters()).device
        self._optimization = Optimization(model, balancer, config, steps=self.steps)

    def __iter__(self) -> Iterator[Record]:
        batches = self._train.shuffled(self._config.batch_size, seed=self._seed, start=self._position)
        self.model.train()
        while True:
            if self._owes_probe:
                yield self._probe()
            if self._owes_evaluation:
                yield self._evaluate()
            if self.step >= self.steps or self.stopped:
                return
            yield self._train_step(batches)

    @property
    def stopped(self) -> bool:
        """Whether the validation score has not risen for ``patience`` evaluations."""
        return 0 < self._config.patience <= self._without_gain

    def owes(self, record: Mapping[str, Any]) -> bool:
        """Whether a record of an earlier process, in its JSON form, is of something that this run is still to do."""
        owed = {"evaluation": self._owes_evaluation, "probe": self._owes_probe}
        late: bool = record["step"] > self.step
        return late or (record["step"] == self.step and owed.get(record["kind"], False))

    def _train_step(self, batches: Iterator[tuple[Position, Batch]]) -> StepRecord:
        epoch = self._position.epoch
        self._position, batch = next(batches)
        batch = batch.to(self._device)
        record = self._move(epoch, batch)
        self.step += 1
        every = self._config.evaluate_every
        due = self.step % every == 0 if every else self._position.batch == 0
        self._owes_evaluation = due or self.step == self.steps
        self._owes_probe = self._probe_every > 0 and self.step % self._probe_every == 0
        return record

    def _move(self, epoch: int, batch: Batch) -> StepRecord:
        """One step of the parameters, or none where something is not finite and that may be."""
        self._optimization.zero_grad()
        micro, precision = self._pieces(batch), self._precision()
        try:
            losses, weights, seen = train_step(
                self.model, self.balancer, micro,
                number=self.step, epoch=epoch, seed=self._seed, kpis=self._kpis, precision=precision,
            )  # fmt: skip
        except NonFiniteError:
            self._skipped += 1
            if self._config.non_finite == "stop" or self._skipped > SKIPPED:
                raise
            nothing = len(self.model.tasks)
            return StepRecord(self.step + 1, epoch, len(batch), (math.nan,) * nothing, (0.0,) * nothing, 0.0)
        self._skipped = 0
        share = self._optimization.step(self.step, seen.present)
        again = partial(losses_again, self.model, micro, number=self.step, seed=self._seed, precision=precision)
        slopes = held_out_slopes(
            self.model, micro, self._next_held_out, number=self.step, seed=self._seed, precision=precision
        )
        self.balancer.after_step(seen, again, slopes)
        known = torch.where(seen.present.to(losses.device), losses, math.nan)
        return StepRecord(self.step + 1, epoch, len(batch), tuple(known.tolist()), tuple(weights.tolist()), share)

    def _next_held_out(self) -> Batch:
        """Validation rows, for balancers that learn their weights on rows that the model is not trained on."""
        if self._held_out is None:
            start = self._held_out_position
            self._held_out = self._validation.shuffled(self._config.batch_size, seed=self._seed, start=start)
        self._held_out_position, batch = next(self._held_out)
        return batch.to(self._device)

    def _pieces(self, batch: Batch) -> list[Batch]:
        """The micro-batches of a step; gradients are compared on the first one where that is to be a part only."""
        rows, pieces = len(batch), self._config.micro_batches
        if self._share < 1.0 and rows > 1:
            ends = [0, max(1, round(self._share * rows)), rows]
        else:
            ends = [number * rows // pieces for number in range(pieces + 1)]
        return [batch.slice(start, stop) for start, stop in pairwise(ends) if stop > start]

    def _evaluate(self) -> EvaluationRecord:
        scores = score(self.model, self._validation.ordered(EVALUATION_ROWS), self._groups)
        own = {task.name: scores[task.name] for task in self.model.tasks}
        value = selection_score(own, self._config.selection)
        best = not self.best_step or value > self.best_score or (math.isnan(self.best_score) and not math.isnan(value))
        self._without_gain = 0 if best else self._without_gain + 1
        if best:
            self.best_score, self.best_step = value, self.step
        self._owes_evaluation = False
        self._kpis = torch.tensor([kpi(task, scores[task.name], self._kpi_names) for task in self.model.tasks])
        return EvaluationRecord(self.step, scores, value, best)

    def _probe(self) -> ProbeRecord:
        if self._probed is None:
            rows = min(self._config.batch_size, MOST_ROWS)
            self._probed = next(self._validation.shuffled(rows, seed=self._seed))[1].to(self._device)
        self._owes_probe = False
        if not self._config.probe_affinity:
            return probe(self.model, self._probed, step=self.step)
        ahead = (self._fresh_rows(), self._config.learning_rate)
        return probe(self.model, self._probed, step=self.step, ahead=ahead)

    def _fresh_rows(self) -> Batch:
        """Validation rows that follow from the number of the probe.

        Affinities are averaged over training: on the same few rows, a rare event would be seen always or never.
        """
        if self._fresh is None:
            size = min(self._config.batch_size, MOST_ROWS)
            before = divmod(self.step // self._probe_every - 1, self._validation.batches_per_epoch(size))
            self._fresh = self._validation.shuffled(size, seed=self._seed, start=Position(*before))
        return next(self._fresh)[1].to(self._device)

    def _precision(self) -> AbstractContextManager[Any] | None:
        if self._config.precision == "bf16":
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return None

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run needs to go on bit by bit."""
        return {
            "model": dict(self.model.state_dict()),
            "balancer": dict(self.balancer.state_dict()),
            "optimization": self._optimization.state_dict(),
            "random": random_state(),
            "step": self.step,
            "position": [self._position.epoch, self._position.batch],
            "held_out": [self._held_out_position.epoch, self._held_out_position.batch],
            "best": [self.best_score, self.best_step, self._without_gain],
            "owes_evaluation": self._owes_evaluation,
            "owes_probe": self._owes_probe,
            "skipped": self._skipped,
            "kpis": None if self._kpis is None else self._kpis.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved state."""
        self.model.load_state_dict(state["model"])
        self.balancer.load_state_dict(state["balancer"])
        self._optimization.load_state_dict(state["optimization"])
        self._fresh = None
        set_random_state(state["random"])
        self.step = state["step"]
        self._position = Position(*state["position"])
        self._held_out_position, self._held_out = Position(*state["held_out"]), None
        self.best_score, self.best_step, self._without_gain = state["best"]
        self._owes_evaluation, self._owes_probe = state["owes_evaluation"], state["owes_probe"]
        self._skipped = state["skipped"]
        self._kpis = None if state["kpis"] is None else torch.tensor(state["kpis"])


def kpi(task: Task, scores: Mapping[str, float], names: Mapping[str, str]) -> float:
    """A task's performance in [0, 1] as balancers see it, NaN where it is undefined.

    The metric that ``names`` has for the task; else its primary one if higher values of that are better; else the share
    of the constant prediction's loss that it saves.
    """
    primary = task.primary_metric
    better = task.metrics()[primary].higher_is_better
    value = scores[names.get(task.name, primary if better else "improvement")]
    return min(max(value, 0.0), 1.0) if not math.isnan(value) else math.nan
