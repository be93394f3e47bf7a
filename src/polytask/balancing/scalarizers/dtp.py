"""DTP: dynamic task prioritization (Guo et al., ECCV 2018)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import limits
from polytask.errors import Problem, UserError
from polytask.types import Step


class DTP(Scalarizer):
    """``L = sum_t w_t L_t``, ``w_t = -(1 - k_t)^gamma log k_t``.

    Args:
        tasks: How many.
        gamma: The exponent.
        smoothing: Weight of a new value in ``k_t``.
        least: ``k_t`` is never taken to be below.
    """

    average: Float[Tensor, "tasks"]
    seen: Float[Tensor, "tasks"]

    def __init__(self, tasks: int, gamma: float, smoothing: float, least: float) -> None:
        super().__init__()
        self._gamma, self._smoothing, self._least = gamma, smoothing, least
        self.register_buffer("average", torch.full((tasks,), torch.nan))
        self.register_buffer("seen", torch.full((tasks,), torch.nan))

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum."""
        present = step.present.to(self.average.device)
        if step.kpis is not None:
            self._observe(step.kpis.to(self.average), present)
        known = self.average[present]
        k = known.clamp(self._least, 1.0)
        weights = torch.where(known.isnan(), 1.0, -((1.0 - k) ** self._gamma) * k.log())
        return (losses * weights.to(losses.dtype)).sum()

    def _observe(self, kpis: Float[Tensor, "tasks"], present: Bool[Tensor, "tasks"]) -> None:
        """Moves the averages where a value is new: steps repeat the last value until the next evaluation."""
        new = present & ~kpis.isnan() & (kpis != self.seen)
        moved = self._smoothing * kpis + (1.0 - self._smoothing) * self.average
        moved = torch.where(self.average.isnan(), kpis, moved)
        self.average.copy_(torch.where(new, moved, self.average))
        self.seen.copy_(torch.where(new, kpis, self.seen))


def dtp(tasks: int, *, gamma: float = 1.0, smoothing: float = 0.5, least: float = 0.01) -> Scalarizer:
    """DTP: hard tasks first. A task counts the more, the worse its performance is.

    ``L = sum_t w_t L_t`` with the focal weights

        w_t = -(1 - k_t)^gamma log k_t,   k_t <- a kappa_t + (1 - a) k_t

    - ``kappa_t`` in [0, 1]: a key performance indicator of task t (accuracy, AUC, ...), from ``step.kpis``.
    - ``k_t``: its moving average; the first value as it is. Until one is known, ``w_t = 1``.
    - ``a``: weight of a new value. ``gamma``: how strongly easy tasks are neglected.

    Paper: Guo et al., "Dynamic Task Prioritization for Multitask Learning", ECCV 2018,
    https://openaccess.thecvf.com/content_ECCV_2018/html/Michelle_Guo_Focus_on_the_ECCV_2018_paper.html. We know of no
    official code; the defaults for ``gamma`` and ``smoothing`` are ours. The paper measures in every iteration, on the
    batch; here a value that an evaluation has left enters the average once, and stays in force until the next one
    differs. The focal factor that the paper puts inside each task's loss is the task's own matter. ``least`` keeps the
    weight of a hopeless task finite.

    Sum of the weights: ``sum_t w_t``; the number of tasks before the first evaluation, towards 0 as all become solved.

    Args:
        tasks: Number of tasks; the trainer gives it.
        gamma: Exponent, from 0.
        smoothing: Weight ``a`` of a new value, above 0 and up to 1.
        least: Performance below this is taken to be this; above 0 and below 1.

    Raises:
        UserError: If an option is out of range.

    Example:
        >>> losses, present = torch.tensor([1.0, 1.0], requires_grad=True), torch.ones(2, dtype=torch.bool)
        >>> step = Step(0, 0, present, losses.detach(), kpis=torch.tensor([0.9, 0.5]))
        >>> torch.autograd.grad(dtp(2)(losses, step), losses)[0]
        tensor([0.0105, 0.3466])
    """
    problems = limits("gamma", gamma, least=0.0)
    if not 0.0 < smoothing <= 1.0:
        problems.append(Problem("smoothing", f"{smoothing} given", "choose a number above 0 and up to 1"))
    if not 0.0 < least < 1.0:
        problems.append(Problem("least", f"{least} given", "choose a number between 0 and 1"))
    if problems:
        raise UserError(problems)
    return DTP(tasks, gamma, smoothing, least)
