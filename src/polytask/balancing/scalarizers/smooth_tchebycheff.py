"""STCH: the smooth maximum of the losses (Lin et al., ICML 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import limits, per_task
from polytask.balancing.scalarizers.positive import logarithms, refuse_negative
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Form = Literal["paper", "libmtl"]


def smooth_maximum(values: Float[Tensor, "any"], mu: float) -> Float[Tensor, ""]:
    """``mu log sum exp(values / mu)``, finite for all ``values``: their maximum as ``mu`` nears 0.

    Example:
        >>> smooth_maximum(torch.tensor([1.0, 3.0]), 1e-3)
        tensor(3.)
    """
    # shifted before dividing: a large value over a small mu would leave the range of floats
    top = values.detach().max()
    return top + mu * torch.logsumexp((values - top) / mu, 0)


class SmoothTchebycheff(Scalarizer):
    """``L = mu log sum_t exp(lambda_t (L_t - z_t) / mu)``.

    Args:
        mu: Smoothness.
        preferences: One per task, above 0; divided by their sum over the tasks that are present.
        ideal: ``z_t``, one per task.
    """

    preferences: Float[Tensor, "tasks"]
    ideal: Float[Tensor, "tasks"]

    def __init__(self, mu: float, preferences: Float[Tensor, "tasks"], ideal: Float[Tensor, "tasks"]) -> None:
        super().__init__()
        self._mu = mu
        self.register_buffer("preferences", preferences)
        self.register_buffer("ideal", ideal)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The smooth maximum."""
        present = step.present.to(self.ideal.device)
        weights = self.preferences[present].to(losses.dtype)
        weights = weights / weights.sum()
        return smooth_maximum(weights * (losses - self.ideal[present].to(losses.dtype)), self._mu)


class SmoothTchebycheffRatios(Scalarizer):
    """``L = T mu log sum_t exp(log(L_t / n_t) / mu)`` after the warm-up, ``sum_t log L_t`` until then.

    Args:
        tasks: How many.
        mu: Smoothness.
        warmup: The epoch whose mean losses are ``n_t``.
        names: Of all tasks, for messages.
    """

    sums: Float[Tensor, "tasks"]
    counts: Float[Tensor, "tasks"]

    def __init__(self, tasks: int, mu: float, warmup: int, names: Sequence[str]) -> None:
        super().__init__()
        self._mu, self._warmup, self._names = mu, warmup, tuple(names)
        self.register_buffer("sums", torch.zeros(tasks, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(tasks, dtype=torch.float64))

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The smooth maximum of what is left of each loss."""
        refuse_negative(losses, step, self._names, "smooth_tchebycheff")
        present = step.present.to(self.sums.device)
        if step.epoch >= self._warmup:
            # later only for a task that was absent from the warm-up: its first loss stands for the mean
            due = (self.counts[present] == 0) | (step.epoch == self._warmup)
            self.sums[present] += torch.where(due, losses.detach().to(self.sums), 0.0)
            self.counts[present] += due
        if step.epoch <= self._warmup:
            return logarithms(losses).sum()
        nadir = logarithms(self.sums[present] / self.counts[present]).to(losses.dtype)
        return len(losses) * smooth_maximum(logarithms(losses) - nadir, self._mu)


def smooth_tchebycheff(
    tasks: int,
    names: Sequence[str] = (),
    *,
    form: Form = "paper",
    mu: float = 1.0,
    preferences: Mapping[str, float] | Sequence[float] | None = None,
    ideal: Mapping[str, float] | Sequence[float] | None = None,
    warmup: int = 4,
) -> Scalarizer:
    """STCH: a smooth maximum of the losses, so that the worst task counts most.

    - ``form="paper"``: ``L = mu log sum_t exp(lambda_t (L_t - z_t) / mu)``.
    - ``form="libmtl"``: ``L = T mu log sum_t exp(log(L_t / n_t) / mu)``, with ``sum_t log L_t`` in the epochs up to
      ``warmup``. So the code that the authors published, and LibMTL after it: nothing then depends on the units of the
      losses, which must not be negative.

    Where

    - ``mu``: smoothness. Towards 0 the first form becomes ``max_t lambda_t (L_t - z_t)``, the Tchebycheff
      scalarization, whose solutions are all (weakly) Pareto-optimal points; for large ``mu`` its gradient is that of
      ``sum_t lambda_t L_t / T``. It is in the units of the losses.
    - ``lambda_t``: preference for task t; they are divided by their sum over the present tasks (the paper's simplex).
    - ``z_t``: ideal value, which the loss will not go below.
    - ``n_t``: nadir, here the mean loss in epoch ``warmup``, counted from 0; a task that was absent then starts with
      its first loss. ``T``: number of tasks that are present.

    Paper: Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024,
    https://arxiv.org/abs/2402.19078

    Sum of the weights: ``sum_t lambda_t p_t`` with p the softmax of the exponents, 1 / T for even preferences; in
    LibMTL's form ``T sum_t p_t / L_t``, and ``sum_t 1 / L_t`` in the warm-up.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order; the trainer gives them. Needed for mappings.
        form: See above.
        mu: Smoothness, above 0.
        preferences: In the paper's form, one number above 0 per task, by name or in order. Default: even.
        ideal: In the paper's form, ``z_t`` per task, likewise. Default: 0.
        warmup: In LibMTL's form, the epoch in which the nadir is measured.

    Raises:
        UserError: If an option is unknown, out of range or of the other form; in a step of LibMTL's form, if a loss is
            negative.

    Example:
        >>> losses = torch.tensor([1.0, 4.0], requires_grad=True)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), losses.detach())
        >>> torch.autograd.grad(smooth_tchebycheff(2)(losses, step), losses)[0]
        tensor([0.0912, 0.4088])
    """
    even, zero = [1.0] * tasks, [0.0] * tasks
    weights, problems = (even, []) if preferences is None else per_task("preferences", preferences, names, above=0.0)
    points, more = (zero, []) if ideal is None else per_task("ideal", ideal, names, least=None)
    problems += more + limits("mu", mu, above=0.0) + limits("warmup", warmup, least=0)
    for option, values in (("preferences", weights), ("ideal", points)):
        if not names and len(values) != tasks:
            problems.append(Problem(option, f"{len(values)} given for {tasks} tasks", "give one for each task"))
    if form not in get_args(Form):
        problems.append(Problem("form", f"'{form}' is unknown", suggest(form, get_args(Form))))
    elif form == "libmtl":
        problems += [
            Problem(option, "given, but form = 'libmtl' has none", "leave it out, or choose form = 'paper'")
            for option, value in (("preferences", preferences), ("ideal", ideal))
            if value is not None
        ]
    if problems:
        raise UserError(problems)
    if form == "libmtl":
        return SmoothTchebycheffRatios(tasks, mu, warmup, names)
    return SmoothTchebycheff(mu, torch.tensor(weights), torch.tensor(points))
