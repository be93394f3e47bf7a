"""Losses from 0, for methods that divide by them or take their logarithm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.errors import Problem, UserError
from polytask.types import Step

FLOOR = 1e-20
"""A loss below this counts as solved: its logarithm stays where it is, with slope 0."""


def logarithms(losses: Float[Tensor, "present"]) -> Float[Tensor, "present"]:
    """``log max(L_t, 1e-20)``: finite, and without a slope where nothing is left to learn.

    Example:
        >>> losses = torch.tensor([4.0, 0.0], requires_grad=True)
        >>> torch.autograd.grad(logarithms(losses).sum(), losses)[0]
        tensor([0.2500, 0.0000])
    """
    return losses.clamp_min(FLOOR).log()


def refuse_negative(losses: Float[Tensor, "present"], step: Step, names: Sequence[str], method: str) -> None:
    """Raises `UserError` naming the tasks whose loss is negative or not finite.

    Args:
        losses: One per present task.
        step: Which tasks these are.
        names: Of all tasks; without them a task is called by its number.
        method: The name of the balancer that cannot work with such losses.
    """
    bad = ~(torch.isfinite(losses) & (losses >= 0))
    if not bool(bad.any()):
        return
    indices = step.present.cpu().nonzero().flatten()[bad.cpu()].tolist()
    raise UserError(
        Problem(
            f"tasks.{names[index]}" if names else f"task {index}",
            f"its loss is {value:.6g} in step {step.number + 1}, and balancer '{method}' needs finite losses from 0",
            "choose a loss that cannot be negative, or a balancer that does not mind, as 'equal' or 'uncertainty'",
        )
        for index, value in zip(indices, losses.detach()[bad].tolist(), strict=True)
    )
