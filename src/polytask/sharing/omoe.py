"""OMoE: One-gate Mixture-of-Experts, the baseline of Ma et al. (KDD 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.gates import Gate, Softmax
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def omoe(
    tasks: int,
    in_features: int,
    *,
    experts: int = 8,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
    gate: Gate = Softmax(),
) -> Sharing:
    """All tasks share all experts and one gate: ``r_t = sum_e softmax(W x)_e f_e(x)``, the same for every task.

    The gate is shared, hence balanced with the experts: the cut is the representation itself.

    Paper: Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018,
    https://doi.org/10.1145/3219819.3220007

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        experts: Number of experts, E.
        widths: Layer widths of every expert; the last is H.
        activation: After every layer of an expert.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.
        gate: Kind and options of the gates; the paper has softmax without bias.

    Returns:
        A map ``[B, D] -> [T, B, H]`` with equal rows.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> omoe(2, 20, experts=4, widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    bank = Experts(experts, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    visible = torch.ones(1, experts, dtype=torch.bool)
    gates = gate.build(visible, in_features)
    return Gated([Level(bank, gates, Wiring(visible, (0,) * experts, (0,)))], (0,) * tasks)
