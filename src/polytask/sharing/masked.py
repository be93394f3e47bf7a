"""The gated layer under a mask of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch

from polytask.errors import Problem, UserError, raise_errors
from polytask.options import one_of
from polytask.sharing.experts import Experts
from polytask.sharing.gated import Fusion, Gated, Level
from polytask.sharing.gates import Gate, Softmax
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


def masked(
    tasks: int,
    in_features: int,
    *,
    visible: Sequence[Sequence[int]] | None = None,
    fusion: Literal["gate"] | Fusion = "gate",
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
    gate: Gate = Softmax(),
) -> Sharing:
    """Experts that tasks see by your own mask: ``r_t = sum_e g_t(x)_e f_e(x)`` over the experts with ``visible[t][e]``.

    Shared-Bottom, MMoE, CGC, asymmetric and customized sharing are special masks.

    Reference: the visibility mask unites Ma et al., KDD 2018, https://doi.org/10.1145/3219819.3220007, and Tang et
    al., RecSys 2020, https://doi.org/10.1145/3383313.3412236

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        visible: One row per task, in the order of the tasks, one column per expert: 1 where the task sees the expert,
            else 0. Default: one expert of each task's own and two that all see.
        fusion: How a task joins the experts that it sees: by its ``gate``, or ``concat``, ``sum`` or ``mean``.
        widths: Layer widths of every expert; the last is H, and with ``concat`` H times the most experts that are seen.
        activation: After every layer of an expert.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.
        gate: Kind and options of the gates.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If the mask does not fit, a task sees no expert or an expert is seen by none, or a number or a name
            is out of range.

    Example:
        >>> masked(2, 20, visible=[[1, 1, 0], [0, 1, 1]], widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    raise_errors(one_of(fusion, ("gate", *get_args(Fusion)), where="fusion"))
    if visible is None:
        visible = [[*(int(own == task) for own in range(tasks)), 1, 1] for task in range(tasks)]
    _check(visible, tasks)
    mask = torch.tensor(visible).bool()
    count = mask.shape[1]
    bank = Experts(count, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    if fusion == "gate":
        wiring = Wiring(mask, (0,) * count, (0,) * tasks)
        return Gated([Level(bank, gate.build(mask, in_features), wiring)], range(tasks))
    return Gated([Level(bank, None, Wiring(mask, (0,) * count, ()), fusion)], range(tasks))


def _check(visible: Sequence[Sequence[int]], tasks: int) -> None:
    remedy = f"give {tasks} rows, one per task, of 0 and 1, one per expert"
    widths = {len(row) for row in visible}
    if len(visible) != tasks or len(widths) != 1:
        found = f"{len(visible)} rows of {' or '.join(map(str, sorted(widths)))} entries given for {tasks} tasks"
        raise UserError(Problem("visible", found, remedy))
    problems = []
    for task, row in enumerate(visible):
        if any(entry not in (0, 1) for entry in row):
            problems.append(Problem(f"visible[{task}]", f"{list(row)} given", remedy))
        elif not any(row):
            problems.append(Problem(f"visible[{task}]", "the task sees no expert", "set at least one entry to 1"))
    unseen = [expert for expert in range(widths.pop()) if not any(row[expert] for row in visible)]
    if unseen:
        problems.append(Problem("visible", f"no task sees the experts {unseen}", "leave their columns out"))
    raise_errors(problems)
