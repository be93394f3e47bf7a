"""SDMGrad: direction-oriented multi-objective descent (Xiao, Ban and Ji, NeurIPS 2023)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.scalarizers.options import limits
from polytask.balancing.solvers.min_norm import smallest_combination
from polytask.balancing.solvers.scaled import like, scaled, scaled_of
from polytask.errors import Problem, UserError, suggest
from polytask.options import in_range
from polytask.types import Step

Solver = Literal["sgd", "exact"]


def nearest_in_simplex(point: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """The nearest to ``point`` of all with entries from 0 and sum 1.

    Example:
        >>> nearest_in_simplex(np.array([1.0, 0.5, -1.0])).tolist()
        [0.75, 0.25, 0.0]
    """
    falling = np.sort(point)[::-1]
    levels = (np.cumsum(falling) - 1.0) / np.arange(1, len(point) + 1)
    return np.maximum(point - levels[np.flatnonzero(falling > levels)[-1]], 0.0)


class SDMGrad(Weighting):
    """``d = (g_w + lambda g_0) / (1 + lambda)``.

    Args:
        tasks: How many.
        strength: ``lambda``.
        solver: How w is found.
        steps: Of the gradient descent that finds w.
        learning_rate: Of these.
        momentum: Of these.
    """

    start: Float[Tensor, "tasks"]

    def __init__(
        self, tasks: int, strength: float, solver: Solver, steps: int, learning_rate: float, momentum: float
    ) -> None:
        super().__init__()
        self._strength, self._solver, self._steps = strength, solver, steps
        self._learning_rate, self._momentum = learning_rate, momentum
        self.register_buffer("start", torch.full((tasks,), 1.0 / tasks, dtype=torch.float64))

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights; w is where the next step starts."""
        count, present = len(gramian), step.present.to(self.start.device)
        problem = scaled_of(gramian)
        relative = problem.norms / max(float(problem.norms.mean()), 1e-300)
        matrix = relative[:, None] * problem.cosines * relative
        if self._solver == "exact":
            w = self._exact(matrix, torch.finfo(gramian.dtype).eps)
        else:
            w = self._descend(matrix, self.start[present].to("cpu", torch.float64).numpy())
            # in the mean 1 / tasks, so that tasks that were present in different steps go on from like sizes
            self.start[present] = torch.from_numpy(w * count / len(self.start)).to(self.start)
        return like((w + self._strength / count) / (1.0 + self._strength), gramian)

    def _descend(
        self, matrix: Float64[np.ndarray, "present present"], start: Float64[np.ndarray, "present"]
    ) -> Float64[np.ndarray, "present"]:
        """Projected gradient descent, as published."""
        w = start / start.sum() if start.sum() > 0.0 else np.full(len(start), 1.0 / len(start))
        target, velocity = self._strength * matrix.mean(axis=1), np.zeros_like(w)
        for _ in range(self._steps):
            velocity = self._momentum * velocity + matrix @ w + target
            w = nearest_in_simplex(w - self._learning_rate * velocity)
        return w

    def _exact(self, matrix: Float64[np.ndarray, "present present"], eps: float) -> Float64[np.ndarray, "present"]:
        """MGDA on the vectors ``g_t + lambda g_0``: on the simplex their combinations are ``g_w + lambda g_0``."""
        mean = matrix.mean(axis=1)
        shift = self._strength * mean
        return smallest_combination(scaled(matrix + shift + shift[:, None] + self._strength**2 * mean.mean(), eps))


def sdmgrad(
    tasks: int,
    *,
    strength: float = 0.3,
    solver: Solver = "sgd",
    steps: int = 20,
    learning_rate: float = 5.0,
    momentum: float = 0.5,
) -> Weighting:
    """SDMGrad, of one batch: MGDA that is drawn towards the mean gradient.

    ``d = (g_w + lambda g_0) / (1 + lambda)`` with

        w = argmin norm(g_w + lambda g_0)^2 over the simplex

    found by 20 steps of projected gradient descent with momentum, which start at the w of the last step.

    - ``g_0 = sum_t g_t / T``: mean gradient. ``g_w = sum_t w_t g_t``. The Gramian is divided by the square of the mean
      norm of the gradients before.
    - ``lambda``: the ``strength``. 0 is MGDA, large values are the mean.
    - A task that is absent keeps its w; the others' are brought to the sum 1.

    Paper: Xiao, Ban and Ji, "Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms",
    NeurIPS 2023, https://arxiv.org/abs/2305.18409, which compares gradients at the shared parameters
    (``at="parameters"``). The stochastic method takes three batches a step, two for an unbiased estimate of the
    Gramian (``J_1 J_2'``) and one for d; this is the deterministic form, with one batch for all of it: the method as a
    function of the Gramian. Defaults are those of LibMTL; TorchJD has 10 for the learning rate. These rates are large:
    with many tasks w swings from step to step. ``solver="exact"`` gives the w that they look for, without a memory.

    Sum of the weights: 1.

    Args:
        tasks: Number of tasks; the trainer gives it.
        strength: ``lambda``, from 0.
        solver: How w is found: ``sgd`` as published, or ``exact``.
        steps: Of ``sgd``.
        learning_rate: Of ``sgd``.
        momentum: Of ``sgd``, from 0, below 1.

    Raises:
        UserError: If an option is unknown or out of range.

    Example:
        >>> gramian = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
        >>> sdmgrad(2, solver="exact")(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([0.8000, 0.2000])
    """
    problems = limits("strength", strength, least=0.0) + limits("steps", steps, least=1.0)
    problems += limits("learning_rate", learning_rate, above=0.0)
    problems += in_range(momentum, where="momentum", least=0, below=1)
    if solver not in get_args(Solver):
        problems.append(Problem("solver", f"'{solver}' is unknown", suggest(solver, get_args(Solver))))
    if problems:
        raise UserError(problems)
    return SDMGrad(tasks, strength, solver, steps, learning_rate, momentum)
