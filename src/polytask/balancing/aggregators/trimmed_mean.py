"""The trimmed mean of the gradients (Yin et al., ICML 2018)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from polytask.balancing.interfaces import Aggregator
from polytask.errors import UserError
from polytask.options import in_range
from polytask.types import Step

ROUNDING = 1e-9
"""A product this far below a whole number is this number: .29 x 100 is less than 29."""


class TrimmedMean(Aggregator):
    """The mean of what is left of each column without its extremes.

    Args:
        share: Of the tasks, dropped at either end.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def forward(self, jacobian: Float[Tensor, "present width"], step: Step, /) -> Float[Tensor, "width"]:
        """The mean over the middle of each sorted column."""
        dropped = int(self._share * len(jacobian) + ROUNDING)
        if dropped == 0:
            return jacobian.mean(0)
        return jacobian.sort(0).values[dropped : len(jacobian) - dropped].mean(0)


def trimmed_mean(*, share: float = 0.25) -> Aggregator:
    """The mean of the gradients without the extremes: at every shared parameter the largest and smallest do not count.

    Element by element, with ``g_(1) <= ... <= g_(T)`` the sorted elements and ``k = floor(share T)``,

        d = (g_(k + 1) + ... + g_(T - k)) / (T - 2 k)

    - ``g_t``: gradient of task t. T: number of tasks that are present.

    One task can move d no further than the others' elements reach, however large its gradient: made for learning from
    many machines of which some send anything, it serves against single tasks whose gradients explode. The price: what
    only few tasks know is dropped as well. Towards .5 it is the median. With ``share T < 1``, as with .25 and up to
    three tasks, it is the mean.

    Paper: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018,
    https://proceedings.mlr.press/v80/yin18a.html (definition 2). TorchJD drops a fixed number; a share also has a
    meaning in steps in which tasks are absent.

    Sum of the weights: 1 for each element.

    Args:
        share: Of the tasks, dropped at the upper end and likewise at the lower; from 0, below .5.

    Raises:
        UserError: If ``share`` is out of range.

    Example:
        >>> import torch
        >>> jacobian = torch.tensor([[1.0, 0.0], [3.0, 9.0], [2.0, 1.0], [90.0, -5.0]])
        >>> trimmed_mean()(jacobian, Step(0, 0, torch.ones(4, dtype=torch.bool), torch.ones(4)))
        tensor([2.5000, 0.5000])
    """
    if problems := in_range(share, where="share", least=0, below=0.5):
        raise UserError(problems)
    return TrimmedMean(share)
