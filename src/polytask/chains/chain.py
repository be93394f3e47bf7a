"""What a chain is: tasks of which some can only happen after others, as a forest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from polytask.specs import TaskName

Level = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Chain:
    """Tasks that follow one another; they are numbered by their own axis, the chain's K tasks.

    Attributes:
        names: The tasks, in the order of the model's task axis.
        tasks: Their positions on that axis.
        parents: Per task, which task of the chain it comes after; -1: none.
    """

    names: tuple[TaskName, ...]
    tasks: tuple[int, ...]
    parents: tuple[int, ...]

    @property
    def children(self) -> tuple[int, ...]:
        """The tasks that come after another."""
        return tuple(task for task, parent in enumerate(self.parents) if parent >= 0)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The tasks one step below the roots with their parents, then those two steps below, and so on.

        Example:
            >>> chain_of(["buy", "click", "cart"], {"buy": "cart", "cart": "click"}).levels
            (((2,), (1,)), ((0,), (2,)))
        """
        depths = [sum(1 for _ in self.ancestors(task)) for task in range(len(self.names))]
        found = []
        for depth in range(1, max(depths) + 1):
            tasks = tuple(task for task, own in enumerate(depths) if own == depth)
            found.append((tasks, tuple(self.parents[task] for task in tasks)))
        return tuple(found)

    @property
    def path(self) -> Bool[Tensor, "chain chain"]:
        """``path[t, s]``: whether s is t, or something that must happen before t."""
        path = torch.eye(len(self.names), dtype=torch.bool)
        for task in range(len(self.names)):
            for ancestor in self.ancestors(task):
                path[task, ancestor] = True
        return path

    def ancestors(self, task: int) -> Iterator[int]:
        """What must happen before a task, the nearest first."""
        while (task := self.parents[task]) >= 0:
            yield task


def chain_of(names: Sequence[TaskName], after: Mapping[TaskName, TaskName]) -> Chain | None:
    """The chain of some tasks; None where no task comes after another.

    Args:
        names: All tasks of the model, in order.
        after: Per task that has one, what must happen before it: names of tasks, without cycles.

    Example:
        >>> chain_of(["click", "like", "age", "buy"], {"buy": "click", "like": "click"})
        Chain(names=('click', 'like', 'buy'), tasks=(0, 1, 3), parents=(-1, 0, 0))
    """
    if not after:
        return None
    linked = {*after, *after.values()}
    chained = [name for name in names if name in linked]
    parents = tuple(chained.index(after[name]) if name in after else -1 for name in chained)
    return Chain(tuple(chained), tuple(names.index(name) for name in chained), parents)


def joint_name(task: TaskName) -> str:
    """What the joint probability of a task and all that comes before it is called, in scores and in predictions."""
    return f"{task}_joint"
