"""Squared distances between the parameters of tasks (Duong et al., ACL 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.sharing.penalties.base import Penalty


class L2Distance(Penalty):
    """See `l2_distance`. Biases and normalisations count as well: it pulls to other tasks, never to 0."""

    matrices_only = False

    def forward(self, stacks: Sequence[Float[Tensor, "tasks *shape"]], /) -> Float[Tensor, ""]:
        """Over pairs, as T times the sum of squared distances from the mean."""
        return self.weight * torch.stack([len(stack) * spread(stack) for stack in stacks]).sum()


def spread(stack: Float[Tensor, "tasks *shape"]) -> Float[Tensor, ""]:
    """``sum_t ||w_t - mean||^2``.

    Example:
        >>> spread(torch.tensor([[0.0, 1.0], [2.0, 1.0]])).item()
        2.0
    """
    return (stack - stack.mean(0)).square().sum()


def l2_distance(*, weight: float = 1e-3, towers: bool = False) -> Penalty:
    """Every pair of tasks is pulled together: ``weight * sum_{s<t} ||theta_s - theta_t||^2``.

    ``theta_t`` is all that task ``t`` owns. The weight 0 leaves the tasks apart, a very large one makes them equal.

    Paper: Duong et al., "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser",
    ACL 2015, https://aclanthology.org/P15-2139. There one parser is pulled to another that was trained before, without
    the word embeddings; here, as in Ma et al., KDD 2018, https://doi.org/10.1145/3219819.3220007, all learn together.

    Args:
        weight: Factor of the penalty, alpha.
        towers: Pull the tasks' towers together as well.

    Returns:
        A map from stacks ``[T, ...]`` to a scalar.

    Raises:
        UserError: If the weight is negative.

    Example:
        >>> l2_distance(weight=0.5)([torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 0.0]])]).item()
        5.0
    """
    return L2Distance(weight, towers=towers)
