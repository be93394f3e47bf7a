"""STEM: Shared and Task-specific EMbeddings (Su et al., AAAI 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.errors import Problem, raise_errors
from polytask.options import in_range
from polytask.sharing.doors import Doors
from polytask.sharing.experts import Experts
from polytask.sharing.gates import Gate, Softmax
from polytask.sharing.gates.base import Gates
from polytask.sharing.own_and_shared import own_and_shared
from polytask.sharing.representation import Representation, Sharing
from polytask.sharing.wiring import SHARED, Owners, Wiring, trace_owners
from polytask.stack import Activation, Init, Norm


class StemLevel(nn.Module):
    """Experts on streams, and rows that mix all of them but train only some.

    Args:
        experts: The bank.
        gates: Of every row, over all experts.
        wiring: Who trains whom (``visible``), and which stream every expert and every gate reads.
        owners: What belongs to one task alone.
        tasks: How many of the rows are those of tasks; the others come after them.
        common: The stream that the gates of tasks read besides.

    Shape:
        ``[S, B, D] -> [R, B, H]``
    """

    sources: Int[Tensor, "readers"]
    source_owner: Int[Tensor, "readers"]
    trains: Float[Tensor, "rows experts"]
    mix_owner: Int[Tensor, "rows experts"]

    def __init__(
        self, experts: Experts, gates: Gates, wiring: Wiring, owners: Owners, *, tasks: int, common: int
    ) -> None:
        super().__init__()
        self.experts, self.gates, self.owners, self.tasks = experts, gates, owners, tasks
        rows, own = torch.tensor(owners.rows), torch.tensor(owners.experts)
        sources = torch.tensor([*wiring.expert_streams, *wiring.gate_streams, *(common for _ in range(tasks))])
        readers = torch.cat([own, rows, rows[:tasks]])
        from_shared = torch.tensor(owners.streams)[sources] == SHARED
        reads_shared = wiring.visible & (own == SHARED)
        self.register_buffer("sources", sources, persistent=False)
        self.register_buffer("source_owner", torch.where(from_shared, readers, SHARED), persistent=False)
        self.register_buffer("trains", wiring.visible.float(), persistent=False)
        self.register_buffer("mix_owner", torch.where(reads_shared, rows.unsqueeze(1), SHARED), persistent=False)

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """Experts that one task trains, and the gates of the tasks."""
        parts = [(self.experts, self.owners.experts), (self.gates, self.owners.rows)]
        return [(parameter, torch.tensor(owner)) for part, owner in parts for parameter in part.parameters()]

    def forward(
        self, streams: Float[Tensor, "streams batch width"], doors: Doors
    ) -> tuple[Float[Tensor, "rows batch out"], Float[Tensor, "batch rows experts"], Float[Tensor, ""] | None]:
        """The rows, the gates' weights and their penalty."""
        read = doors.select(streams, self.sources, self.source_owner)
        rows, tasks = self.gates.rows, self.tasks
        own, alone, last, common = torch.split(read, [self.experts.experts, tasks, rows - tasks, tasks])
        values = self.experts(own)
        asked = torch.cat([alone + common, last])
        if self.gates.weight is None:
            logits = asked.new_zeros(asked.shape[1], rows, self.gates.columns)
        else:
            logits = torch.bmm(asked, self.gates.weight.mT).transpose(0, 1)
        weights, penalty = self.gates(logits)
        trained = doors.mix(weights * self.trains, values, self.mix_owner)
        read_only = torch.bmm(weights * (1.0 - self.trains), values.detach().transpose(0, 1)).transpose(0, 1)
        return trained + read_only, weights, penalty


