"""A chain in a model: takes what belongs to the chain from the axis of all tasks, and puts it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.chains import Chain, ChainMethod, joint_name, with_joints
from polytask.errors import Problem, UserError
from polytask.tasks import Binary, Task, TaskStack, binary
from polytask.tasks.base import full_precision
from polytask.types import Batch, LabelStats, TaskName


class Chained(nn.Module):
    """The tasks of a chain among all tasks of a model.

    Args:
        method: How they are learnt.
        tasks: All fitted tasks of the model, in order.
        stacks: The same by kind.

    Attributes:
        method: How they are learnt.
        joints: Per task that comes after another, its joint probability as a task of its own, which is measured.
        reads: Which rows of the representation every loss of the model reads; None: its own only.

    Raises:
        UserError: The method learns joint probabilities, and a task of the chain has options that shift them.
    """

    def __init__(self, method: ChainMethod, tasks: Sequence[Task], stacks: Sequence[TaskStack[Any]]) -> None:
        super().__init__()
        self.method, self.chain = method, method.chain
        self.joints = joint_tasks(self.chain, tasks)
        self.register_buffer("index", torch.tensor(self.chain.tasks), persistent=False)
        self.reads = _reads(self.chain, len(tasks)) if method.crosses else None
        if method.joint:
            _refuse_options(type(method).__name__, _members(self.chain, tasks))
            # tasks without options are of one stack
            self._stack = next(n for n, group in enumerate(stacks) if self.chain.tasks[0] in group.indices)
            rows = [stacks[self._stack].indices.index(position) for position in self.chain.tasks]
            self.register_buffer("rows", torch.tensor(rows), persistent=False)

    index: Tensor
    rows: Tensor

    def head_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """What the heads predict: the tasks, or joint probabilities where the method has heads for these."""
        return [self.joints.get(task.name, task) if self.method.joint_heads else task for task in tasks]

    def with_joints(self, batch: Batch) -> Batch:
        """The batch with joint labels beside the tasks' own."""
        return with_joints(self.chain, batch)

    def loss_name(self, task: TaskName) -> TaskName:
        """Under which name a task finds the labels that it is trained on."""
        return self.joints[task].name if self.method.joint and task in self.joints else task

    def row_losses(
        self,
        own: Float[Tensor, "tasks batch"],
        logits: Sequence[Float[Tensor, "_ batch _"]],
        labels: Float[Tensor, "tasks batch"],
        representation: Float[Tensor, "tasks batch out"],
    ) -> Float[Tensor, "tasks batch"]:
        """The row losses of all tasks, those of the chain by its method; ``labels`` are those of `loss_name`."""
        if not self.method.joint:
            return own
        z = full_precision(logits[self._stack])[self.rows, :, 0]
        index = self.index
        return own.index_copy(0, index, self.method.row_losses(own[index], z, labels[index], representation[index]))

    def predict(self, heads: Mapping[TaskName, Float[Tensor, "batch *_"]]) -> dict[TaskName, Tensor]:
        """What the tasks predict, given that their parents happened; then the joint probabilities."""
        names = self.chain.names
        given, joint = self.method.probabilities(torch.stack([heads[name] for name in names]))
        found = {**heads, **dict(zip(names, given, strict=True))}
        return {**found, **{self.joints[names[child]].name: joint[child] for child in self.chain.children}}


def joint_tasks(chain: Chain, tasks: Sequence[Task]) -> dict[TaskName, Binary]:
    """Per task that comes after another, its joint probability as a task of its own.

    Args:
        chain: The chain.
        tasks: All fitted tasks of the model, in order.
    """
    members = _members(chain, tasks)
    return {
        members[child].name: _joint([members[child], *(members[one] for one in chain.ancestors(child))])
        for child in chain.children
    }


def _reads(chain: Chain, tasks: int) -> Bool[Tensor, "tasks tasks"]:
    found, index = torch.eye(tasks, dtype=torch.bool), torch.tensor(chain.tasks)
    found[index.unsqueeze(1), index] = chain.path
    return found


def _members(chain: Chain, tasks: Sequence[Task]) -> list[Binary]:
    members = [task for position in chain.tasks if isinstance(task := tasks[position], Binary)]
    if len(members) != len(chain.tasks):
        raise ValueError("only binary tasks can be chained")
    return members


def _joint(path: Sequence[Binary]) -> Binary:
    """The joint probability of the first task with the others as a task; its rate is the product of their rates."""
    rate = float(torch.tensor([task.rate for task in path], dtype=torch.float64).prod())
    root = path[-1].require_stats()
    weights = (root.weight * (1 - rate), root.weight * rate)
    stats = LabelStats(root.rows, root.weight, rate, (rate * (1 - rate)) ** 0.5, 0.0, 1.0, weights)
    return binary(joint_name(path[0].name), exact_auc=path[0].exact_auc).fitted(stats)


def _refuse_options(method: str, tasks: Sequence[Binary]) -> None:
    """Raises if a task's own loss would not be the plain cross-entropy that joint probabilities are made of."""
    problems = []
    for task in tasks:
        plain = binary(task.name)
        for option in ("loss", "positive_weight", "keep_negatives", "label_smoothing", "gamma"):
            if getattr(task, option) != getattr(plain, option):
                what = f"is set, but {method} multiplies probabilities, which it would shift"
                remedy = 'remove it, or choose chain.use = "plain" or "dbmtl"'
                problems.append(Problem(f"tasks.{task.name}.{option}", what, remedy))
    if problems:
        raise UserError(problems)
