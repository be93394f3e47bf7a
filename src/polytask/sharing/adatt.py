"""AdaTT: Adaptive Task-to-Task Fusion (Li et al., KDD 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.errors import raise_errors
from polytask.options import in_range
from polytask.sharing.experts import Experts
from polytask.sharing.gated import Gated, Level
from polytask.sharing.gates import Gate, Softmax
from polytask.sharing.own_and_shared import own_and_shared
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm


class OwnResidual(nn.Module):
    """Weights of a row's own experts that no gate decides: learned, or 1 where every row has one expert.

    Args:
        own: Which experts are the row's own.

    Shape:
        Nothing to ``[R, E]``; parameter ``weight [R, E]``, 0 and without effect at the experts of others.

    Example:
        >>> OwnResidual(torch.eye(2).bool())().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    own: Float[Tensor, "rows experts"]

    def __init__(self, own: Bool[Tensor, "rows experts"]) -> None:
        super().__init__()
        self.register_buffer("own", own.float(), persistent=False)
        self.weight: nn.Parameter | None = None
        counts = own.sum(1, keepdim=True)
        if bool((counts > 1).any()):
            start = (2.0 * torch.rand(own.shape) - 1.0) * counts.clamp(min=1).rsqrt()
            self.weight = nn.Parameter(start * own)

    def forward(self) -> Float[Tensor, "rows experts"]:
        """The weights, 0 at the experts of others."""
        return self.own if self.weight is None else self.weight * self.own


def adatt(
    tasks: int,
    in_features: int,
    *,
    levels: int = 2,
    experts: int = 2,
    shared_experts: int = 0,
    widths: Sequence[int] = (64,),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
    gate: Gate = Softmax(),
) -> Sharing:
    """Every task mixes the experts of all tasks and adds a linear combination of its own experts.

    ``f_{t,l} = G_{t,l}(f_{t,l-1})' E_l + v_{t,l}' E_{t,l}``: ``E_l`` are the experts of all tasks at level ``l``, which
    read the states of their tasks, ``E_{t,l}`` those of task ``t``; the softmax gate reads the task's state, and the
    residual ``v`` is learned, every level has its own, and nothing constrains it. All states start as ``x``. Shared
    experts, if any, form one more unit with a state of its own, as a task is one; the last level needs no shared
    state. If every unit has one expert, ``v`` is 1.

    Paper: Li et al., "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations", KDD 2023,
    https://arxiv.org/abs/2304.04959 (the authors' code has gates with a bias: ``gate = { bias = true }``; ``v`` starts
    as there, uniform in ``±1 / sqrt(experts)``). The reported gates are softmax weights plus ``v``.

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        levels: Number of levels.
        experts: Experts of every task's own, per level.
        shared_experts: Shared experts per level.
        widths: Layer widths of every expert, the same at every level; the last is H.
        activation: After every layer of an expert.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.
        gate: Kind and options of the gates.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> adatt(2, 20, experts=1, widths=(8,))(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    problems = in_range(levels, least=1, where="levels") + in_range(experts, least=1, where="experts")
    raise_errors(problems + in_range(shared_experts, least=0, where="shared_experts"))
    parts = []
    width = in_features
    for number in range(1, levels + 1):
        shared_row = shared_experts > 0 and number < levels
        own = own_and_shared(tasks, experts, shared_experts)
        own[:, tasks * experts :] = False
        if shared_row:
            own = torch.cat([own, ~own.any(0, keepdim=True)])
        visible = torch.ones_like(own)
        bank = Experts(own.shape[1], width, widths, activation=activation, norm=norm, dropout=dropout, init=init)
        gates = gate.build(visible, width)
        gates.residual = OwnResidual(own)
        units = tuple(task for task in range(tasks) for _ in range(experts)) + (tasks,) * shared_experts
        rows = tuple(range(len(own)))
        if number == 1:
            units, rows = (0,) * len(units), (0,) * len(rows)
        parts.append(Level(bank, gates, Wiring(visible, units, rows)))
        width = widths[-1]
    return Gated(parts, range(tasks))
