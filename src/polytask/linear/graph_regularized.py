"""Tasks near their neighbours in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from polytask.errors import Problem, suggest
from polytask.linear.estimator import LinearModel
from polytask.linear.losses import Matrix
from polytask.linear.operators import soft_threshold
from polytask.linear.solver import Parts
from polytask.options import in_range


@dataclass(eq=False)
class GraphRegularized(LinearModel):
    """``penalty sum_(s, t, a) a ||w_s - w_t||^2 + sparsity ||W||_1`` over the edges: SRMTL.

    Tasks that you know to be related, such as neighbouring regions, stay close. With all pairs as edges, each of
    weight ``1/T``, it equals `MeanRegularized`. The quadratic is part of the gradient (``2 L W``, with the graph's
    Laplacian ``L``); proximal step: soft threshold.

    Reference: Evgeniou, Micchelli & Pontil, JMLR 2005, https://jmlr.org/papers/v6/evgeniou05a.html

    Args:
        edges: Pairs of task ids, or triples with a weight.
        penalty: Factor of the squared differences.
        sparsity: Factor of the sum of absolute coefficients.

    Example:
        >>> X, y, tasks = [[0.0], [1.0]] * 3, [0, 2, 0, 4, 0, 9], ["a", "a", "b", "b", "c", "c"]
        >>> model = GraphRegularized([("a", "b")], penalty=1e3).fit(X, y, tasks)
        >>> model.coef_[:, 0].round(2).tolist()
        [3.0, 3.0, 9.0]
    """

    edges: Sequence[Sequence[object]] = ()
    penalty: float = 0.1
    sparsity: float = 0.0

    _laplacian: np.ndarray = field(init=False, repr=False)

    def check(self, tasks: np.ndarray) -> list[Problem]:
        """Edges that do not fit; forms the Laplacian."""
        problems = []
        position = {task: at for at, task in enumerate(tasks.tolist())}
        laplacian = np.zeros((len(tasks), len(tasks)))
        for at, edge in enumerate(self.edges):
            where = f"GraphRegularized.edges[{at}]"
            if len(edge) not in (2, 3):
                problems.append(Problem(where, f"is {edge!r}", "give two task ids, and a weight if you like"))
                continue
            unknown = [task for task in edge[:2] if task not in position]
            known = [str(task) for task in position]
            problems += [Problem(where, f"no task {task!r}", suggest(str(task), known)) for task in unknown]
            weight = edge[2] if len(edge) == 3 else 1.0
            problems += in_range(weight, where=where, least=0)  # type: ignore[arg-type]
            if not problems:
                s, t = position[edge[0]], position[edge[1]]
                laplacian[[s, t], [s, t]] += float(weight)  # type: ignore[arg-type]
                laplacian[[s, t], [t, s]] -= float(weight)  # type: ignore[arg-type]
        self._laplacian = laplacian
        return problems

    def smooth_penalty(self, coef: Matrix) -> tuple[float, Matrix]:
        """``penalty tr(W' L W)`` and its gradient."""
        pull = self.penalty * (self._laplacian @ coef)
        return float(np.vdot(coef, pull)), 2.0 * pull

    def penalty_value(self, parts: Parts) -> float:
        """``sparsity ||W||_1``."""
        return self.sparsity * float(np.abs(parts).sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Soft threshold."""
        return soft_threshold(parts, step * self.sparsity)
