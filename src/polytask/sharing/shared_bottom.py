"""Shared-Bottom: hard parameter sharing (Caruana, 1997)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def shared_bottom(
    tasks: int,
    in_features: int,
    *,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One network whose output all tasks read: ``r_t = f(x)``.

    Paper: Caruana, "Multitask Learning", Machine Learning 28, 1997, https://doi.org/10.1023/A:1007379606734

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        widths: Layer widths of the shared network; the last is H.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]`` with equal rows.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> shared_bottom(3, 20, widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 8])
    """
    bank = Experts(1, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    visible = torch.ones(1, 1, dtype=torch.bool)
    return Gated([Level(bank, None, Wiring(visible, (0,), ()))], (0,) * tasks)
