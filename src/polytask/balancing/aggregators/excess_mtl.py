"""ExcessMTL: weights that follow excess risks (He et al., ICML 2024)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.aggregators.history import Remembering, reciprocals
from polytask.balancing.interfaces import Aggregator
from polytask.balancing.scalarizers.options import limits
from polytask.errors import UserError
from polytask.types import Step

EPSILON = 1e-7
"""Added to the sums of squares, as in the authors' code."""


class ExcessMTL(Remembering):
    """Multiplicative weights of excess risks; the history is the sum of the squared gradients.

    Args:
        tasks: How many.
        learning_rate: ``eta``.
        warmup: Steps of a task whose mean excess is its unit.
    """

    logits: Float[Tensor, "tasks"]
    units: Float[Tensor, "tasks"]

    def __init__(self, tasks: int, learning_rate: float, warmup: int) -> None:
        super().__init__(tasks)
        self._learning_rate, self._warmup = learning_rate, warmup
        self.register_buffer("logits", torch.zeros(tasks, dtype=torch.float64))
        self.register_buffer("units", torch.zeros(tasks, dtype=torch.float64))

    def aggregate(
        self, jacobian: Float[Tensor, "present width"], before: Float[Tensor, "present width"], step: Step
    ) -> tuple[Float[Tensor, "width"], Float[Tensor, "present"]]:
        """The weighted sum; the weights take their step before."""
        squares = jacobian.square()
        total = before + squares
        self.history.keep(total, step.present)
        excess = (squares / (total + EPSILON).sqrt()).sum(1)
        weights = self._weights_after(excess.to(self.units), step).to(jacobian)
        return weights @ jacobian, weights

    def _weights_after(self, excess: Float[Tensor, "present"], step: Step) -> Float[Tensor, "present"]:
        """The weights when they have made their step."""
        present = step.present.to(self.units.device)
        seen, units = self.history.seen[present].to(excess.device), self.units[present]
        # a task without an excess up to now has no unit: it starts later
        starting = (seen <= self._warmup) | (units == 0.0)
        units = torch.where(starting, units + (excess - units) / seen.clamp(max=self._warmup), units)
        self.units[present] = units
        relative = torch.where(starting, 1.0, excess * reciprocals(units))
        # as logarithms, of mean 1, so that tasks that were present in different steps go on from like sizes
        logits = torch.log_softmax(self.logits[present] + self._learning_rate * relative, 0) + math.log(len(excess))
        self.logits[present] = logits
        return logits.exp()


def excess_mtl(tasks: int, *, learning_rate: float = 0.01, warmup: int = 1) -> Aggregator:
    """ExcessMTL: weight goes to the tasks that still have most to gain, not to those whose loss is highest.

    ``d = sum_t w_t g_t``; in every step the weights are multiplied by ``exp(eta e_t / e_t(0))`` before, and brought
    back to the sum T, with an estimate of the excess risk, how far the loss of task t is above its least value,

        e_t = g_t' diag(S_t + 1e-7)^(-1/2) g_t,   S_t = S_t + g_t^2      (element by element)

    - ``g_t``: gradient of task t. ``S_t``: sum of its squares over all steps, as in AdaGrad, in place of the Hessian.
    - ``e_t(0)``: excess in the first step in which the task was present, or the mean over the first ``warmup`` steps.
      In these a task counts as one with ``e_t = e_t(0)``.
    - ``eta``: step size. T: number of tasks that are present; the others' w and S stay.

    A task whose labels are noisy keeps a high loss, but its gradients become small: its weight falls, where methods
    that look at losses would raise it.

    Paper: He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024, https://arxiv.org/abs/2402.02009
    (equations 6, 7 and 9). The paper keeps weights in the simplex and takes three epochs for ``e_t(0)``; the authors'
    code, LibMTL and this one have the sum T and take the first step. Those weigh the whole loss, and the heads' part of
    the gradient counts in e; here, as in TorchJD, what is shared alone is compared and weighted. TorchJD has the sum 1,
    ``eta = 1``, and multiplies by ``exp(eta e_t(0))`` in the first step. The default of eta is LibMTL's.

    Needs T numbers for each shared parameter. Embedding tables with sparse gradients are left out of e, and weighted
    likewise.

    Sum of the weights: the number of tasks that are present.

    Args:
        tasks: Number of tasks; the trainer gives it.
        learning_rate: ``eta``, above 0.
        warmup: Steps of a task whose mean excess is ``e_t(0)``, from 1.

    Raises:
        UserError: If an option is out of range; in a step, if the shared parameters are others than before.

    Example:
        >>> balancer = excess_mtl(2, learning_rate=1.0)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2))
        >>> first = balancer(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), step)
        >>> balancer(torch.tensor([[1.0, 0.0], [0.0, 0.1]]), step)  # the second task has less to gain
        tensor([1.3351, 0.0665])
    """
    problems = limits("learning_rate", learning_rate, above=0.0) + limits("warmup", warmup, least=1.0)
    if problems:
        raise UserError(problems)
    return ExcessMTL(tasks, learning_rate, warmup)
