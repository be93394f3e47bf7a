"""Gramians with lengths and angles apart: what solvers take, so that no scale is too large or too small for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

NOTHING = 1e-37
"""A squared norm up to this is taken for zero: single precision holds no angles below."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """A Gramian ``M = diag(norms) cosines diag(norms)``.

    Attributes:
        norms: Lengths of the gradients.
        cosines: Cosines of the angles between them; a gradient of zero is at right angles to all, its own entry 1.
        noise: Bound of the rounding errors of ``cosines``, as a norm.
    """

    norms: Float64[np.ndarray, "n"]
    cosines: Float64[np.ndarray, "n n"]
    noise: float

    @property
    def moving(self) -> np.ndarray:
        """Which gradients are not zero."""
        return self.norms > 0.0

    def only(self, kept: np.ndarray) -> Scaled:
        """The same of some gradients."""
        return Scaled(self.norms[kept], self.cosines[np.ix_(kept, kept)], self.noise)


def scaled(matrix: Float64[np.ndarray, "n n"], precision: float = float(np.finfo(np.float64).eps)) -> Scaled:
    """Takes a Gramian apart.

    Args:
        matrix: Symmetric, positive semi-definite up to rounding, finite.
        precision: Of the numbers that the inner products were computed in.

    Example:
        >>> scaled(np.array([[4.0, 1.0], [1.0, 1.0]])).cosines.tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    squares = np.diag(matrix).astype(np.float64)
    norms = np.sqrt(np.where(squares > NOTHING, squares, 0.0))
    divisors = np.where(norms > 0.0, norms, np.inf)
    # one after the other: a product of two norms could leave the range of floats
    cosines = np.clip(matrix / divisors[:, None] / divisors[None, :], -1.0, 1.0)
    np.fill_diagonal(cosines, 1.0)
    return Scaled(norms, cosines, len(norms) * precision)


def scaled_of(gramian: Float[Tensor, "n n"]) -> Scaled:
    """Takes a tensor apart, off the tape."""
    return scaled(gramian.detach().to("cpu", torch.float64).numpy(), torch.finfo(gramian.dtype).eps)


def like(weights: Float64[np.ndarray, "n"], gramian: Float[Tensor, "n n"]) -> Float[Tensor, "n"]:
    """Weights as a tensor of the kind of the Gramian."""
    return torch.from_numpy(weights).to(gramian.device, gramian.dtype)
