"""Tensor factorisation: the tasks' weights are one tensor of low rank (Yang & Hospedales, ICLR 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.errors import Problem, UserError
from polytask.sharing.doors import Doors
from polytask.sharing.representation import Representation, Sharing
from polytask.stack import Activation, Finish, Init, Norm, bound_of, check_mlp


class FactorisedLayer(nn.Module):
    """The weight matrices of one linear layer for all tasks, ``W_t = sum_c U3[t, c] B_c`` with ``B_c = U2 S_c U1'``.

    Every basis matrix ``B_c`` starts with the variance that ``init`` means for a matrix of its own, and the rows of
    ``U3`` start with norm 1, so that every ``W_t`` has it too: factors that start as if each were a matrix of its own
    give products that are far too small or too large, and do not train.

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, m.
        out_features: Width of the layer, n.
        ranks: ``r1``, ``r2`` and ``r3``, none longer than its axis.
        init: How large the weights start.

    Shape:
        Parameters ``core [r3, r2, r1]`` (``S``), ``inside [m, r1]`` (``U1``), ``outside [n, r2]`` (``U2``),
        ``mixing [T, r3]`` (``U3``), ``bias [T, n]``.
    """

    owner: Int[Tensor, "tasks r3"] | None

    def __init__(self, tasks: int, in_features: int, out_features: int, ranks: Sequence[int], *, init: Init) -> None:
        super().__init__()
        r1, r2, r3 = (min(rank, size) for rank, size in zip(ranks, (in_features, out_features, tasks), strict=True))
        self.core = nn.Parameter(torch.empty(r3, r2, r1))
        self.inside = nn.Parameter(torch.empty(in_features, r1))
        self.outside = nn.Parameter(torch.empty(out_features, r2))
        self.mixing = nn.Parameter(torch.empty(tasks, r3))
        self.bias = nn.Parameter(torch.zeros(tasks, out_features))
        # one task alone shares nothing; else task t reads the whole basis through row t
        owner = torch.arange(tasks).unsqueeze(1).expand(tasks, r3).contiguous() if tasks > 1 else None
        self.register_buffer("owner", owner, persistent=False)
        for factor in (self.inside, self.outside, self.mixing):
            nn.init.orthogonal_(factor)
        with torch.no_grad():
            self.mixing.div_(self.mixing.norm(dim=1, keepdim=True))
        size, rank = in_features * out_features, max(r1 * r2, 1)
        nn.init.normal_(self.core, std=bound_of(init, in_features, out_features) * math.sqrt(size / rank / 3.0))

    def weights(self, doors: Doors) -> Float[Tensor, "tasks outside inside"]:
        """Every task's matrix; the basis is what the tasks share, and where their gradients are compared."""
        basis = self.outside @ (self.core @ self.inside.t())
        rows = doors.mix(self.mixing.unsqueeze(0), basis.flatten(1).unsqueeze(1), self.owner)
        return rows.view(-1, *basis.shape[1:])


class TensorFactorisation(Sharing):
    """One network per task whose weights are factorised layer by layer.

    Args:
        layers: From the input upwards.
        finishes: What follows each of them, with one entry per task.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    column_owner: Int[Tensor, "columns"]

    def __init__(self, layers: Sequence[FactorisedLayer], finishes: Sequence[Finish]) -> None:
        super().__init__()
        self.tasks, width = layers[0].bias.shape
        self.in_features, self.out_features = len(layers[0].inside), len(layers[-1].outside)
        self.layers, self.finishes = nn.ModuleList(layers), nn.ModuleList(finishes)
        self.register_buffer("column_owner", torch.arange(self.tasks).repeat_interleave(width), persistent=False)

    @property
    def steps(self) -> list[tuple[FactorisedLayer, nn.Module]]:
        """Every layer and what follows it, from the input upwards."""
        return list(zip(self.layers, self.finishes, strict=True))  # type: ignore[arg-type]

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """The rows of ``U3``, the biases and the normalisations."""
        every = torch.arange(self.tasks)
        own: list[nn.Parameter] = []
        for layer, finish in self.steps:
            own += [layer.mixing, layer.bias, *finish.parameters()]
        return [(parameter, every) for parameter in own]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, and the cut: the bases of all layers, and the input."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        rows = x
        for number, (layer, finish) in enumerate(self.steps):
            weights, bias = layer.weights(doors), layer.bias
            if number == 0:
                z, _ = doors.read(x, weights.flatten(0, 1), bias.flatten(), None, self.column_owner, None)
                rows = finish(z.view(-1, *bias.shape).transpose(0, 1))
            else:
                rows = finish(torch.baddbmm(bias.unsqueeze(1), rows, weights.mT))
        doors.value = rows if doors.open else None
        return Representation(rows, doors, {})


def tensor_factorisation(
    tasks: int,
    in_features: int,
    *,
    ranks: Sequence[int] | Sequence[Sequence[int]] = (32, 32, 4),
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One network per task, and the tasks' matrices of every layer form one tensor of low rank (Tucker).

    ``W_t[i, j] = sum_{a,b,c} S[a, b, c] U1[i, a] U2[j, b] U3[t, c]``: the core ``S [r1, r2, r3]`` and the factors
    ``U1 [m, r1]`` and ``U2 [n, r2]`` are shared, row ``t`` of ``U3 [T, r3]`` and the biases are the task's own. So
    ``W_t`` mixes ``r3`` basis matrices, and ``r3 < T`` forces the tasks to share. With ``r1 = m``, ``r2 = n``,
    ``r3 = T`` every set of networks can be written so.

    All starts at random, with orthonormal ``U1`` and ``U2`` and a core that gives every ``W_t`` the variance of
    ``init``; a start from decomposed single-task networks is not offered.

    Paper: Yang and Hospedales, "Deep Multi-task Representation Learning: A Tensor Factorisation Approach", ICLR 2017,
    https://arxiv.org/abs/1605.06391

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        ranks: The largest ``r1``, ``r2`` and ``r3``, for all layers or one such list per layer. A rank is never larger
            than the axis that it stands for: the layer's input, its output, the tasks.
        widths: Layer widths of every network; the last is H.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How large the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> tensor_factorisation(3, 20, ranks=(8, 8, 2), widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 8])
    """
    check_mlp(widths, activation=activation, norm=norm, dropout=dropout, init=init)
    if tasks < 1:
        raise UserError(Problem("tasks", f"{tasks} given", "at least one task is needed"))
    sizes = [in_features, *widths]
    layers = [
        FactorisedLayer(tasks, inside, outside, own, init=init)
        for inside, outside, own in zip(sizes, widths, _per_layer(ranks, len(widths)), strict=False)
    ]
    finishes = [Finish(tasks, width, activation=activation, norm=norm, dropout=dropout) for width in widths]
    return TensorFactorisation(layers, finishes)


def _per_layer(ranks: Sequence[int] | Sequence[Sequence[int]], layers: int) -> list[Sequence[int]]:
    """Three ranks for every layer."""
    single = [rank for rank in ranks if isinstance(rank, int)]
    listed = [rank for rank in ranks if not isinstance(rank, int)]
    found: list[Sequence[int]] = listed or [single] * layers
    wrong = (bool(single) and bool(listed)) or len(found) != layers
    if wrong or any(len(own) != 3 or min(own) < 1 for own in found):
        remedy = f"give three positive numbers (r1, r2, r3), or one such list for each of the {layers} layers"
        raise UserError(Problem("ranks", f"{ranks} given", remedy))
    return found
