"""DB-MTL: dual balancing, of losses and of gradients (Lin et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.aggregators.history import Remembering, decayed, reciprocals
from polytask.balancing.interfaces import Aggregator
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.scalarizers.positive import refuse_negative
from polytask.errors import UserError
from polytask.options import in_range
from polytask.types import Step

EPSILON = 1e-8
"""Added to losses before the logarithm, as in the paper."""


class DBMTL(Remembering):
    """Running means of the gradients, brought to one length; the history is these means.

    Args:
        tasks: How many.
        names: Of all tasks, for messages.
        beta: What is kept of the mean, and by which power of the step that falls.
        logarithm: Whether gradients are of the logarithms of the losses.
    """

    def __init__(self, tasks: int, names: Sequence[str], beta: tuple[float, float], logarithm: bool) -> None:
        super().__init__(tasks)
        self._names, self._beta, self._logarithm = tuple(names), beta, logarithm

    def aggregate(
        self, jacobian: Float[Tensor, "present width"], before: Float[Tensor, "present width"], step: Step
    ) -> tuple[Float[Tensor, "width"], Float[Tensor, "present"]]:
        """The sum of the means, each as long as the longest."""
        seen = self.history.seen[step.present.to(self.history.seen.device)]
        slopes = self._slopes(jacobian, step)
        rate = decayed(*self._beta, seen).to(jacobian).unsqueeze(1)
        mean = torch.lerp(slopes.unsqueeze(1) * jacobian, before, rate)
        self.history.keep(mean, step.present)
        lengths = torch.linalg.vector_norm(mean, dim=1)
        # 1 where the mean is zero: only gradients without a history are left, and they move
        weights = torch.where(lengths > 0, lengths.max() * reciprocals(lengths), 1.0)
        return weights @ mean, weights * slopes

    def _slopes(self, jacobian: Float[Tensor, "present width"], step: Step) -> Float[Tensor, "present"]:
        """``d log(L + 1e-8) / dL``."""
        if not self._logarithm:
            return jacobian.new_ones(len(jacobian))
        losses = step.losses.detach()[step.present.to(step.losses.device)]
        refuse_negative(losses, step, self._names, "db_mtl")
        return (losses.to(jacobian) + EPSILON).reciprocal()


def db_mtl(
    tasks: int,
    names: Sequence[str] = (),
    *,
    beta: float = 0.9,
    beta_decay: float = 0.0,
    logarithm: bool = True,
) -> Aggregator:
    """DB-MTL: running means of the gradients of log losses, all given the length of the longest.

    ``d = a sum_t m_t / norm(m_t)``, ``a = max_t norm(m_t)``, with

        m_t = beta_k m_t + (1 - beta_k) grad log(L_t + 1e-8)

    - ``L_t``: loss of task t, ``grad`` at the shared parameters. ``m_t``: running mean, at first 0.
    - ``beta_k = beta / k^beta_decay``, k the steps in which the task has been present. The m of an absent task stays.
    - ``a`` is small only where all gradients are. A mean of zero has no direction, and no part in d.

    Multiplying a loss by a constant changes nothing.

    Paper: Lin et al., "Dual-Balancing for Multi-Task Learning", 2023, https://arxiv.org/abs/2308.12029 (algorithm 1;
    equations 1 and 2). There beta is searched among .1, .5 and .9, each as it is or divided by ``sqrt(k)``
    (``beta_decay=0.5``); the defaults are LibMTL's. In the paper and in LibMTL heads follow the gradients of the log
    losses as well; here what is private to a task keeps the gradient of its loss. For heads as in the paper give
    logarithms to [`backward`][polytask.balancing.standalone.backward] as losses, and ``logarithm=False``.

    Needs T numbers for each shared parameter. Embedding tables with sparse gradients are left out of m and receive
    ``sum_t a / norm(m_t) grad log(L_t + 1e-8)``.

    Sum of the weights: ``sum_t (a / norm(m_t)) / L_t`` for the gradients of the losses; d is up to T times as long as
    the longest m.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order, for messages; the trainer gives them.
        beta: What is kept of the mean, from 0, below 1.
        beta_decay: Power of the step by which that falls, from 0.
        logarithm: Take gradients of the logarithms; false: of the losses themselves.

    Raises:
        UserError: If an option is out of range; in a step, if the shared parameters are others than before, or a loss
            is negative and has no logarithm.

    Example:
        >>> balancer = db_mtl(2, beta=0.5)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), torch.tensor([1.0, 2.0]))
        >>> balancer(torch.tensor([[4.0, 0.0], [0.0, 2.0]]), step)
        tensor([2., 2.])
    """
    problems = in_range(beta, where="beta", least=0, below=1) + limits("beta_decay", beta_decay, least=0.0)
    if problems:
        raise UserError(problems)
    return DBMTL(tasks, names, (beta, beta_decay), logarithm)
