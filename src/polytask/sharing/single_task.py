"""Single-task bottoms: nothing is shared but the input."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def single_task(
    tasks: int,
    in_features: int,
    *,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One network per task: ``r_t = f_t(x)``, the gated layer under the identity mask.

    The tasks still share what makes ``x``. A single-task *baseline* has an encoder of its own as well: train one model
    per task for that.

    Reference: the "Single-Task" rows of Tang et al., RecSys 2020, https://doi.org/10.1145/3383313.3412236

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        widths: Layer widths of every network; the last is H.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> single_task(3, 20, widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 8])
    """
    bank = Experts(tasks, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    visible = torch.eye(tasks, dtype=torch.bool)
    return Gated([Level(bank, None, Wiring(visible, (0,) * tasks, ()))], range(tasks))
