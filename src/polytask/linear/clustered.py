"""Tasks in clusters that nobody has to name (CMTL)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from polytask.errors import Problem
from polytask.linear.estimator import LinearModel
from polytask.linear.losses import Matrix
from polytask.linear.operators import fill_levels
from polytask.linear.solver import Parts
from polytask.options import in_range


@dataclass(eq=False)
class Clustered(LinearModel):
    """``within * eta (1 + eta) tr(W' (eta I + M)^-1 W)``, ``tr M = clusters``, ``0 <= M <= I``, ``eta = size/within``.

    The convex relaxation of k-means over the tasks' coefficients: ``M`` (``[T, T]``) relaxes the matrix of
    assignments. Along a direction of the task space that ``M`` covers a coefficient costs ``size``, elsewhere
    ``within + size``.

    ``M`` is not a variable of the solver, as in MALSAR, but always at its optimum: it has the left singular vectors of
    ``W``, and its eigenvalues solve a knapsack (`polytask.linear.operators.fill_levels`). What is left is a smooth
    convex function of ``W`` with gradient ``2 c (eta I + M)^-1 W`` and curvature at most ``2 (within + size)``, with
    the same minimiser. Proximal step: none.

    Reference: Zhou, Chen & Ye, NIPS 2011, after Jacob, Bach & Vert 2008, https://arxiv.org/abs/0809.2085

    Args:
        clusters: Number of clusters, k.
        within: Factor of the distances within clusters, ``rho_1``; above 0.
        size: Factor of ``||W||_F^2``, ``rho_2``; above 0.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, tasks = rng.normal(size=(180, 4)), np.repeat(np.arange(6), 30)
        >>> W = np.where(np.arange(6)[:, None] < 3, [2.0, 2, 0, 0], [0.0, 0, -2, 2])
        >>> model = Clustered(clusters=2, within=1.0, size=1e-3).fit(X, (X * W[tasks]).sum(1), tasks)
        >>> (model.assignment_ > 0.2).astype(int).tolist()[0]
        [1, 1, 1, 0, 0, 0]
    """

    clusters: int = 2
    within: float = 0.1
    size: float = 0.1

    def check_options(self) -> list[Problem]:
        """Numbers out of range."""
        return [
            *in_range(self.clusters, where="Clustered.clusters", least=1),
            *in_range(self.within, where="Clustered.within", above=0),
            *in_range(self.size, where="Clustered.size", above=0),
        ]

    def check(self, tasks: np.ndarray) -> list[Problem]:
        """More clusters than tasks."""
        return in_range(self.clusters, where="Clustered.clusters", most=len(tasks))

    def smooth_penalty(self, coef: Matrix) -> tuple[float, Matrix]:
        """Value and gradient with ``M`` at its optimum."""
        left, values, right = np.linalg.svd(coef, full_matrices=False)
        eta = self.size / self.within
        levels = eta + fill_levels(values, eta, self.clusters)
        factor = self.size * (1.0 + eta)
        return factor * float((values**2 / levels).sum()), 2.0 * factor * (left * (values / levels)) @ right

    def penalty_value(self, parts: Parts) -> float:
        """Nothing beside the smooth penalty."""
        return 0.0

    def proximal(self, parts: Parts, step: float) -> Parts:
        """No step."""
        return parts

    @property
    def assignment_(self) -> Float64[np.ndarray, "tasks tasks"]:
        """``M`` at the solution, up to directions that no coefficient uses."""
        left, values, _ = np.linalg.svd(self.coef_, full_matrices=False)
        return (left * fill_levels(values, self.size / self.within, self.clusters)) @ left.T
