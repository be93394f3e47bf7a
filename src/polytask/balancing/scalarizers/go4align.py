"""GO4Align: groups of tasks with one weight each (Shen et al., NeurIPS 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.scalarizers.positive import FLOOR, refuse_negative
from polytask.errors import Problem, UserError
from polytask.types import Step


class GO4Align(Scalarizer):
    """``L = sum_t w_t L_t``, ``w_t`` the mean of ``p_s sum L / L_s`` over the tasks s of t's group.

    Args:
        tasks: How many.
        groups: How many, at most.
        step_size: ``eta``.
        names: Of all tasks, for messages.
    """

    log_share: Float[Tensor, "tasks"]

    def __init__(self, tasks: int, groups: int, step_size: float, names: Sequence[str]) -> None:
        super().__init__()
        self._groups, self._step_size, self._names = groups, step_size, tuple(names)
        self.register_buffer("log_share", torch.full((tasks,), -math.log(tasks), dtype=torch.float64))

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum."""
        refuse_negative(losses, step, self._names, "go4align")
        present = step.present.to(self.log_share.device)
        known = losses.detach().to(self.log_share).clamp_min(FLOOR)
        before = self.log_share[present]
        share = torch.log_softmax(before - self._step_size * known, 0)
        # the tasks that are present share among them what they had before: those that are absent keep theirs
        self.log_share[present] = share + torch.logsumexp(before, 0)
        indicators = share.exp() * (known.sum() / known)
        weights = torch.from_numpy(group_means(indicators.cpu().numpy(), self._groups))
        return (losses * weights.to(losses)).sum()


def group_means(values: Float64[np.ndarray, "n"], groups: int) -> Float64[np.ndarray, "n"]:
    """Every value replaced by the mean of its group, with the groups of the least squared error (k-means).

    On a line these are stretches of the sorted values, so that the best ones are found exactly, without random starts.

    Example:
        >>> group_means(np.array([5.0, 1.0, 6.0, 2.0]), 2).tolist()
        [5.5, 1.5, 5.5, 1.5]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    error = _errors(ordered)
    best, starts = error[0], []
    for _ in range(min(groups, len(values)) - 1):
        # [i, j]: the last group is i..j, the others lie before i
        total = np.concatenate([[np.inf], best[:-1]])[:, None] + error
        starts.append(total.argmin(0))
        best = total.min(0)
    means, end = np.empty_like(values), len(values)
    for start in [*reversed(starts), np.zeros(len(values), dtype=int)]:
        begin = int(start[end - 1])
        means[order[begin:end]] = ordered[begin:end].mean()
        end = begin
    return means


def _errors(ordered: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n n"]:
    """``[i, j]``: squared distances of the values i..j from their mean, infinite for i > j."""
    errors = np.full((len(ordered), len(ordered)), np.inf)
    mean, error = np.zeros(len(ordered)), np.zeros(len(ordered))
    for j, value in enumerate(ordered):
        # one value more for every stretch (Welford): sums of squares would cancel
        before = np.arange(j, -1, -1)
        gap = value - mean[: j + 1]
        error[: j + 1] += gap**2 * before / (before + 1)
        mean[: j + 1] += gap / (before + 1)
        errors[: j + 1, j] = error[: j + 1]
    return errors


def go4align(tasks: int, names: Sequence[str] = (), *, groups: int = 2, step_size: float = 1e-4) -> Scalarizer:
    """GO4Align: tasks in a similar state of training form a group and share one weight.

    ``L = sum_t w_t L_t``. In every step

        p_t <- p_t exp(-eta L_t) / sum_s p_s exp(-eta L_s)
        v_t = p_t (sum_s L_s) / L_t
        w_t = mean of v over the group of t

    - ``p_t``: share of task t, at first even; ``eta``: step size.
    - ``v_t``: group indicator; the second factor brings the losses to one scale.
    - The groups are those of k-means on ``v``. All sums are over the tasks that are present; those that are absent
      keep their share.

    Paper: Shen et al., "GO4Align: Group Optimization for Multi-Task Alignment", NeurIPS 2024,
    https://arxiv.org/abs/2404.06486. The rule is that of the authors' code. Its k-means starts at random in every step;
    here the best grouping is found exactly. The code's command line sets one group, which gives every task the same
    weight (``mean_t v_t``): then it is `equal` with a changing learning rate. So the default here is 2 groups.

    Losses must not be negative; below 1e-20 they are taken to be that. A task that comes near to 0 before the others
    receives a very large weight.

    Sum of the weights: ``sum_t v_t``; the number of tasks that are present if all losses are equal, more otherwise.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order, for messages; the trainer gives them.
        groups: Number of groups; with as many as tasks, every task keeps its own indicator.
        step_size: ``eta``, in the units of one over the losses.

    Raises:
        UserError: If an option is out of range; in a step, if a loss is negative.

    Example:
        >>> losses = torch.tensor([1.0, 1.1, 4.0], requires_grad=True)
        >>> step = Step(0, 0, torch.ones(3, dtype=torch.bool), losses.detach())
        >>> torch.autograd.grad(go4align(3)(losses, step), losses)[0]
        tensor([1.9411, 1.9411, 0.5082])
    """
    problems = limits("step_size", step_size, least=0.0)
    if groups < 1:
        problems.append(Problem("groups", f"{groups} given", "choose a whole number from 1"))
    if problems:
        raise UserError(problems)
    return GO4Align(tasks, groups, step_size, names)
