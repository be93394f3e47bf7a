"""What every sharing architecture is: a map from one input to one representation per task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.cut import Cut


@dataclass(frozen=True, slots=True)
class Representation:
    """One representation per task, and what is needed to balance and to report on it.

    Attributes:
        value: Row ``t`` is what the tower of task ``t`` reads.
        cut: What the tasks share below ``value``.
        gates: Per level, the detached weights that each gate gives to each expert; empty where nothing is gated.
        penalty: What the architecture adds to the loss in training, for all tasks together; None: nothing.
    """

    value: Float[Tensor, "tasks batch out"]
    cut: Cut
    gates: Mapping[str, Float[Tensor, "batch rows experts"]]
    penalty: Float[Tensor, ""] | None = None


class Sharing(nn.Module, ABC):
    """A sharing architecture: what the tasks have in common, from one input to one representation per task.

    Attributes:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        out_features: Width of every task's representation, H.
    """

    tasks: int
    in_features: int
    out_features: int

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """Maps the input to one representation per task."""

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """Parameters whose leading axis belongs to single tasks, with the task of every entry (-1: shared).

        Training keeps the entries of a task that is absent from a step where they are, momentum and weight decay
        included. None by default: all parameters are shared.
        """
        return []

    def learning_rates(self) -> list[tuple[nn.Parameter, float]]:
        """Parameters that learn faster or slower than the others, each with the factor of the learning rate.

        They are not decayed.
        """
        return []
