"""The model: encoder, sharing, towers and heads, joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.chained import Chained
from polytask.chains import Chain, ChainMethod, chain_of
from polytask.config import ComponentConfig, Config, asked_for, check_options, find, placed, resolve
from polytask.errors import Problem, UserError
from polytask.sharing.penalties.attached import TaskPenalty
from polytask.sharing.penalties.base import Penalty
from polytask.sharing.representation import Representation, Sharing
from polytask.tasks import Task, TaskStack, predict, row_losses, stack
from polytask.towers import Heads, HeadStack, Towers
from polytask.types import Batch, Features, FeatureSpec, TaskName

PIECE = 2_048


@dataclass(frozen=True, slots=True)
class Output:
    """What one forward pass gives.

    Attributes:
        logits: Per stack of same-kind tasks ``[tasks, batch, out]``.
        representation: What sharing gave, with its cut.
    """

    logits: Sequence[Float[Tensor, "stack batch logits"]]
    representation: Representation


class Model(nn.Module):
    """``heads(towers(sharing(encoder(features))))``, every step batched over tasks.

    Args:
        encoder: `Features` to ``[B, D]``.
        sharing: ``[B, D]`` to ``[T, B, H]``.
        tower: ``[T, B, H]`` to ``[T, B, W]``.
        tasks: The fitted tasks, in the order of the task axis.
        penalty: Added to the loss in training, on what the tasks own of sharing and towers; None: nothing.
        chain: How tasks that come after others are learnt; None where no task does.

    Raises:
        UserError: If the penalty finds nothing that it could read, or options of a task do not go with the chain.
    """

    def __init__(
        self,
        encoder: nn.Module,
        sharing: Sharing,
        tower: Towers,
        tasks: Sequence[Task],
        penalty: Penalty | None = None,
        chain: ChainMethod | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.sharing, self.towers = encoder, sharing, tower
        self.penalty = None if penalty is None else TaskPenalty(penalty, sharing, tower)
        self.tasks = tuple(tasks)
        self.stacks = nn.ModuleList(stack(self.tasks))
        self.heads = Heads(
            tower.out_features, [HeadStack(group.indices, group.out_features) for group in self.task_stacks]
        )
        self.chain = None if chain is None else Chained(chain, self.tasks, self.task_stacks)
        predicted = self.task_stacks if self.chain is None else stack(self.chain.head_tasks(self.tasks))
        with torch.no_grad():
            for layer, group in zip(self.heads.layers, predicted, strict=True):
                layer.get_parameter("bias").copy_(group.initial_bias())

    @property
    def task_stacks(self) -> tuple[TaskStack[Any], ...]:
        """The tasks by kind."""
        return tuple(self.stacks)  # type: ignore[arg-type]

    def forward(self, features: Features) -> Output:
        """Logits of all tasks."""
        representation = self.sharing(self.encoder(features))
        if self.penalty is not None and self.training:
            representation = self.penalty(representation, self.sharing, self.towers)
        towers = self.towers(representation.value)
        if self.chain is not None:
            towers = self.chain.method.transfer(towers)
        return Output(self.heads(towers), representation)

    def row_losses(self, output: Output, labels: Float[Tensor, "tasks batch"]) -> Float[Tensor, "tasks batch"]:
        """The training loss of every row and task, in the tasks' order; labels are those of `loss_names`."""
        own = row_losses(self.task_stacks, output.logits, labels)
        if self.chain is None:
            return own
        return self.chain.row_losses(own, output.logits, labels, output.representation.value)

    @property
    def loss_names(self) -> list[TaskName]:
        """Under which name every task finds the labels that it is trained on; see `with_joints`."""
        return [task.name if self.chain is None else self.chain.loss_name(task.name) for task in self.tasks]

    @property
    def reads(self) -> Bool[Tensor, "tasks tasks"] | None:
        """``reads[t, r]``: the loss of task t reads row r of the representation; None: every one its own only."""
        return None if self.chain is None else self.chain.reads

    @property
    def joints(self) -> Mapping[TaskName, Task]:
        """Per task that comes after another, its joint probability, predicted and measured like a task."""
        return {} if self.chain is None else self.chain.joints

    def with_joints(self, batch: Batch) -> Batch:
        """The batch with the labels of all `joints`."""
        return batch if self.chain is None else self.chain.with_joints(batch)

    def predictions(self, output: Output) -> Mapping[TaskName, Float[Tensor, "batch *classes"]]:
        """Probabilities, or values in the labels' own units, of all tasks and then of all `joints`."""
        found = predict(self.task_stacks, output.logits)
        return found if self.chain is None else self.chain.predict(found)

    @torch.inference_mode()
    def predict(self, features: Features) -> Mapping[TaskName, Float[Tensor, "batch *classes"]]:
        """`predictions` of new rows; computed in pieces that stay in the processor's cache."""
        pieces = [self.predictions(self(piece)) for piece in features.slices(PIECE)]
        if len(pieces) == 1:
            return pieces[0]
        return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def build_tasks(config: Config) -> tuple[Task, ...]:
    """The tasks of a configuration, not yet fitted."""
    tasks = []
    for name, task in config.tasks.items():
        builder = find("polytask.tasks", task.kind, path=f"tasks.{name}.kind", allow_code=config.allow_code)
        options = check_options(builder, task.options, path=f"tasks.{name}", provided={"name", "classes"})
        tasks.append(builder(name, **options))
    return tuple(tasks)


