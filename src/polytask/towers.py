"""Towers and heads: what each task has of its own above its representation, batched over tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.errors import Problem, UserError
from polytask.stack import Activation, Finish, Norm, Stack, check_mlp

__all__ = ["Heads", "HeadStack", "Towers"]


class Towers(nn.Module):
    """One perceptron per task, all of the same widths, computed together.

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the representation, H.
        widths: Width of every layer; none: the representation itself.
        activation: After every layer.
        norm: Before every activation.
        dropout: After every activation.

    Attributes:
        out_features: Width of the towers' output.

    Shape:
        ``[T, B, H] -> [T, B, W]``

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> Towers(2, 8, (4,))(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 4])
    """

    def __init__(
        self,
        tasks: int,
        in_features: int,
        widths: Sequence[int] = (32,),
        *,
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_mlp(widths or (in_features,), activation=activation, norm=norm, dropout=dropout)
        sizes = [in_features, *widths]
        self.out_features = sizes[-1]
        self.layers = nn.ModuleList(Stack(tasks, a, b) for a, b in itertools.pairwise(sizes))
        self.finishes = nn.ModuleList(
            Finish(tasks, width, activation=activation, norm=norm, dropout=dropout) for width in widths
        )

    def forward(self, r: Float[Tensor, "tasks batch out"]) -> Float[Tensor, "tasks batch tower"]:
        """Applies every task's tower to its row."""
        for layer, finish in zip(self.layers, self.finishes, strict=True):
            r = finish(layer(r))
        return r


@dataclass(frozen=True, slots=True)
class HeadStack:
    """Tasks whose heads have the same shape.

    Attributes:
        tasks: Their positions on the task axis.
        out_features: Number of logits of each.
    """

    tasks: tuple[int, ...]
    out_features: int


class Heads(nn.Module):
    """The last linear layer of every task, stacked where tasks are of the same kind.

    Weights start uniform in ``±1 / sqrt(in_features)``, so that first predictions are near the bias; biases start at 0.

    Args:
        in_features: Width of what the heads read, W.
        stacks: Which tasks form a stack. Every task stands in one of them.

    Shape:
        ``[T, B, W]`` -> per stack ``[t, B, out_features]``, in the order of ``stacks``

    Raises:
        UserError: If a task stands in two stacks or in none.

    Example:
        >>> heads = Heads(4, [HeadStack((0, 2), 1), HeadStack((1,), 3)])
        >>> [logits.shape for logits in heads(torch.zeros(3, 5, 4))]
        [torch.Size([2, 5, 1]), torch.Size([1, 5, 3])]
    """

    def __init__(self, in_features: int, stacks: Sequence[HeadStack]) -> None:
        super().__init__()
        self.stacks = tuple(stacks)
        listed = sorted(task for stack in self.stacks for task in stack.tasks)
        if listed != list(range(len(listed))) or not all(stack.tasks for stack in self.stacks):
            found = f"the stacks list the tasks {listed}"
            raise UserError(Problem("stacks", found, "list every task once, from 0 on, and leave no stack empty"))
        self.layers = nn.ModuleList(
            Stack(len(stack.tasks), in_features, stack.out_features, bound=in_features**-0.5) for stack in self.stacks
        )
        for number, stack in enumerate(self.stacks):
            index = None if _is_range(stack.tasks) else torch.tensor(stack.tasks)
            self.register_buffer(f"index{number}", index, persistent=False)

    def forward(self, r: Float[Tensor, "tasks batch tower"]) -> list[Float[Tensor, "stack batch logits"]]:
        """The logits of every stack."""
        logits = []
        for number, (stack, layer) in enumerate(zip(self.stacks, self.layers, strict=True)):
            index = getattr(self, f"index{number}")
            first = stack.tasks[0]
            rows = r[first : first + len(stack.tasks)] if index is None else r.index_select(0, index)
            logits.append(layer(rows))
        return logits


def _is_range(tasks: tuple[int, ...]) -> bool:
    """Whether the tasks follow one another, so that a slice does."""
    return tasks == tuple(range(tasks[0], tasks[0] + len(tasks)))
