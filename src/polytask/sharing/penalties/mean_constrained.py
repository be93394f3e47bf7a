"""Tasks around their mean (Evgeniou & Pontil, KDD 2004)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.errors import raise_errors
from polytask.options import in_range
from polytask.sharing.penalties.base import Penalty
from polytask.sharing.penalties.l2_distance import spread


class MeanConstrained(Penalty):
    """See `mean_constrained`.

    Args:
        weight: Factor of the distances from ``w_0``, lambda1.
        mean_weight: Factor of the size of ``w_0``, lambda2.
        towers: Whether the towers are among its parameters.
    """

    def __init__(self, weight: float, mean_weight: float, *, towers: bool = False) -> None:
        super().__init__(weight, towers=towers)
        raise_errors(in_range(mean_weight, least=0, where="penalty.mean_weight"))
        self.mean_weight = mean_weight

    def forward(self, stacks: Sequence[Float[Tensor, "tasks *shape"]], /) -> Float[Tensor, ""]:
        """With ``w_0`` at its optimum."""
        total = self.weight + self.mean_weight
        factor = self.weight / total if total > 0 else 0.0
        size = torch.stack([stack.square().sum() / len(stack) for stack in stacks]).sum()
        apart = torch.stack([spread(stack) / len(stack) for stack in stacks]).sum()
        return factor * (self.mean_weight * size + self.weight * apart)


def mean_constrained(*, weight: float = 1e-3, mean_weight: float = 1e-4, towers: bool = False) -> Penalty:
    """Every task is a common vector plus a deviation, ``w_t = w_0 + v_t``, and both are kept small.

    ``(lambda1 / T) sum_t ||v_t||^2 + lambda2 ||w_0||^2`` with the best ``w_0 = lambda1 / (lambda1 + lambda2) mean_t
    w_t`` put in, which is ``rho1 sum_t ||w_t||^2 + rho2 sum_t ||w_t - mean||^2`` with
    ``rho1 = lambda1 lambda2 / (T (lambda1 + lambda2))`` and ``rho2 = lambda1^2 / (T (lambda1 + lambda2))``. Matrices
    only: biases and normalisations are free.

    Paper: Evgeniou and Pontil, "Regularized Multi-Task Learning", KDD 2004, https://doi.org/10.1145/1014052.1014067

    Args:
        weight: Of the deviations, lambda1; large values make the tasks equal.
        mean_weight: Of the common vector, lambda2; 0 only pulls the tasks to their mean.
        towers: The tasks' towers are penalised as well.

    Returns:
        A map from stacks ``[T, ...]`` to a scalar.

    Raises:
        UserError: If a weight is negative.

    Example:
        >>> mean_constrained(weight=1.0, mean_weight=0.0)([torch.tensor([[0.0, 1.0], [2.0, 1.0]])]).item()
        1.0
    """
    return MeanConstrained(weight, mean_weight, towers=towers)
