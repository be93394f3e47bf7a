"""Tasks in a common subspace (Yang & Hospedales, ICLR workshop 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.sharing.penalties.base import Penalty


class TraceNorm(Penalty):
    """See `trace_norm`."""

    def forward(self, stacks: Sequence[Float[Tensor, "tasks *shape"]], /) -> Float[Tensor, ""]:
        """Layer by layer."""
        return self.weight * torch.stack([nuclear_norm(stack.flatten(1)) for stack in stacks]).sum()


def nuclear_norm(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, ""]:
    """The sum of the singular values, ``<U V', M>``.

    Its gradient ``U V'`` leaves out singular values of 0: of all slopes that are possible there, the smallest. That of
    `torch.linalg.matrix_norm` pushes a matrix of zeros in a direction that means nothing.

    Example:
        >>> nuclear_norm(torch.tensor([[3.0, 0.0], [0.0, -4.0]])).item()
        7.0
    """
    u, s, vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
    kept = s > max(matrix.shape) * torch.finfo(s.dtype).eps * s[:1]
    return ((u * kept) @ vh * matrix).sum()


def trace_norm(*, weight: float = 1e-3, towers: bool = False) -> Penalty:
    """The nuclear norm of the tasks' parameters: ``weight * sum_layers ||[vec W_1, ..., vec W_T]||_*``.

    Row ``t`` of a layer's matrix ``[T, P]`` is everything that task ``t`` owns of that layer, flattened; a low rank
    means that few networks span all. Matrices only: biases and normalisations are free. Every layer costs one singular
    value decomposition a step.

    Paper: Yang and Hospedales, "Trace Norm Regularised Deep Multi-Task Learning", ICLR 2017 workshop,
    https://arxiv.org/abs/1606.04038 (its variant "last axis flattening")

    Args:
        weight: Factor of the norm.
        towers: The tasks' towers are penalised as well.

    Returns:
        A map from stacks ``[T, ...]`` to a scalar.

    Raises:
        UserError: If the weight is negative.

    Example:
        >>> trace_norm(weight=0.5)([torch.tensor([[3.0, 0.0], [0.0, 4.0]])]).item()
        3.5
    """
    return TraceNorm(weight, towers=towers)
