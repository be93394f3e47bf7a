"""POSO: Personalized Cold Start Modules (Dai et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.errors import raise_errors
from polytask.options import in_range
from polytask.sharing.doors import Doors
from polytask.sharing.experts import Experts
from polytask.sharing.prior import Prior
from polytask.sharing.representation import Representation, Sharing
from polytask.stack import Activation, Init, Norm, Stack


class PersonalMixture(Sharing):
    """Shared modules under sigmoid gates that read prior features.

    The cut is the modules' outputs, and the prior features as the tasks' gates read them.

    Args:
        tasks: Number of tasks, T.
        experts: The modules.
        prior: What the gates read.
        scale: Factor of the sum, C.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    owner: Int[Tensor, "columns"]

    def __init__(self, tasks: int, experts: Experts, prior: Prior, *, scale: float) -> None:
        super().__init__()
        self.tasks, self.in_features, self.out_features = tasks, experts.in_features, experts.out_features
        self.experts, self.prior, self.scale = experts, prior, scale
        self.gates = Stack(tasks, prior.out_features, experts.experts, bound=max(prior.out_features, 1) ** -0.5)
        owner = torch.arange(tasks).unsqueeze(1).repeat(1, experts.experts)
        self.register_buffer("owner", owner, persistent=False)

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """The gates."""
        return [(parameter, torch.arange(self.tasks)) for parameter in self.gates.parameters()]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, the cut below it, and the gates' weights."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        gate = self.gates
        values, _ = doors.read_experts(x, self.experts, None, None, None)
        rows = gate.weight.flatten(0, 1), gate.bias.flatten()
        logits, _ = doors.read(self.prior(x), *rows, None, self.owner.flatten(), None)
        weights = logits.view(-1, *self.owner.shape).sigmoid()
        value = doors.mix(self.scale * weights, values, self.owner)
        doors.value = value if doors.open else None
        return Representation(value, doors, {"level1": weights.detach()})


def poso(
    tasks: int,
    in_features: int,
    *,
    experts: int = 4,
    columns: Sequence[str] = (),
    slices: Mapping[str, slice] | None = None,
    scale: float | None = None,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """Modules that every task opens and shuts by who is asking: ``r_t = C sum_e sigmoid(W_t p + b_t)_e f_e(x)``.

    ``p`` is the part of ``x`` that tells people or groups apart (new or known user, tab, country). The gates are not
    normalised: all modules may be open at once, and weak columns are not drowned by the rest of the input.

    Paper: Dai et al., "POSO: Personalized Cold Start Modules for Large-scale Recommender Systems", 2021,
    https://arxiv.org/abs/2108.04690. The paper personalises one module of a network at a time and has one gate for it;
    here every task has gates of its own, as in its multi-gate form, and the modules are whole experts. It leaves the
    depth of the gates open: here they are linear.

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        experts: Number of modules.
        columns: Columns whose part of the input the gates read; default: the whole input.
        slices: Which part of the input every column makes; `polytask.model` fills it in.
        scale: Factor of the sum, C; default: 2 / experts, which gives gates that are half open the sum 1.
        widths: Layer widths of every module; the last is H.
        activation: After every layer of a module.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a column makes no part of the input, or a number or a name is out of range.

    Example:
        >>> sharing = poso(2, 20, columns=["user"], slices={"user": slice(0, 8)}, widths=(16, 8))
        >>> sharing(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    raise_errors([] if scale is None else in_range(scale, above=0, where="scale"))
    bank = Experts(experts, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    factor = 2.0 / experts if scale is None else scale
    return PersonalMixture(tasks, bank, Prior(columns, slices, in_features), scale=factor)
