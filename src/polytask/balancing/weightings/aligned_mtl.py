"""Aligned-MTL: independent component alignment (Senushkin et al., CVPR 2023)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.scaled import NOTHING, like
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Scale = Literal["min", "median", "rmse"]


class AlignedMTL(Weighting):
    """``w = sqrt(lambda) V Lambda^(-1/2) V' 1 / T``.

    Args:
        scale: Which eigenvalue is given to all.
    """

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self._scale = scale

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights of the aligned gradients."""
        matrix = gramian.detach().to("cpu", torch.float64).numpy()
        count, largest = len(matrix), float(np.abs(np.diag(matrix)).max())
        even = np.full(count, 1.0 / count)
        if largest <= NOTHING:
            return like(even, gramian)
        values, vectors = np.linalg.eigh(matrix / largest)
        kept = values > values[-1] * count * torch.finfo(gramian.dtype).eps
        values, vectors = values[kept], vectors[:, kept]
        common = {"min": values[0], "median": np.sort(values)[(len(values) - 1) // 2], "rmse": values.mean()}
        return like(vectors @ (vectors.T @ even * np.sqrt(common[self._scale] / values)), gramian)


def aligned_mtl(*, scale: Scale = "min") -> Weighting:
    """Aligned-MTL: gradients are replaced by the nearest ones that are at right angles and of one length.

    ``d = sum_t h_t / T`` where the ``h_t`` are the nearest to the ``g_t`` of all whose Gramian is a multiple of the
    identity, so that the system of gradients has the condition number 1:

        w = sqrt(lambda) V Lambda^(-1/2) V' 1 / T,   M = V Lambda V'

    - ``g_t``: gradient of task t. ``M``: the Gramian, ``V``, ``Lambda``: its eigenvectors and eigenvalues. Those below
      the largest times T times the precision of the numbers are left out.
    - ``lambda``: the smallest eigenvalue that is left. d decreases the mean loss; single ones can increase.

    Paper: Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023,
    https://arxiv.org/abs/2305.19000 (algorithm 1), with even preferences. The paper compares gradients at the shared
    parameters, in its UB form at the representation, as is done here. LibMTL has preferences of 1 instead of 1 / T:
    steps T times as long. ``scale="rmse"`` is the mode that TorchJD reports of the authors' code.

    Sum of the weights: ``1' B 1 / T`` with ``B = sqrt(lambda) M^(-1/2)``: at most 1 for ``min``, less the worse M is
    conditioned.

    Args:
        scale: The eigenvalue that all receive: ``min``, ``median``, or ``rmse``: their mean.

    Raises:
        UserError: If ``scale`` is unknown.

    Example:
        >>> gramian = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
        >>> aligned_mtl()(gramian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([0.2500, 0.5000])
    """
    if scale not in get_args(Scale):
        raise UserError(Problem("scale", f"'{scale}' is unknown", suggest(scale, get_args(Scale))))
    return AlignedMTL(scale)
