"""CGC: Customized Gate Control, the one-level form of PLE (Tang et al., RecSys 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.gates import Gate, Softmax
from polytask.sharing.own_and_shared import check_own_and_shared, own_and_shared
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def cgc(
    tasks: int,
    in_features: int,
    *,
    experts: int = 3,
    shared_experts: int = 2,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
    gate: Gate = Softmax(),
) -> Sharing:
    """Every task mixes experts of its own with experts that all share: ``r_t = softmax(W_t x) S_t(x)``.

    ``S_t`` stacks the outputs of the own and of the shared experts; other tasks' experts are invisible to the gate.

    Paper: Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, https://doi.org/10.1145/3383313.3412236

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        experts: Experts of every task's own.
        shared_experts: Experts that all tasks see.
        widths: Layer widths of every expert; the last is H.
        activation: After every layer of an expert.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.
        gate: Kind and options of the gates; the paper has softmax without bias.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> import torch
        >>> cgc(2, 20, widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    check_own_and_shared(experts, shared_experts)
    visible = own_and_shared(tasks, experts, shared_experts)
    count = visible.shape[1]
    bank = Experts(count, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    gates = gate.build(visible, in_features)
    return Gated([Level(bank, gates, Wiring(visible, (0,) * count, (0,) * tasks))], range(tasks))
