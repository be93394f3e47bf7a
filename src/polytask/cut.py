"""The cut: what the tasks share, seen from the losses down. The one thing that balancing must know of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import Node


@runtime_checkable
class Cut(Protocol):
    """The set of first tensors, from the losses down, that two tasks read.

    A representation holds row ``t`` for task ``t``, and loss ``t`` depends on row ``t`` alone. Somewhere below, the
    paths of the tasks meet. What lies above the meeting points is private to a task and receives its own gradient;
    what lies below is shared and receives ``sum_t weights[t] * gradient_t``.

    Attributes:
        weights: The weights that the next backward pass applies where it enters what is shared; None: 1 for every task.
        only: The only task whose row has a gradient in the next backward pass, so that work for others can be left out;
            None: any may have one.
    """

    weights: Float[Tensor, "tasks"] | None
    only: int | None

    def gramian(self, gradient: Float[Tensor, "tasks batch out"], /) -> Float[Tensor, "tasks tasks"]:
        """Inner products of the tasks' gradients at the shared tensors.

        Args:
            gradient: ``dL_t/dr_t`` for every task, at the representation that this cut belongs to.

        Returns:
            ``G[s, t] = <gradient of loss s, gradient of loss t>``, symmetric and positive semi-definite.
        """
        ...

    def entries(self) -> Mapping[Node, int]:
        """Per node of the graph that reads something shared, which of its inputs that is; nothing: all is shared."""
        ...
