"""Losses of predictions (probabilities or values, not logits), one per row, for evaluation and model selection.

All take ``predictions`` as the task's ``predict`` gives them and ``labels: [rows]``, and give float64 ``[rows]``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

RowLoss = Callable[[Tensor, Tensor], Tensor]

SMALLEST_PROBABILITY = 1e-15


def clamped(probabilities: Tensor) -> Tensor:
    """Probabilities in float64, kept inside (0, 1) so that logarithms stay finite.

    Near 0 a float32 probability keeps its relative precision, hence the low bound 1e-15; near 1 it is rounded, and a
    stored 1.0 stands for anything above ``1 - eps / 4``, hence that bound.

    Example:
        >>> clamped(torch.tensor([0.0, 1e-9, 1.0])).log().isfinite().all().item()
        True
    """
    precision = max(torch.finfo(probabilities.dtype).eps / 4, 2.0**-53)  # the latter is the last step below 1.0
    return probabilities.double().clamp(SMALLEST_PROBABILITY, 1 - precision)


def binary_log_loss(predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """``-y log p - (1 - y) log(1 - p)``, in nats.

    Example:
        >>> binary_log_loss(torch.tensor([0.5, 0.25]), torch.tensor([1.0, 0.0])).tolist()  # log 2, log 4/3
        [0.6931471805599453, 0.2876820724517809]
    """
    p, y = clamped(predictions), labels.double()
    return -(y * p.log() + (1 - y) * torch.log1p(-p))


def class_log_loss(predictions: Float[Tensor, "rows classes"], labels: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """``-log p[label]``, in nats."""
    own = predictions.gather(1, labels.long().unsqueeze(1)).squeeze(1)
    return -own.double().clamp_min(SMALLEST_PROBABILITY).log()


def squared_error(predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """``(y - p)^2``, in the label's unit squared."""
    return (labels.double() - predictions.double()).square()


def squared_log_error(predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """``(log(1 + y) - log(1 + p))^2``, for values that are not negative."""
    return (labels.double().log1p() - predictions.double().log1p()).square()


def absolute_error(predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """``|y - p|``, in the label's unit."""
    return (labels.double() - predictions.double()).abs()


def poisson_deviance(predictions: Float[Tensor, "rows"], labels: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """``2 (y log(y / p) - y + p)`` for predicted means p > 0 and counts y >= 0.

    Example:
        >>> poisson_deviance(torch.tensor([2.0, 1.0]), torch.tensor([2.0, 0.0])).tolist()
        [0.0, 2.0]
    """
    mean, y = predictions.double().clamp_min(SMALLEST_PROBABILITY), labels.double()
    return 2 * (torch.xlogy(y, y / mean) - y + mean)


def pinball(quantile: float) -> RowLoss:
    """The loss whose best constant is the given quantile: ``max(q (y - p), (q - 1) (y - p))``.

    Example:
        >>> pinball(0.9)(torch.tensor([0.0, 0.0]), torch.tensor([1.0, -1.0])).tolist()
        [0.9, 0.09999999999999998]
    """

    def rows(predictions: Tensor, labels: Tensor) -> Tensor:
        error = labels.double() - predictions.double()
        return torch.maximum(quantile * error, (quantile - 1) * error)

    return rows
