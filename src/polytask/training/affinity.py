"""Look-ahead affinity: what a step along one task's gradient, through all that is shared, does to every task's loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.rows import Rows
from polytask.model import Model
from polytask.training.aside import aside
from polytask.training.step import Targets, split_losses, targets, task_losses
from polytask.types import Batch

Move = tuple[Tensor, Tensor]
"""A leaf and one task's gradient there."""


def lookahead_affinity(model: Model, batch: Batch, learning_rate: float) -> Float[Tensor, "tasks tasks"]:
    """How much a step on one task's loss lowers the others, as a share of them.

    ``Z[i, j] = 1 - L_j(theta - learning_rate * dL_i/dtheta, phi_j) / L_j(theta, phi_j)`` where theta is what the tasks
    share: the encoder with its embedding tables, and of the architecture what the gradients of balancers are compared
    at. Gates, experts and towers of one task alone do not move. Positive: task i helps task j on these rows.

    Paper: Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task Learning", NeurIPS 2021,
    https://arxiv.org/abs/2109.04617 (equation 1).

    Differences: the step is plain gradient descent with one learning rate, without the momentum and the scaling of the
    optimizer that trains. Losses are taken in evaluation mode. Where a loss is negative, as that of counts may be, it
    is divided by its absolute value, so that the sign keeps its meaning.

    The cost is one backward pass per task and one forward pass per task, and memory for every task's gradient at what
    is shared. The model is afterwards what it was, bit by bit: parameters, gradients, modes, random state.

    Args:
        model: In any mode, on any device.
        batch: The rows.
        learning_rate: Length of the step as a share of the gradient's.

    Returns:
        ``[i, j]``: from the task whose gradient is followed to the task whose loss is read; float64, on the CPU. NaN
        in the rows and columns of tasks without an observed row, and in columns of tasks whose loss is 0.
    """
    with aside(model):
        batch = batch.to(next(model.parameters()).device)
        target = targets(model, batch)
        present = target.weights.sum(1) > 0
        rows = _gradients(model, batch, target)
        before = _losses(model, batch, target)
        found = before.new_full((len(before), len(before)), torch.nan)
        for number, task in enumerate(present.nonzero().flatten().tolist()):
            with _moved(_moves(rows, number), learning_rate):
                found[task] = (before - _losses(model, batch, target)) / before.abs()
    defined = present & (before != 0.0)
    return torch.where(defined, found, torch.nan).cpu()


def _gradients(model: Model, batch: Batch, target: Targets) -> Rows:
    """Every present task's gradient at what is shared."""
    with torch.enable_grad():
        (losses,), present, (representation,) = task_losses(model, [(batch, target)])
    tasks = split_losses(model, losses, representation)
    tasks.through_heads(present, scale=1.0, fill=False)
    return tasks.rows(present)


@torch.no_grad()
def _losses(model: Model, batch: Batch, target: Targets) -> Float[Tensor, "tasks"]:
    """Mean losses; summed in float64, since their differences are small."""
    rows = model.row_losses(model(batch.features), target.labels).double()
    weights = target.weights.double()
    return (torch.where(weights > 0, rows, 0.0) * weights).sum(1) / weights.sum(1).clamp_min(1e-300)


def _moves(rows: Rows, number: int) -> list[Move]:
    """The gradients of one of the present tasks."""
    found = []
    for leaf, column in zip(rows.sources, rows.shared, strict=True):
        gradient = None if column is None else column[number]
        if gradient is not None:
            found.append((leaf, gradient.coalesce() if gradient.is_sparse else gradient))
    return found


@contextmanager
@torch.no_grad()
def _moved(moves: Sequence[Move], learning_rate: float) -> Iterator[None]:
    """The parameters one step further; their values are copied back, since adding again would leave rounding."""
    kept = [leaf[move.indices()[0]] if move.is_sparse else leaf.clone() for leaf, move in moves]
    try:
        for leaf, move in moves:
            leaf.add_(move, alpha=-learning_rate)
        yield
    finally:
        for (leaf, move), before in zip(moves, kept, strict=True):
            if move.is_sparse:
                leaf[move.indices()[0]] = before
            else:
                leaf.copy_(before)
