"""Trains one model for all preferences: the ordinary loop, with the step and the evaluation of a conditioned model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing import equal
from polytask.balancing.engine import Balancing, NonFiniteError
from polytask.config import Config, dump_config
from polytask.errors import Problem
from polytask.evaluation.scores import Scores, score, selection_score
from polytask.files import write_json
from polytask.serving.bundle import fitted_model
from polytask.tradeoffs.grid import Preference, rounded
from polytask.tradeoffs.kept import save_front, saved_at
from polytask.tradeoffs.moving import FrontOptimization
from polytask.tradeoffs.network import build_front, model_at
from polytask.tradeoffs.plan import Whole, task_weights
from polytask.training.checkpoint import Checkpoints
from polytask.training.folder import CONFIG, RECORDS
from polytask.training.loop import EVALUATION_ROWS, SKIPPED, EvaluationRecord, Record, Training
from polytask.training.prepared import Prepared
from polytask.training.single import Watcher, choose_device, part_scores, read_scores, record_training
from polytask.training.step import StepRecord, targets
from polytask.types import Batch

NOTHING = torch.empty(0)
"""Stands where other networks read features: a preference beside it is the preference."""


class FrontTraining(Training):
    """One run of the loop for a conditioned model.

    Args:
        config: The configuration; `train.seed` is not read.
        prepared: The data.
        method: How the model is conditioned, on which tasks.
        seed: Initial weights, order, dropout and preferences.

    Raises:
        UserError: If the method cannot condition this model.
    """

    def __init__(self, config: Config, prepared: Prepared, method: Whole, seed: int) -> None:
        torch.manual_seed(seed)
        device = choose_device(config.train.device)
        model = fitted_model(config, prepared.preprocessor)
        for group in model.task_stacks:
            group.check_loss()
        model.to(device)
        train = config.train.model_copy(update={"probe": 0})  # of one model, and there is none
        super().__init__(
            model, Balancing(equal(), len(model.tasks)), prepared.reader("train"), prepared.reader("validation"),
            train, seed=seed, groups=prepared.preprocessor.groups,
        )  # fmt: skip
        names = [task.name for task in model.tasks]
        self._tasks, self._names = method.tasks, names
        self._traded = torch.tensor([names.index(task) for task in method.tasks], device=device)
        self._others = torch.tensor(
            [number for number, name in enumerate(names) if name not in method.tasks], dtype=torch.long, device=device
        )
        self._units = torch.tensor([(method.units or {}).get(name, 1.0) for name in names], device=device)
        self.front = build_front(method.part, model, len(method.tasks), allow_code=config.allow_code).to(device)
        self._optimization = FrontOptimization(self.front, model, config.train, steps=self.steps)

    def __iter__(self) -> Iterator[Record]:
        self.front.train()
        yield from super().__iter__()

    def _move(self, epoch: int, batch: Batch) -> StepRecord:
        self._optimization.zero_grad()
        try:
            rays, losses, present = self._backward(batch)
        except NonFiniteError:
            self._skipped += 1
            if self._config.non_finite == "stop" or self._skipped > SKIPPED:
                raise
            nothing = len(self._names)
            return StepRecord(self.step + 1, epoch, len(batch), (math.nan,) * nothing, (0.0,) * nothing, 0.0)
        self._skipped = 0
        share = self._optimization.step(self.step, present)
        mean = task_weights(self._tasks, self._names, rounded(rays.mean(0).tolist()))
        known = torch.where(present.to(losses.device), losses.mean(0), math.nan)
        return StepRecord(self.step + 1, epoch, len(batch), tuple(known.tolist()), tuple(mean.values()), share)

    def _backward(self, batch: Batch) -> tuple[Float[Tensor, "window traded"], Float[Tensor, "window tasks"], Tensor]:
        """Adds the gradients of the method's objective, and of what is not traded at weight 1."""
        chance = np.random.default_rng([self._seed, self.step])
        micro = [(piece, targets(self.model, piece, chance)) for piece in self._pieces(batch)]
        self.front.advance(self.step / self.steps)
        rays = self.front.draw().to(self._units)
        found = [self.front(ray, NOTHING.to(ray), micro, self._precision()) for ray in rays]
        losses = torch.stack([own for own, _, _ in found]).float()
        present = found[0][1].cpu()
        self._refuse_non_finite(losses.detach(), rays)
        scaled = losses / self._units
        rest = torch.stack([penalty for _, _, penalty in found]).sum() + scaled[:, self._others].sum()
        if rest.requires_grad:
            # preferences add up to 1 over the traded tasks, whose mean weight is to be that of the others
            (rest / len(self._tasks)).backward(retain_graph=True)  # type: ignore[no-untyped-call]
        self.front.backward(scaled[:, self._traded], rays)
        return rays, losses.detach(), present

    def _refuse_non_finite(self, losses: Float[Tensor, "window tasks"], rays: Float[Tensor, "window traded"]) -> None:
        bad = (~losses.isfinite()).any(0).tolist()
        remedy = "lower train.learning_rate, set train.clip_norm, or check the label's scale and extreme inputs"
        problems = [
            Problem(f"tasks.{name}", f"its loss is not finite in step {self.step + 1}", remedy)
            for name, wrong in zip(self._names, bad, strict=True)
            if wrong
        ]
        if problems:
            raise NonFiniteError(problems)

    def _evaluate(self) -> EvaluationRecord:
        """Scores the ends and the middle of the front; the scores shown are those of the middle."""
        values, scores = [], Scores()
        for preference in checked(len(self._tasks)):
            model = model_at(self.front, preference)
            scores = score(model, self._validation.ordered(EVALUATION_ROWS), self._groups)
            own = {name: scores[name] for name in self._names}
            values.append(selection_score(own, task_weights(self._tasks, self._names, preference)))
        value = sum(values) / len(values)
        best = not self.best_step or value > self.best_score or (math.isnan(self.best_score) and not math.isnan(value))
        self._without_gain = 0 if best else self._without_gain + 1
        if best:
            self.best_score, self.best_step = value, self.step
        self._owes_evaluation = False
        return EvaluationRecord(self.step, scores, value, best)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run needs to go on bit by bit."""
        return {**super().state_dict(), "front": self.front.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved state."""
        super().load_state_dict(state)
        self.front.load_state_dict(state["front"])


