"""One optimizer step: a list of micro-batches, one loss per task, one balanced backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.across import AcrossTasks
from polytask.balancing.engine import Balancing, NonFiniteError, Part
from polytask.balancing.interfaces import Balancer, Slopes
from polytask.balancing.slopes import slopes
from polytask.balancing.split import SplitTasks
from polytask.errors import Problem
from polytask.model import Model
from polytask.sharing.representation import Representation
from polytask.types import Batch, Step


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one step did.

    Attributes:
        step: Its number, from 1.
        epoch: Passes over the data begun before.
        rows: Rows of its batch.
        losses: Mean loss per task; NaN where the task was absent.
        weights: What the balancer made of them; 0 where absent.
        learning_rate: Share of the peak.
    """

    kind: ClassVar[str] = "step"

    step: int
    epoch: int
    rows: int
    losses: tuple[float, ...]
    weights: tuple[float, ...]
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of one micro-batch on the task axis.

    Attributes:
        labels: ``[tasks, batch]``.
        weights: Sample weight where observed, else 0.
    """

    labels: Float[Tensor, "tasks batch"]
    weights: Float[Tensor, "tasks batch"]


def targets(model: Model, batch: Batch, chance: np.random.Generator | None = None) -> Targets:
    """The labels of all tasks, with unobserved and (given ``chance``) down-sampled rows at weight 0."""
    batch, names = model.with_joints(batch), model.loss_names
    labels = torch.stack([batch.labels[name] for name in names])
    weights = torch.stack([batch.observed[name] for name in names]).to(labels.dtype)
    for row, name in enumerate(names):
        if name in batch.weights:
            weights[row] *= batch.weights[name]
    if chance is not None:
        for group in model.task_stacks:
            index = list(group.indices)
            weights[index] *= group.sample_mask(labels[index], chance)
    return Targets(labels, weights)


def task_losses(
    model: Model, micro_batches: Sequence[tuple[Batch, Targets]], precision: AbstractContextManager[None] | None = None
) -> tuple[list[Float[Tensor, "tasks"]], Bool[Tensor, "tasks"], list[Representation]]:
    """Mean loss per task over all micro-batches: sums and counts first, one division last.

    Returns:
        What every micro-batch adds to the losses (0 where absent), which tasks are present, and the forward passes'
        representations.
    """
    totals = torch.stack([target.weights.sum(1) for _, target in micro_batches]).sum(0)
    present = totals > 0
    scale = torch.where(present, totals, 1.0).reciprocal().unsqueeze(1)
    parts, representations = [], []
    for batch, target in micro_batches:
        with precision or nullcontext():
            output = model(batch.features)
        rows = model.row_losses(output, target.labels)
        parts.append((torch.where(target.weights > 0, rows, 0.0) * (target.weights * scale)).sum(1))
        representations.append(output.representation)
    return parts, present, representations


def train_step(
    model: Model,
    balancer: Balancer | Balancing,
    batches: Sequence[Batch],
    *,
    number: int,
    epoch: int,
    seed: int,
    kpis: Float[Tensor, "tasks"] | None = None,
    precision: AbstractContextManager[None] | None = None,
) -> tuple[Float[Tensor, "tasks"], Float[Tensor, "tasks"], Step]:
    """Forward and balanced backward; gradients are left in ``.grad``.

    Args:
        model: In training mode.
        balancer: What joins the tasks; a `Balancing` says how it is used.
        batches: The micro-batches of the step; they are one batch to the losses and to the balancer.
        number: Steps done before this one.
        epoch: Passes over the data begun before this one.
        seed: Of the run; with ``number`` it decides which negative rows are left out.
        kpis: The tasks' performance when it was last measured, in [0, 1]; NaN where unknown.
        precision: A context for the forward pass, such as autocast.

    Returns:
        Detached losses, the weights that the tasks had, and the step as the balancer saw it.

    Raises:
        UserError: A loss or a gradient is not finite, or gradients cannot be compared as asked for.
    """
    chance = np.random.default_rng([seed, number])
    micro = [(batch, targets(model, batch, chance)) for batch in batches]
    losses, present, representations = task_losses(model, micro, precision)
    step = Step(number, epoch, present.cpu(), torch.stack(losses).detach().sum(0), kpis)
    _refuse_non_finite(model, step)
    parts = [
        Part(
            split_losses(model, loss, made),
            (target.weights > 0).any(1).cpu() if len(micro) > 1 else None,
            None if made.penalty is None else made.penalty / len(micro),
        )
        for loss, made, (_, target) in zip(losses, representations, micro, strict=True)
    ]
    balancing = balancer if isinstance(balancer, Balancing) else Balancing(balancer, len(model.tasks))
    return step.losses, balancing.backward(parts, step), step


def split_losses(model: Model, losses: Float[Tensor, "tasks"], made: Representation) -> SplitTasks:
    """The losses of one forward pass as balancing needs them: with what the tasks share below."""
    reads = model.reads
    if reads is None:
        return SplitTasks(losses, made.value, made.cut)
    return AcrossTasks(losses, made.value, made.cut, reads)


@torch.no_grad()
def losses_again(
    model: Model,
    batches: Sequence[Batch],
    *,
    number: int,
    seed: int,
    precision: AbstractContextManager[None] | None = None,
) -> Float[Tensor, "tasks"]:
    """The losses of the rows of step ``number`` under the parameters as they are now; arguments as of `train_step`."""
    chance = np.random.default_rng([seed, number])
    micro = [(batch, targets(model, batch, chance)) for batch in batches]
    return torch.stack(task_losses(model, micro, precision)[0]).sum(0)


def held_out_slopes(
    model: Model,
    batches: Sequence[Batch],
    held_out: Callable[[], Batch],
    *,
    number: int,
    seed: int,
    precision: AbstractContextManager[None] | None = None,
) -> Slopes:
    """What `polytask.balancing.interfaces.Slopes` is of step ``number``; without dropout.

    Args:
        model: When its parameters have moved.
        batches: The micro-batches of the step.
        held_out: Gives other rows; one call per use.
        number: Of the step.
        seed: Of the run.
        precision: See `train_step`.
    """

    def weighted(weights: Float[Tensor, "tasks"]) -> Float[Tensor, ""]:
        batch = held_out()
        losses, _, _ = task_losses(model, [(batch, targets(model, batch))], precision)
        return (weights.to(losses[0]) * losses[0]).sum()

    def found(weights: Float[Tensor, "tasks"]) -> Float[Tensor, "tasks"]:
        parameters = [one for one in model.parameters() if one.requires_grad]
        training = model.training
        model.eval()
        try:
            again = partial(losses_again, model, batches, number=number, seed=seed, precision=precision)
            return slopes(weights, weighted, again, parameters)
        finally:
            model.train(training)

    return found


def _refuse_non_finite(model: Model, step: Step) -> None:
    bad = ~torch.isfinite(step.losses).cpu() & step.present
    if bool(bad.any()):
        remedy = "lower train.learning_rate, set train.clip_norm, or check the label's scale and extreme inputs"
        raise NonFiniteError(
            Problem(f"tasks.{task.name}", f"its loss is not finite in step {step.number + 1}", remedy)
            for task, wrong in zip(model.tasks, bad.tolist(), strict=True)
            if wrong
        )
