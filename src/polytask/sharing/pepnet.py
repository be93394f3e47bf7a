"""PEPNet: Parameter and Embedding Personalized Network (Chang et al., KDD 2023)."""

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
from polytask.stack import Activation, Init, Norm, Stack, bound_of


class GateUnit(nn.Module):
    """Factors around 1 for the units of a layer: ``2 sigmoid(W' relu(W [p; o] + b) + b')``, ``W'`` of each task's own.

    Args:
        tasks: How many have factors of their own, T.
        in_features: Width of the prior features and of the copy of what is gated.
        hidden: Width of the hidden layer, which all share.
        out_features: Units, U.

    Shape:
        ``[B, in] -> [T, B, U]``
    """

    owner: Int[Tensor, "columns"]

    def __init__(self, tasks: int, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.hidden = Stack(1, in_features, hidden)
        self.out = Stack(tasks, hidden, out_features, bound=bound_of("xavier", hidden, out_features))
        self.register_buffer("owner", torch.arange(tasks).repeat_interleave(out_features), persistent=False)

    def forward(
        self, prior: Float[Tensor, "batch inside"], doors: Doors, *, private: bool
    ) -> Float[Tensor, "tasks batch outside"]:
        """The factors; a door of the cut where they are private to tasks."""
        hidden = self.hidden(prior.unsqueeze(0))[0].relu()
        weight, bias = self.out.weight.flatten(0, 1), self.out.bias.flatten()
        logits, _ = doors.read(hidden, weight, bias, None, self.owner if private else None, None)
        return 2.0 * logits.view(-1, *self.out.bias.shape).transpose(0, 1).sigmoid()


class PersonalTowers(Sharing):
    """One network per task on a gated input, with a gate after every layer.

    The cut is the gated input as the networks read it, and the gates' hidden layers.

    Args:
        networks: One entry per task.
        prior: What makes the gates.
        hidden: Width of the gates' hidden layers.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    owner: Int[Tensor, "columns"]

    def __init__(self, networks: Experts, prior: Prior, *, hidden: int) -> None:
        super().__init__()
        self.tasks, self.in_features, self.out_features = networks.experts, networks.in_features, networks.out_features
        self.networks, self.prior = networks, prior
        width, part = networks.in_features, prior.out_features
        self.input_gate = GateUnit(1, part if prior.index is None else part + width, hidden, width)
        units = [layer.bias.shape[1] for layer in (networks.first, *networks.upper)]
        self.layer_gates = nn.ModuleList(GateUnit(self.tasks, part + width, hidden, count) for count in units)
        self.register_buffer("owner", torch.arange(self.tasks).repeat_interleave(units[0]), persistent=False)

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """The networks, and the last layers of the gates."""
        every = torch.arange(self.tasks)
        own = [self.networks, *(unit.out for unit in self.units)]
        return [(parameter, every) for module in own for parameter in module.parameters()]

    @property
    def units(self) -> list[GateUnit]:
        """The gates after the networks' layers."""
        return list(self.layer_gates)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, and the cut below it."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        prior, networks = self.prior(x), self.networks
        known = x if self.prior.index is None else torch.cat([prior, x.detach()], 1)
        x = x * self.input_gate(known, doors, private=False)[0]
        known = torch.cat([prior, x.detach()], 1)
        first = networks.first
        z, _ = doors.read(x, first.weight.flatten(0, 1), first.bias.flatten(), None, self.owner, None)
        rows = networks.finishes[0](z.view(-1, *first.bias.shape).transpose(0, 1))
        rows = rows * self.units[0](known, doors, private=True)
        for layer, finish, unit in zip(networks.upper, networks.finishes[1:], self.units[1:], strict=True):
            rows = finish(layer(rows)) * unit(known, doors, private=True)
        doors.value = rows if doors.open else None
        return Representation(rows, doors, {})


def pepnet(
    tasks: int,
    in_features: int,
    *,
    columns: Sequence[str] = (),
    slices: Mapping[str, slice] | None = None,
    hidden: int = 32,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One network per task on one input; who is asking scales the units of the input and of every layer.

    ``o = x * u([p; sg(x)])`` (EPNet), ``h_{t,l} = f_{t,l}(h_{t,l-1}) * u_{t,l}([p; sg(o)])`` with ``h_{t,0} = o``
    (PPNet), ``r_t = h_{t,L}``; ``u(v) = 2 sigmoid(W' relu(W v + b) + b')``. ``p`` is the part of ``x`` that tells
    people, groups or domains apart, and ``sg`` stops the gradient: gates read the input and do not train it, but for
    ``p``. The hidden layer of a gate is common to the tasks, its output is a task's own.

    Paper: Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
    Information", KDD 2023, https://arxiv.org/abs/2302.01115. The paper gives the input gate the domain and the layers'
    gates user, item and author; here both read the same columns. It leaves the hidden width open, and whether the last
    layer is gated: here it is.

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        columns: Columns whose part of the input is ``p``; default: the whole input, then ``u`` reads ``x`` itself for
            ``[p; sg(x)]``.
        slices: Which part of the input every column makes; `polytask.model` fills it in.
        hidden: Width of the gates' hidden layers.
        widths: Layer widths of every network; the last is H.
        activation: After every layer of a network.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices of the networks start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a column makes no part of the input, or a number or a name is out of range.

    Example:
        >>> sharing = pepnet(2, 20, columns=["user"], slices={"user": slice(0, 8)}, widths=(16, 8))
        >>> sharing(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 8])
    """
    raise_errors(in_range(hidden, least=1, where="hidden"))
    networks = Experts(tasks, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    return PersonalTowers(networks, Prior(columns, slices, in_features), hidden=hidden)
