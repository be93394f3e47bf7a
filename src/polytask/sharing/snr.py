"""SNR: Sub-Network Routing (Ma et al., AAAI 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.errors import raise_errors
from polytask.options import in_range, one_of
from polytask.sharing.doors import Doors
from polytask.sharing.experts import Experts
from polytask.sharing.representation import Representation, Sharing
from polytask.stack import Activation, Init, Norm, bound_of

Mode = Literal["trans", "aver"]

BETA, GAMMA, ZETA = 2.0 / 3.0, -0.1, 1.1
"""Temperature and ends of the hard-concrete distribution, as in Louizos et al., ICLR 2018."""


class HardConcrete(nn.Module):
    """Switches between 0 and 1 with a gradient: ``z = clip(s (zeta - gamma) + gamma, 0, 1)``.

    In training ``s = sigmoid((log u - log(1 - u) + log_alpha) / beta)`` with one uniform ``u`` per switch and step, so
    that ``z`` is exactly 0 or 1 now and then; in evaluation ``s = sigmoid(log_alpha)``.

    Args:
        rows: How many read.
        sources: How many are read.
        keep: Value of a switch at the start, in evaluation.

    Shape:
        Nothing to ``[R, S]``; parameter ``log_alpha [R, S]``.

    Example:
        >>> HardConcrete(1, 2, keep=0.5).eval()().tolist()
        [[0.5, 0.5]]
    """

    def __init__(self, rows: int, sources: int, *, keep: float = 0.5) -> None:
        super().__init__()
        s = (keep - GAMMA) / (ZETA - GAMMA)
        self.log_alpha = nn.Parameter(torch.full((rows, sources), math.log(s / (1.0 - s))))

    def forward(self) -> Float[Tensor, "rows sources"]:
        """The switches of this pass."""
        logits: Tensor = self.log_alpha
        if self.training:
            u = torch.rand_like(logits).clamp(torch.finfo(logits.dtype).eps, 1.0 - torch.finfo(logits.dtype).eps)
            logits = (u.logit() + logits) / BETA
        return (logits.sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)

    def expected_l0(self) -> Float[Tensor, ""]:
        """How many switches are expected not to be 0: ``sum sigmoid(log_alpha - beta log(-gamma / zeta))``."""
        return (self.log_alpha - BETA * math.log(-GAMMA / ZETA)).sigmoid().sum()


class Routing(nn.Module):
    """Rows over sub-networks through switches: ``r_k = sum_e z[k, e] W[k, e] v_e``, or without the matrices.

    Args:
        switches: One per row and sub-network.
        width: Of the sub-networks' outputs, H; None: without matrices (SNR-Aver).
        init: How the matrices start.

    Shape:
        ``[E, B, H] -> [R, B, H]``; parameter ``weight [R, E, H, H]`` of SNR-Trans.
    """

    def __init__(self, switches: HardConcrete, width: int | None, *, init: Init) -> None:
        super().__init__()
        self.switches = switches
        self.weight: nn.Parameter | None = None
        if width is not None:
            rows, sources = switches.log_alpha.shape
            bound = bound_of(init, sources * width, width)  # a row adds up its sources
            self.weight = nn.Parameter(torch.empty(rows, sources, width, width))
            nn.init.uniform_(self.weight, -bound, bound)

    def forward(
        self, values: Float[Tensor, "sources batch width"], doors: Doors, owner: Int[Tensor, "rows"] | None
    ) -> tuple[Float[Tensor, "rows batch width"], Float[Tensor, "rows sources"]]:
        """The rows, a door of the cut where ``owner`` says whose they are, and the switches."""
        z = self.switches()
        if self.weight is None:
            return doors.stitch(z.unsqueeze(2), values, owner), z
        rows, _, width, _ = self.weight.shape
        matrix = (z.view(*z.shape, 1, 1) * self.weight).transpose(1, 2).reshape(rows * width, -1)
        side_by_side = values.transpose(0, 1).flatten(1)
        columns = None if owner is None else owner.repeat_interleave(width)
        bias = matrix.new_zeros(rows * width)
        out, _ = doors.read(side_by_side, matrix, bias, None, columns, None)
        return out.view(-1, rows, width).transpose(0, 1), z


class Routed(Sharing):
    """Levels of sub-networks with a routing above each.

    Everything below the last routing is shared; its rows belong to single tasks. The cut is what it reads.

    Args:
        banks: The sub-networks, from the input upwards.
        routings: One above each bank; the last has one row per task, the others one per sub-network above.
        l0: Factor of the expected number of switches that are not 0.
        rate: Learning rate of the switches, as a multiple of that of all else.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    task_index: Int[Tensor, "tasks"]

    def __init__(self, banks: Sequence[Experts], routings: Sequence[Routing], *, l0: float, rate: float) -> None:
        super().__init__()
        self.banks, self.routings = nn.ModuleList(banks), nn.ModuleList(routings)
        self.tasks = len(routings[-1].switches.log_alpha)
        self.in_features, self.out_features = banks[0].in_features, banks[-1].out_features
        self.l0, self.rate = l0, rate
        self.register_buffer("task_index", torch.arange(self.tasks), persistent=False)

    @property
    def levels(self) -> list[tuple[Experts, Routing]]:
        """Sub-networks and the routing above them, from the input upwards."""
        return list(zip(self.banks, self.routings, strict=True))  # type: ignore[arg-type]

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """The rows of the last routing."""
        every = torch.arange(self.tasks)
        return [(parameter, every) for parameter in self.routings[-1].parameters()]

    def learning_rates(self) -> list[tuple[nn.Parameter, float]]:
        """Of the switches: decay would pull them half open."""
        return [(routing.switches.log_alpha, self.rate) for _, routing in self.levels]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, the cut below it, and the switches."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        gates: dict[str, Tensor] = {}
        last = len(self.banks) - 1
        rows = x
        for number, (bank, routing) in enumerate(self.levels):
            values = bank(rows) if number > 0 else doors.read_experts(x, bank, None, None, None)[0]
            rows, switches = routing(values, doors, self.task_index if number == last else None)
            gates[f"level{number + 1}"] = switches.detach().expand(x.shape[0], -1, -1)
        doors.value = rows if doors.open else None
        return Representation(rows, doors, gates, self._penalty() if self.training and self.l0 > 0 else None)

    def _penalty(self) -> Float[Tensor, ""]:
        found = [routing.switches.expected_l0() for _, routing in self.levels]
        return self.l0 * sum(found[1:], found[0])


