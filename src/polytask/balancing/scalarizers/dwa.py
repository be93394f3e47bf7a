"""DWA: dynamic weight averaging (Liu, Johns and Davison, CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.scalarizers.positive import refuse_negative
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step


class DWA(Scalarizer):
    """``L = sum_t w_t L_t``, ``w = T softmax(r / tau)``.

    Args:
        tasks: How many.
        temperature: ``tau``.
        window: How long one mean is: an epoch, or so many steps.
        names: Of all tasks, for messages.
    """

    sums: Float[Tensor, "tasks"]
    counts: Float[Tensor, "tasks"]
    means: Float[Tensor, "two tasks"]
    period: Int[Tensor, ""]

    def __init__(self, tasks: int, temperature: float, window: int | Literal["epoch"], names: Sequence[str]) -> None:
        super().__init__()
        self._temperature, self._window, self._names = temperature, window, tuple(names)
        # in double precision: an epoch can have millions of steps
        self.register_buffer("sums", torch.zeros(tasks, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(tasks, dtype=torch.float64))
        self.register_buffer("means", torch.full((2, tasks), torch.nan, dtype=torch.float64))
        self.register_buffer("period", torch.tensor(-1))

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum."""
        refuse_negative(losses, step, self._names, "dwa")
        self._roll(step)
        present = step.present.to(self.sums.device)
        before, last = self.means[:, present]
        ratio = last / before
        ratio = torch.where(ratio.isfinite(), ratio, 1.0)
        weights = len(ratio) * torch.softmax(ratio / self._temperature, 0)
        self.sums[present] += losses.detach().to(self.sums)
        self.counts[present] += 1.0
        return (losses * weights.to(losses.dtype)).sum()

    def _roll(self, step: Step) -> None:
        """At the first step of a window, the one before becomes the last mean."""
        period = step.epoch if self._window == "epoch" else step.number // self._window
        if int(self.period) == period:
            return
        # 0 / 0 where the task was absent: NaN, no mean
        self.means.copy_(torch.stack([self.means[1], self.sums / self.counts]))
        self.sums.zero_()
        self.counts.zero_()
        self.period.fill_(period)


def dwa(
    tasks: int,
    names: Sequence[str] = (),
    *,
    temperature: float = 2.0,
    window: int | Literal["epoch"] = "epoch",
) -> Scalarizer:
    """DWA: a task whose loss fell less than that of others, from one epoch to the next, gains weight.

    ``L = sum_t w_t L_t`` with

        w_t = T exp(r_t / tau) / sum_s exp(r_s / tau),   r_t = M_t(e - 1) / M_t(e - 2)

    - ``M_t(e)``: mean of the loss of task t over the steps of epoch e in which it was present.
    - ``r_t``: how much of the loss is left, epoch over epoch. It is 1 in the first two epochs (so all weights are 1),
      and for a task that was absent in one of both epochs or has solved its problem.
    - ``tau``: temperature; a large one makes the weights even.
    - ``T``: number of tasks that are present; the softmax is taken over these.

    Paper: Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019,
    https://arxiv.org/abs/1803.10704. The authors' code and LibMTL do this. The code of Nash-MTL compares the last 25
    iterations with the 25 before, sliding, and averages over the tasks instead of adding up; ``window=25`` compares
    such stretches one after the other. Losses must not be negative.

    Sum of the weights: the number of tasks that are present.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order, for messages; the trainer gives them.
        temperature: ``tau``.
        window: Length of a mean: ``epoch``, or a number of steps.

    Raises:
        UserError: If an option is out of range; in a step, if a loss is negative.

    Example:
        >>> balancer, present = dwa(2), torch.ones(2, dtype=torch.bool)
        >>> for epoch, losses in enumerate([[4.0, 4.0], [2.0, 4.0], [2.0, 4.0]]):
        ...     losses = torch.tensor(losses, requires_grad=True)
        ...     total = balancer(losses, Step(epoch, epoch, present, losses.detach()))
        >>> torch.autograd.grad(total, losses)[0]  # ratios 1/2 and 1
        tensor([0.8756, 1.1244])
    """
    problems = limits("temperature", temperature, above=0.0)
    if isinstance(window, str):
        if window != "epoch":
            problems.append(Problem("window", f"'{window}' is unknown", suggest(window, ["epoch"])))
    elif window < 1:
        problems.append(Problem("window", f"{window} given", "choose a whole number of steps from 1, or 'epoch'"))
    if problems:
        raise UserError(problems)
    return DWA(tasks, temperature, window, names)
