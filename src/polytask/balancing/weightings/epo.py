"""EPO search: the Pareto-optimal point at which weighed losses are equal (Mahapatra and Rajan, ICML 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.scalarizers.options import limits, per_task
from polytask.balancing.scalarizers.positive import refuse_negative
from polytask.balancing.solvers.linear import best_on_simplex
from polytask.balancing.solvers.scaled import Scaled, like, scaled_of
from polytask.errors import Problem, UserError
from polytask.types import Step


def non_uniformity(
    losses: Float64[np.ndarray, "n"], preferences: Float64[np.ndarray, "n"]
) -> tuple[float, Float64[np.ndarray, "n"]]:
    """How far the losses are from the ray, and the direction in which they come nearer to it.

    ``mu = sum_t q_t log(T q_t)`` with ``q_t = p_t L_t / sum_s p_s L_s``, and ``a_t = p_t (log(T q_t) - mu)``: the
    gradient of mu in the losses times ``sum_s p_s L_s``.

    Args:
        losses: From 0.
        preferences: Above 0.

    Returns:
        mu, from 0 to log T; and a, 0 on the ray. Where all losses are 0, so is mu.

    Example:
        >>> mu, anchor = non_uniformity(np.array([1.0, 3.0]), np.array([3.0, 1.0]))
        >>> abs(mu) < 1e-12, anchor.round(6).tolist()
        (True, [0.0, 0.0])
    """
    weighed = preferences * losses
    if not weighed.any():
        return 0.0, np.zeros_like(losses)
    # of a loss of zero the logarithm would be infinite: it stops at what precision leaves of the others
    share = np.maximum(weighed / weighed.sum(), np.finfo(np.float64).eps)
    logarithms = np.log(len(losses) * share)
    mu = float(share @ logarithms)
    return mu, preferences * (logarithms - mu)


class EPO(Weighting):
    """The linear program of balance and of descent.

    Args:
        preferences: ``p_t``, one above 0 per task.
        ideal: ``z_t``, one per task.
        tolerance: The non-uniformity up to which all losses are to fall together.
        names: Of all tasks, for messages.
    """

    preferences: Float[Tensor, "tasks"]
    ideal: Float[Tensor, "tasks"]

    def __init__(
        self,
        preferences: Float[Tensor, "tasks"],
        ideal: Float[Tensor, "tasks"],
        tolerance: float,
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._tolerance, self._names = tolerance, tuple(names)
        self.register_buffer("preferences", preferences)
        self.register_buffer("ideal", ideal)

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights of the step towards the ray, or along it."""
        present = step.present.to(self.ideal.device)
        losses = step.losses[step.present.to(step.losses.device)].detach().to("cpu", torch.float64)
        losses = losses - self.ideal[present].to(losses)
        refuse_negative(losses, step, self._names, "epo")
        preferences = self.preferences[present].to(losses)
        mu, anchor = non_uniformity(losses.numpy(), (preferences / preferences.sum()).numpy())
        problem = scaled_of(gramian)
        if not problem.moving.any():
            return like(np.full(len(losses), 1.0 / len(losses)), gramian)
        if mu <= self._tolerance:
            return like(descend(problem), gramian)
        weighed = (preferences * losses).numpy()
        return like(balance(problem, anchor, weighed >= weighed.max() * (1.0 - 1e-12)), gramian)


def descend(problem: Scaled) -> Float64[np.ndarray, "n"]:
    """``argmax_w 1' M w`` with ``M w >= 0``: the losses fall, together as fast as may be.

    Example:
        >>> from polytask.balancing.solvers.scaled import scaled
        >>> descend(scaled(np.array([[4.0, 1.0], [1.0, 1.0]]))).tolist()
        [1.0, 0.0]
    """
    matrix, lengths = _matrix(problem)
    return best_on_simplex(lengths @ matrix, matrix, np.zeros(len(lengths)))


