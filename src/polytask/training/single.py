"""One training run in one folder: a seed, a model, checkpoints, scores, a bundle."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from polytask.balancing.engine import Balancing
from polytask.balancing.interfaces import Balancer, Scalarizer
from polytask.config import Config, asked_for, dump_config, placed, resolve
from polytask.decisions import Decisions
from polytask.errors import Problem, UserError, raise_errors
from polytask.evaluation.scores import Scores, score
from polytask.files import read_json, write_json
from polytask.model import Model
from polytask.serving import Bundle, load_bundle
from polytask.serving.bundle import fitted_model
from polytask.training.checkpoint import Checkpoints
from polytask.training.deciding import decide_on
from polytask.training.folder import CONFIG, RECORDS
from polytask.training.interrupt import delayed_interrupt
from polytask.training.loop import EVALUATION_ROWS, EvaluationRecord, Record, Training
from polytask.training.prepared import Prepared
from polytask.training.records import record_log
from polytask.training.step import StepRecord
from polytask.training.warm import start_from

SPLITS = ("validation", "test")


class Watcher(Protocol):
    """Looks at the records of a run as they come, to show them."""

    def tell(self, problem: Problem) -> None:
        """A finding that stops nothing."""

    def start(self, title: str, training: Training, folder: Path) -> None:
        """A run begins, or goes on; its configuration is in its folder."""

    def see(self, record: Record) -> None:
        """One record."""

    def finish(self) -> None:
        """The run is over."""


def train_one(
    config: Config, prepared: Prepared, folder: Path, *, seed: int, title: str, watcher: Watcher, probes: bool = False
) -> dict[str, Scores]:
    """Trains, keeps the best weights, scores them, writes scores and bundle; a finished folder is only read.

    Args:
        config: What to train; `train.seed` is not read.
        prepared: The data.
        folder: The run folder; goes on from its last checkpoint if there is one.
        seed: Initial weights, order, dropout.
        title: What the progress display calls the run.
        watcher: Sees every record.
        probes: Whether there are probes where the configuration says nothing of them.

    Returns:
        ``{part: {task: {metric: value}}}`` for validation and test.

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
    training = new_training(config, prepared, seed, tell=watcher.tell, probes=probes)
    state = checkpoints.latest()
    if state is not None:
        training.load_state_dict(state)
    watcher.start(title, training, folder)
    started, before = time.perf_counter(), training.step
    record_training(training, training.model, checkpoints, config.train.checkpoint_every, folder / RECORDS, watcher)
    seconds = time.perf_counter() - started
    model = training.model
    model.load_state_dict(checkpoints.best(training.best_step))
    decisions = decide_on(config, model, prepared, folder, watcher.tell)
    scores = part_scores(model, prepared, decisions)
    quiet = config.model_copy(update={"train": config.train.model_copy(update={"log": ()})})  # no part of the model
    Bundle(quiet, prepared.preprocessor, model.cpu().eval(), scores, decisions).save(folder / "bundle")
    facts = {
        "seed": seed, "steps": training.step, "best_step": training.best_step,
        "seconds": seconds, "timed_steps": training.step - before,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "part_rows": prepared.part_rows,
    }  # fmt: skip
    write_json(done, {"scores": scores, **facts})
    checkpoints.clear()
    watcher.finish()
    return scores


def new_training(
    config: Config,
    prepared: Prepared,
    seed: int,
    *,
    tell: Callable[[Problem], None] | None = None,
    probes: bool = False,
) -> Training:
    """A run before its first step: model, balancer and readers of a configuration.

    Args:
        config: What to train.
        prepared: The data.
        seed: Initial weights, order, dropout.
        tell: Hears of what stops nothing; Python warnings without it.
        probes: Whether there are probes where the configuration says nothing of them.

    Raises:
        UserError: A task's own loss does not work, the bundle to start from does not fit, or the balancer cannot be
            used with a compiled model or with the chain.
    """
    torch.manual_seed(seed)
    device = choose_device(config.train.device)
    model = fitted_model(config, prepared.preprocessor)
    for group in model.task_stacks:
        group.check_loss()
    if config.train.warm_start is not None:
        bundle = load_bundle(config.relative_to / config.train.warm_start, allow_code=config.allow_code)
        for problem in start_from(model, prepared.preprocessor, bundle):
            if tell is None:
                warnings.warn(str(problem), stacklevel=2)
            else:
                tell(problem)
    model.to(device)
    balancer = build_balancer(config, model, seed).to(device)
    if config.train.compile:
        # not the encoder: the compiler has no sparse gradients; not sharing where its doors are needed
        whole = isinstance(balancer.balancer, Scalarizer)
        for part in (model.sharing, model.towers, model.heads) if whole else (model.towers, model.heads):
            part.compile()
    return Training(
        model, balancer, prepared.reader("train"), prepared.reader("validation"), config.train,
        seed=seed, groups=prepared.preprocessor.groups, kpis=kpi_names(config, model, prepared.preprocessor.groups),
        share=config.balancer.share, probes=probes,
    )  # fmt: skip


