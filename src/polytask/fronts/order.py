"""A penalty for fronts whose order is wrong: more weight on a task must not mean more loss for it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def order_penalty(
    losses: Float[Tensor, "window tasks"], preferences: Float[Tensor, "window tasks"]
) -> Float[Tensor, ""]:
    """``sum_t log mean_k exp(max(L_t(p_k) - L_t(p_(k+1)), 0))``, preferences in falling order of ``p_t``.

    0 where every task's loss falls as its preference rises, and of a single preference.

    Paper: the multi-forward regularisation of Dimitriadis et al., ICML 2023, over neighbours in that order, as in the
    authors' code; their code takes the difference with the other sign.

    Example:
        >>> rays = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
        >>> order_penalty(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), rays).item()
        0.0
        >>> order_penalty(torch.tensor([[2.0, 1.0], [1.0, 1.0]]), rays).item()
        1.0
    """
    if len(losses) < 2:
        return losses.new_zeros(())
    order = preferences.argsort(dim=0, descending=True)
    along = losses.gather(0, order)
    wrong = (along[:-1] - along[1:]).relu()
    return (torch.logsumexp(wrong, 0) - math.log(len(wrong))).sum()