def balance(
    problem: Scaled, anchor: Float64[np.ndarray, "n"], worst: Bool[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """``argmax_w a' M w``: the fastest way to the ray, on which losses that are too low may rise.

    With ``s = M a``, what a step along ``sum_t a_t g_t`` takes off each loss: where some ``s_t > 0``, those of these
    are free, the others are held to ``(M w)_t >= s_t``, and the worst to ``(M w)_t >= 0``. Otherwise ``M w >= 0``.

    Args:
        problem: The Gramian M.
        anchor: a.
        worst: Which tasks have the largest ``p_t L_t``.

    Example:
        >>> from polytask.balancing.solvers.scaled import scaled
        >>> _, anchor = non_uniformity(np.array([1.0, 3.0]), np.ones(2))
        >>> balance(scaled(np.array([[1.0, -0.5], [-0.5, 1.0]])), anchor, np.array([False, True])).tolist()
        [0.0, 1.0]
    """
    matrix, lengths = _matrix(problem)
    slopes = matrix @ anchor
    gains = (lengths * anchor) @ matrix
    least, kept = np.zeros(len(lengths)), np.ones(len(lengths), dtype=bool)
    if (slopes > 0.0).any():
        least = np.where(worst, 0.0, np.minimum(slopes, 0.0))
        kept = worst | (slopes <= 0.0)
    return best_on_simplex(gains, matrix[kept], least[kept])


def _matrix(problem: Scaled) -> tuple[Float64[np.ndarray, "n n"], Float64[np.ndarray, "n"]]:
    """Rows ``g_t' G / norm(g_t)``, and the lengths by which rows of the Gramian are longer; the longest is 1."""
    lengths = problem.norms / problem.norms.max()
    return problem.cosines * lengths * problem.moving[:, None], lengths


def epo(
    tasks: int,
    names: Sequence[str] = (),
    *,
    preferences: Mapping[str, float] | Sequence[float] | None = None,
    ideal: Mapping[str, float] | Sequence[float] | None = None,
    tolerance: float = 1e-4,
) -> Weighting:
    """EPO search: to the Pareto-optimal point with the preference that you set, ``p_s L_s = p_t L_t`` for all tasks.

    How far the losses are from that ray is measured by their non-uniformity mu, with the anchoring direction a,

        mu = sum_t q_t log(T q_t),   q_t = p_t L_t / sum_s p_s L_s,   a_t = p_t (log(T q_t) - mu)

    and the weights w on the simplex solve a linear program over the Gramian M:

        balance, mu > tolerance:    max a' M w   with (M w)_t >= min(s_t, 0) for t outside J, >= 0 for the worst tasks
        descent, mu <= tolerance:   max 1' M w   with M w >= 0

    - ``s = M a``, ``J = {t: s_t > 0}``. If J is empty, ``M w >= 0`` in balance as well. The p of a add up to 1.
    - ``worst``: the tasks with the largest ``p_t L_t``; they never rise. Others may, in a controlled way: so the search
      also leaves a Pareto-optimal point that is not the one asked for.
    - ``z_t``: with ``ideal``, ``L_t - z_t`` stands in the place of ``L_t``, which must not be negative.

    Points on the front of any shape are reached if the ray meets it; with
    [`tchebycheff`][polytask.balancing.scalarizers.tchebycheff.tchebycheff] they are minima of a function, here rest
    points of a search.

    Paper: Mahapatra and Rajan, "Multi-Task Learning with User Preferences: Gradient Descent with Controlled Ascent in
    Pareto Optimization", ICML 2020, https://proceedings.mlr.press/v119/mahapatra20a.html. It compares gradients at
    the parameters (``at="parameters"``). The authors solve the program with CVXPY and GLPK; here a simplex method does
    it. Their code has in descent ``a' M w >= min(0, max_t s_t)`` as a further condition, which may leave no solution,
    and which they drop after some steps; the paper has none. In the code of Pareto HyperNetworks the weights are
    multiplied by T.

    Sum of the weights: 1. They jump as the losses come to the ray and leave it: with small learning rates, less.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order; the trainer gives them. Needed for mappings.
        preferences: One number above 0 per task, by name or in order. Default: even.
        ideal: ``z_t`` per task, likewise, of any sign. Default: 0.
        tolerance: The non-uniformity up to which losses count as lying on the ray, from 0.

    Raises:
        UserError: If an option is out of range; in a step, if ``L_t - z_t`` is negative.

    Example:
        >>> gramian = torch.tensor([[1.0, -0.5], [-0.5, 1.0]])
        >>> epo(2)(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.tensor([1.0, 3.0])))
        tensor([0.0129, 0.9871])
    """
    even, zero = [1.0] * tasks, [0.0] * tasks
    weights, problems = (even, []) if preferences is None else per_task("preferences", preferences, names, above=0.0)
    points, more = (zero, []) if ideal is None else per_task("ideal", ideal, names, least=None)
    problems += more + limits("tolerance", tolerance, least=0.0)
    for option, values in (("preferences", weights), ("ideal", points)):
        if not names and len(values) != tasks:
            problems.append(Problem(option, f"{len(values)} given for {tasks} tasks", "give one for each task"))
    if problems:
        raise UserError(problems)
    return EPO(torch.tensor(weights), torch.tensor(points), tolerance, names)
