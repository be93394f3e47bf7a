"""Auto-Lambda: weights learnt on held-out rows (Liu et al., TMLR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.adam import TaskAdam
from polytask.balancing.interfaces import Scalarizer, Slopes
from polytask.balancing.scalarizers.options import limits
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step


class AutoLambda(Scalarizer):
    """``L = sum_t w_t L_t``; w takes a step of Adam along what every task's own step gains on held-out rows.

    Args:
        primary: 1 for the tasks whose held-out loss counts, else 0.
        start: First value of every weight.
        learning_rate: Of the weights.
        non_negative: Whether weights stop at 0.
    """

    learns = True

    weights: Float[Tensor, "tasks"]
    primary: Float[Tensor, "tasks"]

    def __init__(self, primary: Float[Tensor, "tasks"], start: float, learning_rate: float, non_negative: bool) -> None:
        super().__init__()
        self._non_negative = non_negative
        self.register_buffer("primary", primary, persistent=False)
        self.register_buffer("weights", torch.full_like(primary, start))
        self.adam = TaskAdam(len(primary), learning_rate)

    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The weighted sum."""
        return (self.weights[step.present.to(self.weights.device)].to(losses) * losses).sum()

    @torch.no_grad()
    def learn(self, step: Step, slopes: Slopes) -> None:
        """Tasks whose gradient lowers the held-out losses of the primary ones gain weight."""
        present = step.present.to(self.weights.device)
        if not bool(present.any()):
            return
        gains = slopes(self.primary).to(self.weights)[present]
        self.adam.move(self.weights, -gains, present)
        if self._non_negative:
            self.weights.clamp_min_(0.0)


def auto_lambda(
    tasks: int,
    names: Sequence[str] = (),
    *,
    primary: Sequence[str | int] | None = None,
    start: float = 0.1,
    learning_rate: float = 1e-4,
    non_negative: bool = True,
) -> Scalarizer:
    """Weights that are learnt on held-out rows, by looking one step ahead: tasks that help the primary ones gain.

    ``L = sum_t w_t L_t``. The weights minimise the held-out loss ``sum_p H_p`` of the primary tasks after one step of
    the model, ``theta' = theta - x grad sum_t w_t L_t``, whose slope in w_t is

        d/dw_t sum_p H_p(theta') = -x <grad L_t, grad sum_p H_p(theta')>

    and take a step of Adam down it. The inner products of all tasks come from one backward pass on held-out rows and
    two forward passes of the step's rows at ``theta' +- e grad sum_p H_p``.

    - ``L_t``: loss of task t on the rows of the step. ``H_p``: of primary task p on rows that the model is not
      trained on: the trainer takes batches of the validation part, so that weights are chosen as every other setting.
    - ``x`` drops out: Adam does not mind the scale of slopes.

    Paper: Liu, James, Davison and Johns, "Auto-Lambda: Disentangling Dynamic Task Relationships", TMLR 2022,
    https://arxiv.org/abs/2202.03091 (equations 3 to 5). Theirs makes a virtual step of SGD in front of every step and
    takes ``grad L_t`` before it; here the step that the optimizer makes is the look-ahead, and both gradients are taken
    behind it: one forward and backward pass less, and it is the optimizer in use. Their code draws the held-out rows
    from the training part again, and lets weights fall below 0: ``non_negative=False``.

    A step takes 2.2 to 2.7 times as long as that of `equal` (`polytask reproduce neutral-balancers`).

    Sum of the weights: at the start a tenth of the number of tasks.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order; the trainer gives them.
        primary: Names (or numbers) of the tasks that are to gain; default: all.
        start: First value of every weight.
        learning_rate: Of the weights.
        non_negative: Stop weights at 0.

    Raises:
        UserError: If an option is out of range, or a primary task does not exist; in a step, if there are no held-out
            rows.

    Example:
        >>> balancer, losses = auto_lambda(2, primary=[0]), torch.tensor([1.0, 4.0], requires_grad=True)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), losses.detach())
        >>> balancer(losses, step).item()
        0.5
        >>> balancer.learn(step, lambda weights: torch.tensor([0.8, -0.1]))  # the second works against the first
        >>> balancer.weights
        tensor([0.1001, 0.0999])
    """
    problems = limits("start", start, above=0.0) + limits("learning_rate", learning_rate, above=0.0)
    known: list[str | int] = [*names] or [*range(tasks)]
    marked = torch.ones(tasks) if primary is None else torch.zeros(tasks)
    for one in primary or ():
        number = known.index(one) if one in known else one
        if isinstance(number, int) and 0 <= number < tasks:
            marked[number] = 1.0
        else:
            problems.append(Problem("primary", f"no task is named {one!r}", suggest(str(one), list(map(str, known)))))
    if primary is not None and not len(primary):
        problems.append(Problem("primary", "is empty", "name a task, or leave it out for all"))
    if problems:
        raise UserError(problems)
    return AutoLambda(marked, start, learning_rate, non_negative)
