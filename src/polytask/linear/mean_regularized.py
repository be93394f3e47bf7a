"""Tasks near their mean."""

from __future__ import annotations

from dataclasses import dataclass

from polytask.linear.estimator import LinearModel
from polytask.linear.solver import Parts


@dataclass(eq=False)
class MeanRegularized(LinearModel):
    """``penalty sum_t ||w_t - mean(w)||^2 + ridge sum_t ||w_t||^2``: from independent (0) to pooled (infinity).

    The paper writes ``w_t = w_0 + v_t`` and penalises ``a/T sum ||v_t||^2 + b ||w_0||^2``. That is the same with
    ``ridge = a b / (T (a + b))`` and ``penalty = a^2 / (T (a + b))``, and then ``w_0 = a / (a + b) mean(w)``. MALSAR's
    SRMTL with ``R = I - 11'/T`` is ``ridge = 0``.

    Proximal step: deviations from the mean shrink by ``1 / (1 + 2 s penalty)``. It is exact, so that strong coupling
    does not slow the solver down.

    Reference: Evgeniou & Pontil, KDD 2004, https://doi.org/10.1145/1014052.1014067

    Args:
        penalty: Factor of the squared distances to the mean.

    Example:
        >>> X, y, tasks = [[0.0], [1.0], [0.0], [1.0]], [0, 2, 0, 4], ["a", "a", "b", "b"]
        >>> [MeanRegularized(p).fit(X, y, tasks).coef_[:, 0].round(2).tolist() for p in (0.0, 0.1, 1e6)]
        [[2.0, 4.0], [2.44, 3.56], [3.0, 3.0]]
    """

    penalty: float = 0.1

    def penalty_value(self, parts: Parts) -> float:
        """``penalty sum_t ||w_t - mean(w)||^2``."""
        return self.penalty * float(((parts - parts.mean(1, keepdims=True)) ** 2).sum())

    def proximal(self, parts: Parts, step: float) -> Parts:
        """Deviations from the mean shrink."""
        mean = parts.mean(1, keepdims=True)
        return mean + (parts - mean) / (1.0 + 2.0 * step * self.penalty)