class Stem(Sharing):
    """Levels that carry one stream per task and a shared one.

    The cut is the streams of the input, the experts that several tasks train, and the shared stream between levels.

    Args:
        levels: From the input upwards.
        streams: How many stand side by side in the input.

    Shape:
        ``[B, S * D] -> [T, B, H]``
    """

    def __init__(self, levels: Sequence[StemLevel], *, tasks: int, streams: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.tasks, self.streams = tasks, streams
        self.in_features, self.out_features = streams * levels[0].experts.in_features, levels[-1].experts.out_features

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """What single tasks own in all levels: see `Sharing.parameter_owners`."""
        levels: list[StemLevel] = list(self.levels)  # type: ignore[arg-type]
        return [owned for level in levels for owned in level.parameter_owners()]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, the cut below it, and the gates' weights."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        gates: dict[str, Tensor] = {}
        penalties: list[Tensor] = []
        rows = x.view(x.shape[0], self.streams, self.in_features // self.streams).transpose(0, 1)
        for number, level in enumerate(self.levels):
            rows, weights, penalty = level(rows, doors)
            gates[f"level{number + 1}"] = weights.detach()
            penalties += [] if penalty is None else [penalty]
        doors.value = rows if doors.open else None
        return Representation(rows, doors, gates, sum(penalties[1:], penalties[0]) if penalties else None)


def stem(
    tasks: int,
    in_features: int,
    *,
    streams: int = 1,
    levels: int = 1,
    experts: int = 1,
    shared_experts: int = 1,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
    gate: Gate = Softmax(),
) -> Sharing:
    """Every task has embeddings of its own beside shared ones, reads all experts and trains its own and the shared.

    ``r_t = sum_e softmax(W_t (x_t + x_s))_e f_e`` over all experts: those of task ``t`` read its embeddings ``x_t``,
    the shared ones ``x_s``, and those of other tasks ``sg(f_e(x_u))``, their own and without a gradient from task
    ``t``. So a task learns from others, and its embeddings are moved by its loss alone. A level that is not the last
    also makes a shared row, which mixes all experts by ``W_s x_s`` and trains all of them.

    With the `table` encoder every id has T + 1 embeddings: memory and traffic of the table grow by that factor. What
    they share stays shared: numeric columns and the encoder's normalisation. Balancing takes the whole input for
    shared, the tasks' embeddings too.

    Paper: Su et al., "STEM: Unleashing the Power of Embeddings for Multi-task Recommendation", AAAI 2024,
    https://arxiv.org/abs/2308.13537. The paper's gates are perceptrons; here they are linear, as everywhere.

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input: that of all streams together.
        streams: Streams that stand side by side in the input: T + 1, those of the tasks and then the shared one, as
            `polytask.model` fills in; 1 if everything reads the same input, which is STEM without its embeddings.
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
        A map ``[B, S * D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range, or the input does not hold as many streams.

    Example:
        >>> stem(2, 60, streams=3, widths=(16, 8))(torch.zeros(5, 60)).value.shape
        torch.Size([2, 5, 8])
    """
    problems = in_range(levels, least=1, where="levels") + in_range(experts, least=1, where="experts")
    problems += in_range(shared_experts, least=1, where="shared_experts")
    if streams not in (1, tasks + 1) or in_features % streams:
        what = f"is {streams} for {tasks} tasks and an input of width {in_features}"
        problems.append(Problem("streams", what, f"give 1, or {tasks + 1} with a width that is a multiple of it"))
    raise_errors(problems)
    wirings = []
    for number in range(1, levels + 1):
        trains = own_and_shared(tasks, experts, shared_experts, shared_row=number < levels)
        read_by = tuple(task for task in range(tasks) for _ in range(experts)) + (tasks,) * shared_experts
        asked = tuple(range(len(trains)))
        if number == 1 and streams == 1:
            read_by, asked = (0,) * len(read_by), (0,) * len(asked)
        wirings.append(Wiring(trains, read_by, asked))
    owners = trace_owners(wirings, [streams, *(tasks + 1 for _ in wirings[1:])], range(tasks))
    built = []
    width = in_features // streams
    for number, (wiring, owner) in enumerate(zip(wirings, owners, strict=True)):
        count = wiring.visible.shape[1]
        bank = Experts(count, width, widths, activation=activation, norm=norm, dropout=dropout, init=init)
        gates = gate.build(torch.ones_like(wiring.visible), width)
        common = 0 if number == 0 and streams == 1 else tasks
        built.append(StemLevel(bank, gates, wiring, owner, tasks=tasks, common=common))
        width = widths[-1]
    return Stem(built, tasks=tasks, streams=streams)