def build_model(config: Config, spec: FeatureSpec, tasks: Sequence[Task]) -> Model:
    """The model of a configuration; parameters are drawn from torch's current random state.

    Args:
        config: Which encoder, sharing and towers.
        spec: What the encoder must know of the columns.
        tasks: The fitted tasks.
    """
    allow = config.allow_code
    provided = {"tasks", "in_features", "names", "slices", "streams"}
    builder, options = resolve("polytask.sharing", config.sharing, path="sharing", provided=provided, allow_code=allow)
    streams = len(tasks) + 1 if asked_for(builder, {"streams": None}) else 1
    encoder = _encoder(config, spec, streams)
    known = {"names": [task.name for task in tasks], "slices": getattr(encoder, "slices", None), "streams": streams}
    options |= asked_for(builder, known)
    with placed("sharing", builder):
        sharing = builder(len(tasks), encoder.out_features, **options)
    chosen = check_options(Towers, config.towers.options, path="towers", provided={"tasks", "in_features"})
    penalty = None
    if config.penalty is not None:
        builder, options = resolve("polytask.sharing.penalties", config.penalty, path="penalty", allow_code=allow)
        penalty = builder(**options)
    with placed("towers", Towers):
        towers = Towers(len(tasks), sharing.out_features, **chosen)
    chain = _chain_method(config, tasks, sharing.out_features, towers.out_features)
    return Model(encoder, sharing, towers, tasks, penalty, chain)


def _encoder(config: Config, spec: FeatureSpec, streams: int) -> nn.Module:
    """The encoder of a configuration, with as many streams side by side as sharing asks for."""
    provided, allow = {"spec", "streams"}, config.allow_code
    builder, options = resolve("polytask.encoders", config.encoder, path="encoder", provided=provided, allow_code=allow)
    options |= asked_for(builder, {"streams": streams})
    if streams > 1 and "streams" not in options:
        what = f"has no `streams`, and sharing '{config.sharing.use}' reads one per task and a shared one"
        raise UserError(Problem("encoder", what, "use table, or give your encoder that parameter"))
    encoder: nn.Module = builder(spec, **options)
    return encoder


def build_chain(config: Config, tasks: Sequence[Task]) -> Chain | None:
    """What of the tasks comes after what; None where no task comes after another."""
    after = {name: task.after for name, task in config.tasks.items() if task.after is not None}
    return chain_of([task.name for task in tasks], after)


def _chain_method(config: Config, tasks: Sequence[Task], in_features: int, tower_features: int) -> ChainMethod | None:
    """The chain method of a configuration; None where no task comes after another."""
    chain = build_chain(config, tasks)
    if chain is None:
        return None
    known = {"chain": chain, "in_features": in_features, "tower_features": tower_features}
    part = config.chain or ComponentConfig(use="plain")
    builder, options = resolve("polytask.chains", part, path="chain", provided=set(known), allow_code=config.allow_code)
    method: ChainMethod = builder(**asked_for(builder, known), **options)
    return method
