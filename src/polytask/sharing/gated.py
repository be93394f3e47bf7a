"""The one gated layer, and the stack of it: the whole family from Shared-Bottom to PLE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polytask.sharing.doors import Doors
from polytask.sharing.experts import Experts
from polytask.sharing.functions import take
from polytask.sharing.gates.base import Gates
from polytask.sharing.representation import Representation, Sharing
from polytask.sharing.wiring import SHARED, Owners, Wiring, trace_owners

Fusion = Literal["concat", "sum", "mean"]


@dataclass(frozen=True, slots=True)
class Level:
    """The parts of one gated layer.

    Attributes:
        experts: The bank.
        gates: One gate per row; None where rows take what they see by `fusion`.
        wiring: Who reads whom.
        fusion: Without gates, how a row joins the experts that it sees. Rows that see fewer than others are filled
            up with zeros where they are concatenated.
    """

    experts: Experts
    gates: Gates | None
    wiring: Wiring
    fusion: Fusion = "concat"

    @property
    def out_features(self) -> int:
        """Width of every row."""
        if self.gates is not None or self.fusion != "concat":
            return self.experts.out_features
        return self.experts.out_features * int(self.wiring.visible.sum(1).max())


class GatedLayer(nn.Module):
    """Experts, gates, and what each row makes of the experts that it may see.

    ``row_r = sum_e gates_r[e] expert_e``, where ``gates_r`` is 0 for experts that row ``r`` does not see; without
    gates their sum, mean or concatenation.

    Args:
        level: The parts.
        owners: What belongs to one task alone.
        on_input: Whether this is the first layer.

    Shape:
        Input ``[B, D]`` if all read the same, else ``[S, B, D]`` with one entry per stream; output ``[R, B, H]``.
    """

    expert_owner: Int[Tensor, "experts"] | None
    mix_owner: Int[Tensor, "rows experts"] | None
    stream_owner: Int[Tensor, "readers"] | None
    stream_index: Int[Tensor, "readers"]
    taken: Int[Tensor, "rows taken"] | None
    taken_owner: Int[Tensor, "rows taken"] | None
    summed: Bool[Tensor, "rows experts"] | None
    divisors: Int[Tensor, "rows 1"] | None

    def __init__(self, level: Level, owners: Owners, *, on_input: bool = True) -> None:
        super().__init__()
        self.experts, self.gates = level.experts, level.gates
        wiring, visible = level.wiring, level.wiring.visible
        self.out_features = level.out_features
        self._gates_read_input = on_input or not wiring.gate_streams
        rows, experts = (torch.tensor(owner) for owner in (owners.rows, owners.experts))
        shared_reads = visible & (experts == SHARED)
        self._keep("mix_owner", torch.where(shared_reads, rows.unsqueeze(1), SHARED))
        self._keep("expert_owner", experts.repeat_interleave(level.experts.first.bias.shape[1]))
        readers = torch.cat([experts, rows]) if wiring.gate_streams else experts
        self.register_buffer(
            "stream_index", torch.tensor(wiring.expert_streams + wiring.gate_streams), persistent=False
        )
        self.in_order = wiring.gate_streams == tuple(range(len(wiring.gate_streams)))
        from_shared = torch.tensor(owners.streams)[self.stream_index] == SHARED
        self._keep("stream_owner", torch.where(from_shared, readers, SHARED))
        weighs = self.gates is None and level.fusion != "concat"
        counts = visible.sum(1, keepdim=True) if level.fusion == "mean" else visible.new_ones(len(visible), 1)
        self.register_buffer("summed", visible if weighs else None, persistent=False)
        self.register_buffer("divisors", counts if weighs else None, persistent=False)
        taken = taken_by(visible)
        as_is = torch.equal(taken, torch.arange(visible.shape[1]).unsqueeze(1))
        self.register_buffer("taken", None if as_is else taken, persistent=False)
        read_shared = shared_reads.gather(1, taken.clamp(max=visible.shape[1] - 1)) & (taken < visible.shape[1])
        self._keep("taken_owner", torch.where(read_shared, rows.unsqueeze(1), SHARED))
        self.owners = owners

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """Private experts, and the gates of rows that one task alone reads."""
        parts = [(self.experts, self.owners.experts), (self.gates, self.owners.rows)]
        return [
            (parameter, torch.tensor(owner))
            for part, owner in parts
            if part is not None and any(task != SHARED for task in owner)
            for parameter in part.parameters()
        ]

    @property
    def input_gates(self) -> Gates | None:
        """The gates, where they read the input of the whole stack."""
        return self.gates if self._gates_read_input else None

    def gate_owners(self) -> Int[Tensor, "gates"]:
        """The owner of every logit that gates which read the input take from it."""
        gates = self.input_gates
        reads = gates is not None and gates.weight is not None
        return torch.tensor(self.owners.rows).repeat_interleave(gates.computed if gates is not None and reads else 0)

    def _keep(self, name: str, owner: Tensor) -> None:
        """A buffer of owners, or None where nobody owns anything and so nothing is a door."""
        self.register_buffer(name, owner if bool((owner != SHARED).any()) else None, persistent=False)

    def forward(
        self,
        values: Float[Tensor, "experts batch width"],
        logits: Float[Tensor, "batch rows columns"] | None,
        doors: Doors,
    ) -> tuple[Float[Tensor, "rows batch out"], Float[Tensor, "batch rows experts"] | None, Float[Tensor, ""] | None]:
        """From the experts' outputs and the gates' logits: the rows, the gates' weights and their penalty."""
        if self.gates is None or logits is None:
            return self._fused(values, doors), None, None
        weights, penalty = self.gates(logits)
        return doors.mix(weights, values, self.mix_owner), weights, penalty

    def _fused(self, values: Float[Tensor, "experts batch width"], doors: Doors) -> Float[Tensor, "rows batch out"]:
        if self.summed is not None and self.divisors is not None:
            shares = self.summed.to(values.dtype) / self.divisors
            return doors.mix(shares.expand(values.shape[1], -1, -1), values, self.mix_owner)
        if self.taken is None:
            return values
        rows, count = self.taken.shape
        if int(count) > 1:
            values = torch.cat([values, torch.zeros_like(values[:1])])
        owner = None if self.taken_owner is None else self.taken_owner.flatten()
        parts = doors.select(values, self.taken.flatten(), owner)
        if count == 1:
            return parts
        return parts.view(rows, count, *parts.shape[1:]).transpose(1, 2).flatten(2)

    def read_streams(
        self, x: Float[Tensor, "streams batch width"], doors: Doors
    ) -> tuple[Float[Tensor, "experts batch width"], Float[Tensor, "batch rows columns"] | None]:
        """Every expert and gate reads its own stream: what the experts make of it, and the gates' logits."""
        experts = self.experts.experts
        if self.stream_owner is None:
            values = self.experts(x, self.stream_index[:experts])
            asked = x[: len(self.stream_index) - experts] if self.in_order else take(x, self.stream_index[experts:])
        else:
            read = doors.select(x, self.stream_index, self.stream_owner)
            own, asked = torch.split(read, [experts, len(read) - experts])
            values = self.experts(own)
        if self.gates is None or self.input_gates is not None:
            return values, None
        weight = self.gates.read()
        if weight is None:
            return values, x.new_zeros(x.shape[1], self.gates.rows, self.gates.columns)
        return values, torch.bmm(asked, weight.mT).transpose(0, 1)


