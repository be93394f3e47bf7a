"""Tchebycheff scalarization: the worst task, each weighed by a preference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import per_task
from polytask.errors import Problem, UserError
from polytask.types import Step


class Tchebycheff(Scalarizer):
    """``L = max_t p_t (L_t - z_t)``.

    Args:
        preferences: ``p_t``, from 0; divided by their sum over the tasks that are present.
        ideal: ``z_t``, one per task.
    """

    preferences: Float[Tensor, "tasks"]
    ideal: Float[Tensor, "tasks"]

    def __init__(self, preferences: Float[Tensor, "tasks"], ideal: Float[Tensor, "tasks"]) -> None:
        super().__init__()
        self.register_buffer("preferences", preferences)
        self.register_buffer("ideal", ideal)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The greatest of what is left of each loss."""
        present = step.present.to(self.ideal.device)
        weights = self.preferences[present].to(losses)
        weights = weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
        # amax shares the gradient out among equal losses, so that the order of the tasks does not matter
        return (weights * (losses - self.ideal[present].to(losses))).amax()


def tchebycheff(
    tasks: int,
    names: Sequence[str] = (),
    *,
    preferences: Mapping[str, float] | Sequence[float] | None = None,
    ideal: Mapping[str, float] | Sequence[float] | None = None,
) -> Scalarizer:
    """Tchebycheff scalarization: ``L = max_t p_t (L_t - z_t)``, only the worst task moves the model.

    - ``p_t``: preference for task t; they are divided by their sum over the present tasks.
    - ``z_t``: ideal value, which the loss will not go below.

    Every (weakly) Pareto-optimal point is a minimum for some p, on fronts of any shape; a linear sum reaches those on
    the convex part alone. At the minimum, where the front meets the ray, ``p_t (L_t - z_t)`` is the same for all tasks:
    a task of twice the preference has half the loss. The gradient jumps from task to task, and steps go to and fro
    around such a point; [`smooth_tchebycheff`][polytask.balancing.scalarizers.smooth_tchebycheff.smooth_tchebycheff]
    and [`epo`][polytask.balancing.weightings.epo.epo] do not.

    Source: Bowman, "On the Relationship of the Tchebycheff Norm and the Efficient Frontier of Multiple-Criteria
    Objectives", 1976; equation 3 of Lin et al., ICML 2024, https://arxiv.org/abs/2402.19078

    Sum of the weights: ``p_t`` of the worst task, 1 / T for even preferences.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order; the trainer gives them. Needed for mappings.
        preferences: One number from 0 per task, by name or in order, not all 0. Default: even.
        ideal: ``z_t`` per task, likewise, of any sign. Default: 0.

    Raises:
        UserError: If a number is out of range, or there is not one for every task.

    Example:
        >>> losses = torch.tensor([1.0, 4.0], requires_grad=True)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), losses.detach())
        >>> torch.autograd.grad(tchebycheff(2, preferences=[0.9, 0.1])(losses, step), losses)[0]
        tensor([0.9000, 0.0000])
    """
    even, zero = [1.0] * tasks, [0.0] * tasks
    weights, problems = (even, []) if preferences is None else per_task("preferences", preferences, names)
    points, more = (zero, []) if ideal is None else per_task("ideal", ideal, names, least=None)
    problems += more
    for option, values in (("preferences", weights), ("ideal", points)):
        if not names and len(values) != tasks:
            problems.append(Problem(option, f"{len(values)} given for {tasks} tasks", "give one for each task"))
    if not problems and not any(weights):
        problems.append(Problem("preferences", "all are 0", "give at least one task a preference above 0"))
    if problems:
        raise UserError(problems)
    return Tchebycheff(torch.tensor(weights), torch.tensor(points))
