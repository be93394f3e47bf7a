"""Uncertainty weighting (Kendall et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.balancing.interfaces import Scalarizer
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Form = Literal["kendall", "half"]
REGRESSION = frozenset({"regression"})
"""Kinds of tasks whose loss is a squared error, up to a constant."""


class Uncertainty(Scalarizer):
    """``L = sum_t c_t exp(-s_t) L_t + s_t / 2`` with learnt ``s_t = log sigma_t^2``.

    Args:
        factors: ``c_t`` of every task.
        start: Of every ``s_t``.
    """

    factors: Float[Tensor, "tasks"]

    def __init__(self, factors: Float[Tensor, "tasks"], start: float) -> None:
        super().__init__()
        self.register_buffer("factors", factors)
        self.log_variance = nn.Parameter(torch.full_like(factors, start))

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum with its penalty; it can be negative."""
        present = step.present.to(self.factors.device)
        s = self.log_variance[present].to(losses.dtype)
        return (self.factors[present].to(losses.dtype) * torch.exp(-s) * losses + 0.5 * s).sum()


def uncertainty(kinds: Sequence[str], *, form: Form = "kendall", start: float = 0.0) -> Scalarizer:
    """Weights from each task's homoscedastic uncertainty ``sigma_t``, learnt with the model.

    With ``s_t = log sigma_t^2``: ``L = sum_t c_t exp(-s_t) L_t + s_t / 2``.

    - ``form="kendall"``, the paper: ``c_t = 1/2`` for regression, ``L / (2 sigma^2) + log sigma``; ``c_t = 1`` for
      likelihoods of classes, ``L / sigma^2 + log sigma``.
    - ``form="half"``: ``c_t = 1/2`` for every task, ``(exp(-s) L + s) / 2``; so in LibMTL and in the code of Nash-MTL,
      both with ``start=-0.5``.

    The balancer's parameters belong into the optimizer, without weight decay. The total loss can be negative.

    Paper: Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
    Semantics", CVPR 2018, https://arxiv.org/abs/1705.07115

    Sum of the weights: ``sum_t c_t exp(-s_t)``, at the start the number of tasks (a half for each regression).

    Args:
        kinds: Kind of every task in order; the trainer gives them.
        form: See above.
        start: First value of every ``s_t``.

    Raises:
        UserError: If the form is unknown.

    Example:
        >>> from polytask.types import Step
        >>> losses = torch.tensor([1.0, 2.0])
        >>> balancer = uncertainty(["binary", "regression"])
        >>> balancer(losses, Step(0, 0, torch.ones(2, dtype=torch.bool), losses)).item()
        2.0
    """
    if form not in get_args(Form):
        raise UserError(Problem("form", f"'{form}' is unknown", suggest(form, get_args(Form))))
    halves = [form == "half" or kind in REGRESSION for kind in kinds]
    return Uncertainty(torch.tensor([0.5 if half else 1.0 for half in halves]), start)
