"""Sums over the processes of a data-parallel run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
import torch.distributed
from torch import Tensor

from polytask.balancing.graph import accumulate
from polytask.errors import Problem, UserError


class Ranks(Protocol):
    """The processes that work on one step together.

    Attributes:
        size: How many.
    """

    size: int

    def sum(self, tensor: Tensor, /) -> Tensor:
        """The sum over all processes, the same on each."""


class Alone:
    """One process."""

    size = 1

    def sum(self, tensor: Tensor, /) -> Tensor:
        """The tensor itself."""
        return tensor


class Group:
    """The processes of a `torch.distributed` group.

    A balancer of losses or of gradients at the representation needs one sum of ``T`` or ``T x T`` numbers a step, and
    all ranks then have the same weights. Afterwards call `sum_gradients` once.

    Args:
        group: Default: all processes.
    """

    def __init__(self, group: torch.distributed.ProcessGroup | None = None) -> None:
        self._group = group
        self.size = torch.distributed.get_world_size(group)

    def sum(self, tensor: Tensor, /) -> Tensor:
        """The sum over all processes, the same on each.

        Raises:
            UserError: For a sparse gradient: which rows it has differs between ranks.
        """
        if tensor.is_sparse:
            what = "has sparse gradients, which are not compared across processes at the parameters"
            raise UserError(
                Problem("an embedding table", what, "compare at the representation, or use dense gradients")
            )
        total = tensor.detach().clone()
        torch.distributed.all_reduce(total, group=self._group)
        return total


def sum_gradients(parameters: Iterable[Tensor], ranks: Ranks) -> None:
    """Adds up ``.grad`` over all processes, in one message per type; parameters without a gradient count as 0.

    Args:
        parameters: The same on all ranks, in the same order.
        ranks: The processes.
    """
    if ranks.size == 1:
        return
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for some in kinds.values():
        for parameter in some:
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = grad.to_dense() if grad.is_sparse else grad
        flat = ranks.sum(torch.cat([p.grad.flatten() for p in some if p.grad is not None]))
        for parameter, part in zip(some, torch.split(flat, [parameter.numel() for parameter in some]), strict=True):
            parameter.grad = None
            accumulate(parameter, part.view(parameter.shape))
