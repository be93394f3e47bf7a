"""How fast every task's loss grows along the gradient of another loss, by two forward passes for all tasks together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Again
from polytask.balancing.ranks import Alone, Ranks

REACH = 0.01
"""Length of the move in the parameters, as published."""


def slopes(
    weights: Float[Tensor, "tasks"],
    held_out: Callable[[Float[Tensor, "tasks"]], Float[Tensor, ""]],
    again: Again,
    parameters: Sequence[Tensor],
    ranks: Ranks | None = None,
) -> Float[Tensor, "tasks"]:
    """``<grad L_t, v>`` with ``v = grad held_out(weights)``, for all t, by central differences.

    ``(L_t(theta + e v) - L_t(theta - e v)) / 2e`` with ``e = 0.01 / ||v||``. The parameters are afterwards what they
    were, bit by bit. Zero where v is.

    Paper: Liu et al., "Auto-Lambda", TMLR 2022, https://arxiv.org/abs/2202.03091 (equation 5 and appendix).

    Args:
        weights: Of the held-out losses.
        held_out: The weighted sum of these, with its graph.
        again: The losses L of the step's rows, without chance.
        parameters: What the losses depend on.
        ranks: The processes that share the rows.
    """
    ranks = ranks or Alone()
    with torch.enable_grad():
        gradients = torch.autograd.grad(held_out(weights), parameters, allow_unused=True)
    moved = [(one, ranks.sum(grad)) for one, grad in zip(parameters, gradients, strict=True) if grad is not None]
    moved = [(one.detach(), grad.coalesce() if grad.is_sparse else grad) for one, grad in moved]
    squares = [(grad.values() if grad.is_sparse else grad).double().square().sum() for _, grad in moved]
    length = float(sum(squares, torch.zeros((), dtype=torch.float64))) ** 0.5
    if length == 0.0:
        return torch.zeros_like(weights)
    step = REACH / length
    with _restored(moved), torch.no_grad():
        for one, grad in moved:
            one.add_(grad, alpha=step)
        above = ranks.sum(again())
        for one, grad in moved:
            one.add_(grad, alpha=-2 * step)
        below = ranks.sum(again())
    return (above - below) / (2 * step)


@contextmanager
def _restored(moved: Sequence[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Puts the values back: adding and subtracting would leave rounding."""
    kept = [one[grad.indices()[0]] if grad.is_sparse else one.clone() for one, grad in moved]
    try:
        yield
    finally:
        for (one, grad), before in zip(moved, kept, strict=True):
            if grad.is_sparse:
                one[grad.indices()[0]] = before
            else:
                one.copy_(before)
