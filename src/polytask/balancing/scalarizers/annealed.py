"""Hand-set weights that decay or grow from epoch to epoch (Tang et al., RecSys 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Scalarizer
from polytask.balancing.scalarizers.options import per_task
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Per = Literal["epoch", "step"]


class Annealed(Scalarizer):
    """``L = sum_t w_t gamma_t^k L_t``.

    Args:
        weights: ``w_t``, one per task.
        rates: ``gamma_t``, one per task.
        per: What ``k`` counts.
    """

    weights: Float[Tensor, "tasks"]
    rates: Float[Tensor, "tasks"]

    def __init__(self, weights: Float[Tensor, "tasks"], rates: Float[Tensor, "tasks"], per: Per) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("rates", rates)
        self.per = per

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum."""
        present = step.present.to(self.weights.device)
        k = step.epoch if self.per == "epoch" else step.number
        weights = self.weights[present] * self.rates[present] ** k
        return (losses * weights.to(losses.dtype)).sum()


def annealed(
    weights: Mapping[str, float] | Sequence[float],
    rates: Mapping[str, float] | Sequence[float],
    names: Sequence[str] = (),
    *,
    per: Per = "epoch",
) -> Scalarizer:
    """Weights that you set for the start, and how fast each changes: ``L = sum_t w_t gamma_t^k L_t``.

    - ``w_t``: start weight of task t.
    - ``gamma_t``: its rate; below 1 the task fades out, above 1 it gains (without bound: keep ``gamma_t^k`` within
      the range of floats).
    - ``k``: epochs or steps done before.

    Paper: Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for Personalized
    Recommendations", RecSys 2020, section on joint loss optimization, https://doi.org/10.1145/3383313.3412236. The
    paper writes "step" and defines it as the training epoch: both are here, and ``per="epoch"`` is the default. It
    publishes no values.

    Sum of the weights: ``sum_t w_t gamma_t^k``, whatever you set; they are not normalised.

    Args:
        weights: Start weight per task: a mapping from the task's name, or in the order of the tasks.
        rates: Factor per task and ``per``, likewise.
        names: Names of all tasks in their order; the trainer gives them. Needed for a mapping.
        per: What is counted, ``epoch`` or ``step``.

    Raises:
        UserError: If a task has no weight or rate, a name is unknown, a weight is negative, a rate is not above 0, or
            ``per`` is unknown.

    Example:
        >>> losses = torch.tensor([1.0, 1.0])
        >>> balancer = annealed({"click": 1.0, "like": 4.0}, {"click": 1.0, "like": 0.5}, ["click", "like"])
        >>> balancer(losses, Step(900, 2, torch.ones(2, dtype=torch.bool), losses))
        tensor(2.)
    """
    starts, problems = per_task("weights", weights, names)
    factors, more = per_task("rates", rates, names, above=0.0)
    problems += more
    if not names and len(starts) != len(factors):
        problems.append(Problem("rates", f"{len(factors)} rates for {len(starts)} weights", "give one for each task"))
    if per not in get_args(Per):
        problems.append(Problem("per", f"'{per}' is unknown", suggest(per, get_args(Per))))
    if problems:
        raise UserError(problems)
    # in double precision: powers of a rate near 1 with a large number of steps
    return Annealed(torch.tensor(starts, dtype=torch.float64), torch.tensor(factors, dtype=torch.float64), per)
