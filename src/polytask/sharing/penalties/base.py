"""What a penalty on the tasks' own parameters is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from polytask.errors import raise_errors
from polytask.options import in_range


class Penalty(nn.Module, ABC):
    """A function of the parameters that belong to tasks one by one; it is added to the loss in training.

    A subclass pulls the tasks' parameters together. Which parameters these are follows from the architecture: see
    `polytask.sharing.penalties.attached.TaskPenalty`.

    Args:
        weight: Factor of the penalty.
        towers: Whether the towers are among its parameters.

    Attributes:
        matrices_only: Whether it leaves out biases and normalisations. True where it also pulls to 0.

    Raises:
        UserError: If the weight is negative.
    """

    matrices_only: ClassVar[bool] = True

    def __init__(self, weight: float, *, towers: bool = False) -> None:
        super().__init__()
        raise_errors(in_range(weight, least=0, where="penalty.weight"))
        self.weight, self.towers = weight, towers

    @abstractmethod
    def forward(self, stacks: Sequence[Float[Tensor, "tasks *shape"]], /) -> Float[Tensor, ""]:
        """The penalty.

        Args:
            stacks: One tensor per parameter, from the input upwards; entry ``t`` is what task ``t`` owns of it.
        """
