"""FAMO: fast adaptive multitask optimization (Liu et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.adam import TaskAdam
from polytask.balancing.interfaces import Again, Scalarizer
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.scalarizers.positive import FLOOR, logarithms, refuse_negative
from polytask.errors import UserError
from polytask.types import Step


class FAMO(Scalarizer):
    """``L = c sum_t z_t log L_t``, ``z = softmax(w)``, ``c = 1 / sum_t (z_t / L_t)``.

    Args:
        tasks: How many.
        learning_rate: Of ``w``.
        decay: Of ``w``.
        names: Of all tasks, for messages.
    """

    logits: Float[Tensor, "tasks"]

    def __init__(self, tasks: int, learning_rate: float, decay: float, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)
        self.register_buffer("logits", torch.zeros(tasks))
        self.adam = TaskAdam(tasks, learning_rate, decay=decay)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum of logarithms; it can be negative."""
        refuse_negative(losses, step, self._names, "famo")
        z = torch.softmax(self.logits[step.present.to(self.logits.device)], 0).to(losses.dtype)
        # a solved task is left out: it would draw the whole sum to itself
        total = torch.where(losses > FLOOR, z / losses.clamp_min(FLOOR), 0.0).sum().detach()
        c = torch.where(total > 0, 1.0 / total, 0.0)
        return (c * z * logarithms(losses)).sum()

    @torch.no_grad()
    def after_step(self, step: Step, again: Again) -> None:
        """Tasks whose logarithm fell less than the others' gain weight."""
        if not bool(step.present.any()):
            return
        present = step.present.to(self.logits.device)
        before, after = step.losses.detach()[present], again().to(step.losses)[present]
        refuse_negative(after, step, self._names, "famo")
        delta = (logarithms(before) - logarithms(after)).to(self.logits)
        z = torch.softmax(self.logits[present], 0)
        self.adam.move(self.logits, z * (delta - (z * delta).sum()), present)


def famo(
    tasks: int, names: Sequence[str] = (), *, learning_rate: float = 0.025, weight_decay: float = 0.001
) -> Scalarizer:
    """FAMO: all losses fall at the same relative rate, for the price of one more forward pass per step.

    ``L = c sum_t z_t log L_t`` with ``z = softmax(w)`` and ``c = 1 / sum_t (z_t / L_t)``, z and c constant in the
    backward pass. When the parameters have moved, the losses of the same rows are computed again, ``L'``, and w takes
    a step of Adam along

        J' (log L - log L'),   J = dz / dw = diag(z) - z z'

    - ``L_t``: loss of task t. ``w_t``: its logit, at first 0. All sums are over the tasks that are present; the
      logits of the others, and what Adam remembers of them, stay.
    - ``weight_decay``: pulls w back to even weights; the paper's gamma.

    Paper: Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, https://arxiv.org/abs/2306.03792
    (algorithm 2 for the constants). The authors' code has .01 as the default decay and adds 1e-8 to every loss; here a
    loss below 1e-20 counts as solved, gets the weight 0 and is left out of c, where the code would give it all the
    weight. Their training clips the norm of the model's gradient at 1 (``train.clip_norm``).

    Losses must not be negative. The total loss can be negative. Multiplying a loss by a constant changes nothing but
    c: its weight becomes so much smaller.

    Sum of the weights: 1. Weight ``c z_t / L_t`` each.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order, for messages; the trainer gives them.
        learning_rate: Of the logits.
        weight_decay: Of the logits.

    Raises:
        UserError: If an option is out of range; in a step, if a loss is negative, or not finite after the step.

    Example:
        >>> balancer, losses = famo(2), torch.tensor([1.0, 4.0], requires_grad=True)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), losses.detach())
        >>> torch.autograd.grad(balancer(losses, step), losses)[0]
        tensor([0.8000, 0.2000])
        >>> balancer.after_step(step, lambda: torch.tensor([0.5, 3.9]))
        >>> balancer.logits  # the second fell less
        tensor([-0.0250,  0.0250])
    """
    problems = limits("learning_rate", learning_rate, above=0.0) + limits("weight_decay", weight_decay, least=0.0)
    if problems:
        raise UserError(problems)
    return FAMO(tasks, learning_rate, weight_decay, names)
