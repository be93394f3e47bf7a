"""IMTL-L: losses scaled to one, by learnt factors (Liu et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.scalarizers.positive import refuse_negative
from polytask.errors import UserError
from polytask.types import Step


class IMTLL(Scalarizer):
    """``L = sum_t exp(s_t) L_t - s_t`` with learnt ``s_t``.

    Args:
        tasks: How many.
        start: Of every ``s_t``.
        names: Of all tasks, for messages.
    """

    def __init__(self, tasks: int, start: float, names: Sequence[str]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((tasks,), start))
        self._names = tuple(names)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The scaled sum with its penalty; it can be negative."""
        refuse_negative(losses, step, self._names, "imtl_l")
        s = self.log_scale[step.present.to(self.log_scale.device)].to(losses.dtype)
        return (torch.exp(s) * losses - s).sum()


def imtl_l(tasks: int, names: Sequence[str] = (), *, start: float = 0.0) -> Scalarizer:
    """IMTL-L: learns a factor ``exp(s_t)`` per task that brings all losses to the same size, 1.

    ``L = sum_t exp(s_t) L_t - s_t``, with ``L_t`` the loss of task t and ``s_t`` learnt with the model. The slope in
    ``s_t`` is ``exp(s_t) L_t - 1``: it vanishes where the scaled loss is 1, whatever the unit of ``L_t``.

    Paper: Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021,
    https://openreview.net/forum?id=IMPnRXEWpvr. IMTL of the paper takes these losses and then balances gradients
    (IMTL-G); LibMTL's IMTL-L starts at ``s_t = 0`` as well. `uncertainty` with ``form="half"`` is the same up to a
    factor of 2 and the sign of s.

    The balancer's parameters belong into the optimizer, without weight decay. When a loss nears zero its factor grows
    without limit, and a single bad batch then weighs much: runs have overflowed (Gama and Grassi 2025); clip gradients.

    Sum of the weights: ``sum_t exp(s_t)``, at the start the number of tasks; it moves towards ``sum_t 1 / L_t``.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order, for messages; the trainer gives them.
        start: First value of every ``s_t``.

    Raises:
        UserError: If the start is not finite; in a step, if a loss is negative (its factor would grow for ever).

    Example:
        >>> losses = torch.tensor([1.0, 2.0])
        >>> imtl_l(2)(losses, Step(0, 0, torch.ones(2, dtype=torch.bool), losses)).item()
        3.0
    """
    if problems := limits("start", start):
        raise UserError(problems)
    return IMTLL(tasks, start, names)
