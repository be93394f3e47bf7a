"""Customized sharing: a shared and a private bottom per task, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.sharing.experts import Experts
from polytask.sharing.gated import Fusion, Gated, Level
from polytask.sharing.own_and_shared import own_and_shared
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def customized(
    tasks: int,
    in_features: int,
    *,
    fusion: Fusion = "concat",
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One shared bottom and one of every task's own, concatenated: ``r_t = [f_t(x); f_shared(x)]``.

    Reference: the customized sharing of Tang et al., RecSys 2020, figure 1c, https://doi.org/10.1145/3383313.3412236

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        fusion: ``concat`` as in the paper, ``sum`` or ``mean``.
        widths: Layer widths of every bottom; the last is H, or H / 2 with ``concat``.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> import torch
        >>> customized(3, 20, widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 16])
    """
    visible = own_and_shared(tasks, 1, 1)
    count = visible.shape[1]
    bank = Experts(count, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    return Gated([Level(bank, None, Wiring(visible, (0,) * count, ()), fusion)], range(tasks))
