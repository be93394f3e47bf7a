"""One trial: trains, is stopped early where the rule says so, and gives what its best weights score on validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from polytask.config import Config
from polytask.evaluation.scores import Scores
from polytask.tasks import Task
from polytask.training.loop import EvaluationRecord, Training
from polytask.training.prepared import Prepared
from polytask.training.single import new_training
from polytask.tuning.rules import Curve, stops

Tell = Callable[[float], None]
State = Literal["complete", "pruned", "failed"]
Rule = Literal["median", "halving", "none"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to be as good as possible on the validation part.

    Attributes:
        name: What tables call it.
        task: The task; empty for the mean over tasks.
        metric: Its primary metric; of the mean, the share of the constant prediction's loss that is saved.
        higher_is_better: Its direction.
    """

    name: str
    task: str = ""
    metric: str = "improvement"
    higher_is_better: bool = True

    def value(self, record: EvaluationRecord) -> float:
        """Of the weights at an evaluation."""
        return record.scores[self.task][self.metric] if self.task else record.score

    def gain(self, value: float) -> float:
        """With the sign at which greater is better; what is undefined is worse than all else."""
        return -math.inf if math.isnan(value) else value if self.higher_is_better else -value


def measures_of(tasks: Sequence[Task]) -> tuple[Objective, ...]:
    """The primary metric of every task."""
    found = []
    for task in tasks:
        metric = task.primary_metric
        better = task.metrics()[metric].higher_is_better is not False
        found.append(Objective(f"{task.name}.{metric}", task.name, metric, better))
    return tuple(found)


def objectives_of(wanted: str | Sequence[str], measures: Sequence[Objective]) -> tuple[Objective, ...]:
    """What a sweep optimises.

    Args:
        wanted: As the file has it.
        measures: Of all tasks.
    """
    if wanted == "mean":
        return (Objective("mean"),)
    return tuple(one for one in measures if wanted == "tasks" or one.task in wanted)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished trial.

    Attributes:
        state: ``complete``; ``pruned``: stopped early; ``failed``: a loss was not finite, or an exception.
        values: Per objective, of the weights kept; empty unless complete.
        score: What selected the weights, as in training.
        scores: Of the weights kept, on the validation part.
        curve: Per evaluation, the objectives of the weights kept so far, greater is better.
        steps: Of those evaluations.
        seconds: Of the trial.
        step: Steps trained.
        best_step: The step whose weights were kept.
        parameters: Numbers in the model.
        what: Why it failed.
    """

    state: State
    values: tuple[float, ...] = ()
    score: float = math.nan
    scores: Scores = field(default_factory=dict)
    curve: tuple[tuple[float, ...], ...] = ()
    steps: tuple[int, ...] = ()
    seconds: float = math.nan
    step: int = 0
    best_step: int = 0
    parameters: int = 0
    what: str = ""

    def json(self) -> dict[str, Any]:
        """Plain values; see `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Outcome:
        """Reads it back; null is NaN, or in the curve worse than all else.

        Raises:
            ValueError: It is no outcome.
        """
        scores = {task: {key: _nan(value) for key, value in own.items()} for task, own in found["scores"].items()}
        curve = [[-math.inf if value is None else value for value in row] for row in found["curve"]]
        numbers = {key: _nan(found[key]) for key in ("score", "seconds")}
        return TypeAdapter(cls).validate_python({**found, **numbers, "curve": curve, "scores": scores})

    def extended(self, whole: int) -> Curve:
        """The curve as later trials see it: one that ended by itself keeps its last values."""
        missing = whole - len(self.curve)
        return self.curve + self.curve[-1:] * missing if self.state == "complete" else self.curve


def run_trial(
    config: Config,
    prepared: Prepared,
    objectives: Sequence[Objective],
    rule: Rule,
    earlier: Sequence[Outcome],
    tell: Tell,
) -> Outcome:
    """Trains one configuration.

    Args:
        config: With the values of this trial.
        prepared: The data.
        objectives: What is wanted.
        rule: Which trials are stopped early.
        earlier: The finished trials that the rule may see.
        tell: Hears which share is done, twice a second at most.

    Raises:
        NonFiniteError: A loss is not finite.
    """
    started = told = time.monotonic()
    training = new_training(config, prepared, config.train.seed, tell=lambda problem: None)
    whole = evaluations(training, config.train.evaluate_every)
    rivals = [one.extended(whole) for one in earlier if one.curve]
    kept: EvaluationRecord | None = None
    curve: list[tuple[float, ...]] = []
    steps: list[int] = []
    state: State = "complete"
    for record in training:
        if (now := time.monotonic()) >= told + 0.5:
            told = now
            tell(training.step / training.steps)
        if not isinstance(record, EvaluationRecord):
            continue
        kept = record if record.best or kept is None else kept
        curve.append(tuple(one.gain(one.value(kept)) for one in objectives))
        steps.append(record.step)
        if stops(rule, curve, rivals, whole=whole):
            state = "pruned"
            break
    assert kept is not None  # the last step is always evaluated
    values = tuple(one.value(kept) for one in objectives)
    facts: dict[str, Any] = {
        "score": kept.score, "scores": kept.scores, "curve": tuple(curve), "steps": tuple(steps),
        "seconds": time.monotonic() - started, "step": training.step, "best_step": kept.step,
        "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
    }  # fmt: skip
    if state == "complete" and any(math.isnan(value) for value in values):
        undefined = [one.name for one, value in zip(objectives, values, strict=True) if math.isnan(value)]
        return Outcome("failed", what=f"{', '.join(undefined)} is undefined on the validation part", **facts)
    return Outcome(state, values if state == "complete" else (), **facts)


def evaluations(training: Training, every: int | None) -> int:
    """Evaluations of a training that nothing stops."""
    return -(-training.steps // (every or training.epoch_steps))


def _nan(value: Any) -> Any:
    return math.nan if value is None else value
