"""MoCo: multi-objective gradient correction (Fernando et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from polytask.balancing.aggregators.history import Remembering, decayed, reciprocals
from polytask.balancing.interfaces import Aggregator
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.scalarizers.positive import refuse_negative
from polytask.balancing.weightings.sdmgrad import nearest_in_simplex
from polytask.errors import UserError
from polytask.options import in_range, one_of
from polytask.types import Step

Scaling = Literal["none", "loss"]
Projection = Literal["simplex", "softmax"]


class MoCo(Remembering):
    """``d = sum_t lambda_t y_t``; the history is y.

    Args:
        tasks: How many.
        names: Of all tasks, for messages.
        tracking: ``beta`` and by which power of the step it falls.
        descent: ``gamma`` and by which power of the step it falls.
        rho: Pull of lambda towards even weights.
        scaling: What is tracked: gradients, or these with the loss as their length.
        projection: How lambda is brought back to the simplex.
    """

    weights: Float[Tensor, "tasks"]

    def __init__(
        self,
        tasks: int,
        names: Sequence[str],
        tracking: tuple[float, float],
        descent: tuple[float, float],
        rho: float,
        scaling: Scaling,
        projection: Projection,
    ) -> None:
        super().__init__(tasks)
        self._names, self._tracking, self._descent, self._rho = tuple(names), tracking, descent, rho
        self._scaling, self._projection = scaling, projection
        self.register_buffer("weights", torch.full((tasks,), 1.0 / tasks, dtype=torch.float64))

    def aggregate(
        self, jacobian: Float[Tensor, "present width"], before: Float[Tensor, "present width"], step: Step
    ) -> tuple[Float[Tensor, "width"], Float[Tensor, "present"]]:
        """The combination of the tracked gradients, with weights from after their step."""
        seen = self.history.seen[step.present.to(self.history.seen.device)]
        scale = self._scale(jacobian, step)
        rate = decayed(*self._tracking, seen).to(jacobian).unsqueeze(1)
        tracked = torch.lerp(before, scale.unsqueeze(1) * jacobian, rate)
        self.history.keep(tracked, step.present)
        gamma = float(decayed(*self._descent, seen.max()))
        weights = self._descend((tracked @ tracked.T).to("cpu", torch.float64).numpy(), gamma, step).to(jacobian)
        return weights @ tracked, weights * scale

    def _scale(self, jacobian: Float[Tensor, "present width"], step: Step) -> Float[Tensor, "present"]:
        """The factors of the gradients before they are tracked."""
        if self._scaling == "none":
            return jacobian.new_ones(len(jacobian))
        losses = step.losses.detach()[step.present.to(step.losses.device)]
        refuse_negative(losses, step, self._names, "moco")
        lengths = torch.linalg.vector_norm(jacobian, dim=1)
        # 1 where the gradient is zero: only gradients without a history are left, and they move
        return torch.where(lengths > 0, losses.to(jacobian) * reciprocals(lengths), 1.0)

    def _descend(
        self, gramian: Float64[np.ndarray, "present present"], gamma: float, step: Step
    ) -> Float[Tensor, "present"]:
        """One step of the weights down ``norm(sum_t lambda_t y_t)^2 / 2``."""
        present, count = step.present.to(self.weights.device), len(gramian)
        start = self.weights[present].to("cpu", torch.float64).numpy()
        start = start / start.sum() if start.sum() > 0.0 else np.full(count, 1.0 / count)
        moved = start - gamma * (gramian @ start + self._rho * start)
        if self._projection == "simplex":
            # a common shift changes nothing, and leaves small differences of large numbers
            found = nearest_in_simplex(moved - moved.max())
        else:
            powers = np.exp(moved - moved.max())
            found = powers / powers.sum()
        weights = torch.from_numpy(found)
        # in the mean 1 / tasks, so that tasks that were present in different steps go on from like sizes
        self.weights[present] = (weights * count / len(self.weights)).to(self.weights)
        return weights


def moco(
    tasks: int,
    names: Sequence[str] = (),
    *,
    beta: float = 0.1,
    beta_decay: float = 0.5,
    gamma: float = 0.1,
    gamma_decay: float = 0.5,
    rho: float = 0.0,
    scaling: Scaling = "none",
    projection: Projection = "simplex",
) -> Aggregator:
    """MoCo: MGDA on running means of the gradients, so that the noise of single batches does not decide.

    ``d = sum_t lambda_t y_t``; in every step, before,

        y_t    = y_t - beta_k (y_t - g_t)
        lambda = proj(lambda - gamma_k (Y Y' + rho I) lambda)

    - ``g_t``: gradient of task t. ``y_t``: what is tracked of it, at first 0; ``Y``: all of these, one a row.
    - ``beta_k = beta / k^beta_decay``, k the steps in which the task has been present; ``gamma_k`` likewise, k of the
      task that was present most often. ``proj``: the nearest in the simplex.
    - ``rho``: pull towards even weights.
    - y and lambda of an absent task stay; the lambda of the others are brought to the sum 1.

    Steps are short at first, as y starts from 0: of length ``beta`` times the gradient.

    Paper: Fernando et al., "Mitigating Gradient Bias in Multi-objective Learning: A Provably Convergent Approach", ICLR
    2023, https://openreview.net/forum?id=dLAYGdKTi2 (equations 5 and 6), with the defaults of the authors' code. That
    code takes the gradient of ``norm(Y' lambda)^2``, a gamma twice as large, and, as here, d with the new y and lambda.
    LibMTL gives each gradient the length of its loss (``scaling="loss"``), takes a softmax of ``lambda - gamma_k ...``
    in the place of the projection (``projection="softmax"``), which keeps lambda near even, and has ``beta=0.5``.

    Needs T numbers for each shared parameter. Embedding tables with sparse gradients are left out of y and receive
    ``sum_t lambda_t g_t``.

    Sum of the weights: 1, with ``scaling="none"`` and once y has come near to g.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order, for messages; the trainer gives them.
        beta: Of the tracking, above 0 and up to 1.
        beta_decay: Power of the step by which it falls, from 0.
        gamma: Step size of lambda, above 0.
        gamma_decay: Power of the step by which it falls, from 0.
        rho: From 0.
        scaling: What is tracked: the gradient (``none``), or ``L_t g_t / norm(g_t)`` (``loss``).
        projection: ``simplex`` or ``softmax``.

    Raises:
        UserError: If an option is unknown or out of range; in a step, if the shared parameters are others than before,
            or a loss is negative that is to be a length.

    Example:
        >>> balancer = moco(2, beta=1.0, gamma=0.5)
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2))
        >>> balancer(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), step)
        tensor([0.8750, 0.2500])
    """
    problems = in_range(beta, where="beta", above=0, most=1) + limits("beta_decay", beta_decay, least=0.0)
    problems += limits("gamma", gamma, above=0.0) + limits("gamma_decay", gamma_decay, least=0.0)
    problems += limits("rho", rho, least=0.0)
    problems += one_of(scaling, ("none", "loss"), where="scaling")
    problems += one_of(projection, ("simplex", "softmax"), where="projection")
    if problems:
        raise UserError(problems)
    return MoCo(tasks, names, (beta, beta_decay), (gamma, gamma_decay), rho, scaling, projection)