def snr(
    tasks: int,
    in_features: int,
    *,
    levels: int = 2,
    experts: int = 4,
    mode: Mode = "trans",
    l0: float = 1e-4,
    keep: float = 0.5,
    rate: float = 1.0,
    widths: Sequence[int] = (64,),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """Levels of sub-networks whose connections are switched on and off: which task reads what is learned.

    ``u_k = sum_e z[k, e] W[k, e] v_e`` (``trans``) or ``sum_e z[k, e] v_e`` (``aver``): ``v_e`` are the outputs of the
    sub-networks of a level, ``u_k`` is what sub-network ``k`` of the next level reads, or above the last one task
    ``k``. The switches ``z`` are hard-concrete variables, drawn once per training step and fixed in evaluation; the
    expected number of those that are not 0 is added to the loss, times ``l0``.

    The paper leaves the start of the switches and their learning rate open. It has one matrix per connection, without
    bias, as here.

    Paper: Ma et al., "SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task Learning", AAAI 2019,
    https://doi.org/10.1609/aaai.v33i01.3301216; the switches: Louizos et al., ICLR 2018,
    https://arxiv.org/abs/1712.01312

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        levels: Number of levels of sub-networks.
        experts: Sub-networks per level, E.
        mode: ``trans`` has a matrix per connection, ``aver`` has none.
        l0: Factor of the expected number of open switches.
        keep: Where the switches start, between 0 (shut) and 1 (open).
        rate: Learning rate of the switches, as a multiple of that of all else.
        widths: Layer widths of every sub-network, the same at every level; the last is H.
        activation: After every layer of a sub-network.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> snr(3, 20, experts=4, widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 8])
    """
    problems = in_range(levels, least=1, where="levels") + in_range(keep, above=0, below=1, where="keep")
    problems += in_range(l0, least=0, where="l0") + in_range(rate, above=0, where="rate")
    raise_errors(problems + one_of(mode, get_args(Mode), where="mode"))
    banks, routings = [], []
    width = in_features
    for number in range(1, levels + 1):
        banks.append(Experts(experts, width, widths, activation=activation, norm=norm, dropout=dropout, init=init))
        width = widths[-1]
        switches = HardConcrete(experts if number < levels else tasks, experts, keep=keep)
        routings.append(Routing(switches, width if mode == "trans" else None, init=init))
    return Routed(banks, routings, l0=l0, rate=rate)