class Gated(Sharing):
    """A stack of gated layers; the published architectures are builders of it.

    Args:
        levels: From the input upwards. All of the first level reads the input; stream ``s`` of a higher level is
            row ``s`` of the level below. Gates of a higher level read streams as well, or else the input.
        task_rows: Which row of the last level each task reads.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    task_index: Int[Tensor, "tasks"]
    task_owner: Int[Tensor, "tasks"] | None
    input_gate_owner: Int[Tensor, "gates"] | None

    def __init__(self, levels: Sequence[Level], task_rows: Sequence[int]) -> None:
        super().__init__()
        self.tasks = len(task_rows)
        self.in_features, self.out_features = levels[0].experts.in_features, levels[-1].out_features
        wirings = [level.wiring for level in levels]
        streams = [1, *(wiring.visible.shape[0] for wiring in wirings[:-1])]
        owners = trace_owners(wirings, streams, task_rows)
        self.levels = nn.ModuleList(
            GatedLayer(level, owner, on_input=number == 0)
            for number, (level, owner) in enumerate(zip(levels, owners, strict=True))
        )
        rows = owners[-1].rows
        identity = list(task_rows) == list(range(len(rows)))
        owner = [task if rows[row] == SHARED else SHARED for task, row in enumerate(task_rows)]
        self.register_buffer("task_index", None if identity else torch.tensor(task_rows), persistent=False)
        self.register_buffer("task_owner", None if identity else torch.tensor(owner), persistent=False)
        found = [layer.gate_owners() for layer in self.layers if layer.input_gates is not None]
        private = any(bool((one != SHARED).any()) for one in found)
        self.register_buffer("input_gate_owner", torch.cat(found) if private else None, persistent=False)

    @property
    def layers(self) -> list[GatedLayer]:
        """The layers, from the input upwards."""
        return list(self.levels)  # type: ignore[arg-type]

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """What single tasks own in all levels: see `Sharing.parameter_owners`."""
        return [owned for layer in self.layers for owned in layer.parameter_owners()]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, the cut below it, and the gates' weights."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        gates: dict[str, Tensor] = {}
        penalties: list[Tensor] = []
        values, from_input = self._read_input(x, doors)
        rows = x
        for number, layer in enumerate(self.layers):
            logits = from_input[number]
            if number > 0:
                values, from_streams = layer.read_streams(rows, doors)
                logits = from_streams if logits is None else logits
            rows, weights, penalty = layer(values, logits, doors)
            if weights is not None:
                gates[f"level{number + 1}"] = weights.detach()
            if penalty is not None:
                penalties.append(penalty)
        value = rows if self.task_index is None else doors.select(rows, self.task_index, self.task_owner)
        doors.value = value if doors.open else None
        return Representation(value, doors, gates, sum(penalties[1:], penalties[0]) if penalties else None)

    def _read_input(
        self, x: Float[Tensor, "batch width"], doors: Doors
    ) -> tuple[Float[Tensor, "experts batch width"], list[Tensor | None]]:
        """The experts of the first level, and all gates that read the input."""
        reading = [layer.input_gates for layer in self.layers]
        read = [None if gates is None else gates.read() for gates in reading]
        weights = [weight.flatten(0, 1) for weight in read if weight is not None]
        gate = torch.cat(weights) if len(weights) > 1 else weights[0] if weights else None
        owners = self.layers[0].expert_owner, self.input_gate_owner
        values, a = doors.read_experts(x, self.layers[0].experts, gate, *owners)
        columns = iter(torch.split(a, [len(weight) for weight in weights], 1) if weights else ())
        logits: list[Tensor | None] = []
        for gates in reading:
            if gates is None:
                logits.append(None)
            elif gates.weight is None:
                logits.append(x.new_zeros(x.shape[0], gates.rows, gates.columns))
            else:
                logits.append(next(columns).reshape(-1, gates.rows, gates.computed))
        return values, logits


def taken_by(visible: Bool[Tensor, "rows experts"]) -> Int[Tensor, "rows taken"]:
    """The experts that each row sees, in order; rows that see fewer are filled up with the number of experts.

    Example:
        >>> taken_by(torch.tensor([[True, False, True], [False, True, False]])).tolist()
        [[0, 2], [1, 3]]
    """
    count = visible.shape[1]
    order = torch.where(visible, torch.arange(count), count).sort(1).values
    return order[:, : int(visible.sum(1).max())]