def checked(tasks: int) -> list[Preference]:
    """The preferences that an evaluation looks at: near the end of every task, and last the middle.

    Example:
        >>> checked(2)
        [(0.9, 0.1), (0.1, 0.9), (0.5, 0.5)]
    """
    low = 0.2 / tasks
    ends = [[1.0 - low * (tasks - 1) if own == task else low for own in range(tasks)] for task in range(tasks)]
    return [rounded(row) for row in (*ends, [1.0 / tasks] * tasks)]


def train_front(
    config: Config, prepared: Prepared, method: Whole, folder: Path, *, seed: int, title: str, watcher: Watcher
) -> dict[str, Scores]:
    """Trains a conditioned model, keeps its best weights, and writes it with a bundle of its middle.

    The counterpart of `polytask.training.single.train_one`: a finished folder is only read, and a begun one goes on
    from its last checkpoint.

    Args:
        config: What to train; `train.seed` is not read.
        prepared: The data.
        method: How the model is conditioned.
        folder: The run folder.
        seed: Initial weights, order, dropout and preferences.
        title: What the progress display calls the run.
        watcher: Sees every record.

    Returns:
        ``{part: {task: {metric: value}}}`` under even preferences.

    Raises:
        UserError: A loss is not finite, or checkpoints exist and none can be read.
        KeyboardInterrupt: After Ctrl-C, when the checkpoint is written.
    """
    done = folder / "scores.json"
    if done.exists():
        return read_scores(done)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG).exists():
        (folder / CONFIG).write_text(dump_config(config), encoding="utf-8")
    checkpoints = Checkpoints(folder / "checkpoints")
    training = FrontTraining(config, prepared, method, seed)
    state = checkpoints.latest()
    if state is not None:
        training.load_state_dict(state)
    watcher.start(title, training, folder)
    started, before = time.perf_counter(), training.step
    record_training(training, training.front, checkpoints, config.train.checkpoint_every, folder / RECORDS, watcher)
    seconds = time.perf_counter() - started
    front = training.front
    front.load_state_dict(checkpoints.best(training.best_step))
    front.cpu().eval()
    middle = checked(len(method.tasks))[-1]
    model = model_at(front, middle)
    scores = part_scores(model, prepared)
    save_front(folder, front, method)
    saved_at(config, prepared.preprocessor, model, scores, method, middle).save(folder / "bundle")
    facts = {
        "seed": seed, "steps": training.step, "best_step": training.best_step,
        "seconds": seconds, "timed_steps": training.step - before,
        "parameters": sum(parameter.numel() for parameter in front.parameters()), "part_rows": prepared.part_rows,
    }  # fmt: skip
    write_json(done, {"scores": scores, **facts})
    checkpoints.clear()
    watcher.finish()
    return scores
