"""Steps and weights for the tests of the scalarizers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.types import Step


def step_of(
    losses: Sequence[float],
    number: int = 0,
    epoch: int = 0,
    *,
    absent: Sequence[int] = (),
    kpis: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Step:
    """A step of all tasks; the losses of the absent ones are NaN."""
    values, present = torch.tensor(losses, dtype=dtype), torch.ones(len(losses), dtype=torch.bool)
    present[list(absent)] = False
    values[list(absent)] = torch.nan
    return Step(number, epoch, present, values, None if kpis is None else torch.tensor(kpis))


def weights_of(balancer: Scalarizer, step: Step) -> Tensor:
    """The slopes of the scalarized loss in the losses of the present tasks."""
    losses = step.losses[step.present].requires_grad_()
    return torch.autograd.grad(balancer(losses, step), losses)[0]


def value_of(balancer: Scalarizer, step: Step) -> float:
    """The scalarized loss."""
    return balancer(step.losses[step.present], step).item()


def state_of(balancer: Scalarizer) -> dict[str, Tensor]:
    """A copy of all buffers and parameters."""
    return {name: tensor.clone() for name, tensor in balancer.state_dict().items()}
