"""The visibility of CGC and PLE: experts of a task's own beside experts that all share."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from polytask.errors import Problem, UserError


def own_and_shared(tasks: int, own: int, shared: int, *, shared_row: bool = False) -> Bool[Tensor, "rows experts"]:
    """Every task sees its own experts and the shared ones, which come last; a last row that sees all, if asked for.

    Example:
        >>> own_and_shared(2, 1, 1, shared_row=True).int().tolist()
        [[1, 0, 1], [0, 1, 1], [1, 1, 1]]
    """
    mine = torch.eye(tasks, dtype=torch.bool).repeat_interleave(own, 1)
    visible = torch.cat([mine, torch.ones(tasks, shared, dtype=torch.bool)], 1)
    return torch.cat([visible, torch.ones(1, visible.shape[1], dtype=torch.bool)]) if shared_row else visible


def check_own_and_shared(own: int, shared: int) -> None:
    """Raises `UserError` if the numbers of experts leave a task without any."""
    if min(own, shared) < 0 or own + shared == 0:
        found = f"{own} of each task's own and {shared} shared given"
        raise UserError(Problem("experts", found, "choose numbers from 0, at least one of them positive"))
