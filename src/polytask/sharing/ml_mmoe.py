"""ML-MMoE: mixture-of-experts layers stacked (Tang et al., RecSys 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from polytask.errors import Problem, UserError
from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.gates import Gate, Softmax
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def ml_mmoe(
    tasks: int,
    in_features: int,
    *,
    experts: Sequence[int] = (8, 4),
    widths: Sequence[int] | Sequence[Sequence[int]] = (64,),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
    gate: Gate = Softmax(),
) -> Sharing:
    """Stacked MMoE layers: every expert of a level reads its own mixture of the experts below.

    ``h_{e,j} = f_{e,j}(sum_i g_{e,j}(x)_i h_{i,j-1})``, ``r_t = sum_i g_t(x)_i h_{i,L}``: the experts of level ``j``
    each have a gate over the experts of level ``j - 1``, and the tasks over those of the last one. Every gate reads
    the raw input.

    Paper: Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 4.1 (ML-MMoE),
    https://doi.org/10.1145/3383313.3412236

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        experts: Number of experts of every level, from the input upwards.
        widths: Layer widths of every expert, the same at all levels; or one such list per level. The last is H.
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
        >>> ml_mmoe(2, 20, experts=(4, 3, 2), widths=(8,))(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    if not experts or min(experts) < 1:
        raise UserError(Problem("experts", f"{tuple(experts)} given", "give one positive number per level"))
    layered = [row for row in widths if not isinstance(row, int)]
    per_level: list[Sequence[int]] = layered or [[width for width in widths if isinstance(width, int)]] * len(experts)
    if len(per_level) != len(experts):
        found = f"{len(per_level)} lists given for {len(experts)} levels"
        raise UserError(Problem("widths", found, "give one list of widths per level, or one for all"))
    rows = [*experts[1:], tasks]
    levels = []
    width = in_features
    for number, (count, own, readers) in enumerate(zip(experts, per_level, rows, strict=True)):
        bank = Experts(count, width, own, activation=activation, norm=norm, dropout=dropout, init=init)
        visible = torch.ones(readers, count, dtype=torch.bool)
        streams = (0,) * count if number == 0 else tuple(range(count))
        gates = gate.build(visible, in_features)
        levels.append(Level(bank, gates, Wiring(visible, streams, (0,) * readers if number == 0 else ())))
        width = own[-1]
    return Gated(levels, range(tasks))