def kpi_names(config: Config, model: Model, groups: Mapping[str, str]) -> dict[str, str]:
    """Per task that names one, the metric that balancers may follow.

    Raises:
        UserError: A metric is unknown, or its best value is not 1.
    """
    named = {name: task.kpi for name, task in config.tasks.items() if task.kpi is not None}
    problems, kinds = [], {task.name: task for task in model.tasks}
    for name, metric in named.items():
        known = kinds[name].metrics(grouped=name in groups)
        fitting = ["improvement", *(key for key, one in known.items() if one.higher_is_better)]
        if metric not in fitting:
            what = f"'{metric}' is no metric of this task whose best value is 1"
            problems.append(Problem(f"tasks.{name}.kpi", what, f"choose one of {', '.join(fitting)}"))
    raise_errors(problems)
    return named


def build_balancer(config: Config, model: Model, seed: int = 0) -> Balancing:
    """The balancer of a configuration, told of the tasks what it asks for; one that draws has the seed of the run."""
    known = {
        "tasks": len(model.tasks),
        "names": [task.name for task in model.tasks],
        "kinds": [task.kind for task in model.tasks],
    }
    builder, options = resolve(
        "polytask.balancing", config.balancer, path="balancer", provided=set(known), allow_code=config.allow_code
    )
    given = {**asked_for(builder, {**known, "seed": seed}), **options}
    with placed("balancer", builder):
        balancer: Balancer = builder(**given)
    chosen, measured = config.balancer, 1 if config.balancer.share < 1.0 else None
    return Balancing(balancer, len(model.tasks), at=chosen.at, every=chosen.every, measured=measured)


def choose_device(name: str) -> torch.device:
    """The device that a configuration means.

    Raises:
        UserError: CUDA is asked for, and torch finds none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        what = "'cuda' asked for, but torch finds no CUDA device here"
        raise UserError(Problem("train.device", what, 'say "auto" or "cpu", or install a CUDA build of torch'))
    return torch.device(name)


def record_training(
    training: Training, weights: nn.Module, checkpoints: Checkpoints, every: int, records: Path, watcher: Watcher
) -> None:
    """Runs the loop to its end, with records, checkpoints, and Ctrl-C between records.

    Args:
        training: The loop.
        weights: What is kept where an evaluation is the best so far.
        checkpoints: Where the state goes.
        every: Steps between two of them.
        records: ``records.jsonl``.
        watcher: Sees every record.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when the checkpoint is written.
    """
    with delayed_interrupt() as interrupted, record_log(records, training) as log:
        for record in training:
            log.write(record)
            watcher.see(record)
            if isinstance(record, EvaluationRecord) and record.best:
                checkpoints.save_best(record.step, weights.state_dict())
            due = isinstance(record, StepRecord) and record.step % every == 0
            if due or interrupted():
                log.flush()
                checkpoints.save(training.step, training.state_dict())
            if interrupted():
                raise KeyboardInterrupt


def part_scores(model: Model, prepared: Prepared, decisions: Decisions | None = None) -> dict[str, Scores]:
    """Scores on the held-out parts that there are.

    Args:
        model: In any mode; it is put back into it.
        prepared: The data.
        decisions: Calibration and thresholds that predictions go through.
    """
    return {
        part: score(model, prepared.reader(part).ordered(EVALUATION_ROWS), prepared.preprocessor.groups, decisions)
        for part in SPLITS
        if part in prepared.parts
    }


def read_scores(file: Path) -> dict[str, Scores]:
    """The scores of a finished run; null is NaN again.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        found = read_json(file)["scores"]
        return {
            part: {
                task: {name: math.nan if value is None else float(value) for name, value in metrics.items()}
                for task, metrics in tasks.items()
            }
            for part, tasks in found.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"cannot be read ({type(error).__name__}: {error})"
        remedy = "delete it, and run the same command with --resume: it is written again"
        raise UserError(Problem(str(file), what, remedy)) from error
