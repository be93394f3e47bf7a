"""PLE: Progressive Layered Extraction (Tang et al., RecSys 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.errors import Problem, UserError
from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.gates import Gate, Softmax
from polytask.sharing.own_and_shared import check_own_and_shared, own_and_shared
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def ple(
    tasks: int,
    in_features: int,
    *,
    levels: int = 2,
    experts: int = 2,
    shared_experts: int = 2,
    widths: Sequence[int] = (64,),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
    gate: Gate = Softmax(),
) -> Sharing:
    """Levels of task-own and shared experts, with a shared state that runs beside the tasks' states.

    At level ``j``, ``g_{t,j} = softmax(W_{t,j} g_{t,j-1}) S_{t,j}``: task ``t`` mixes its own experts, which read its
    state ``g_{t,j-1}``, and the shared experts, which read the shared state ``g_{s,j-1}``. The shared state is mixed
    in the same way from all experts of the level; the last level needs none. All states start as ``x``.

    Paper: Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, https://doi.org/10.1145/3383313.3412236
    (LibMTL's PLE has neither the shared gate nor the shared state; this one follows the paper.)

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        levels: Number of levels; one level is CGC.
        experts: Experts of every task's own, per level.
        shared_experts: Shared experts per level.
        widths: Layer widths of every expert, the same at every level; the last is H.
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
        >>> ple(2, 20, levels=2, widths=(8,))(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    if levels < 1:
        raise UserError(Problem("levels", f"{levels} given", "choose at least one"))
    check_own_and_shared(experts, shared_experts)
    parts = []
    for number in range(1, levels + 1):
        visible = own_and_shared(tasks, experts, shared_experts, shared_row=number < levels)
        width = in_features if number == 1 else widths[-1]
        bank = Experts(visible.shape[1], width, widths, activation=activation, norm=norm, dropout=dropout, init=init)
        gates = gate.build(visible, width)
        own_streams = tuple(task for task in range(tasks) for _ in range(experts))
        expert_streams = own_streams + (tasks,) * shared_experts
        gate_streams = tuple(range(visible.shape[0]))
        if number == 1:
            expert_streams, gate_streams = (0,) * len(expert_streams), (0,) * len(gate_streams)
        parts.append(Level(bank, gates, Wiring(visible, expert_streams, gate_streams)))
    return Gated(parts, range(tasks))
