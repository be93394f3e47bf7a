"""HoME: Hierarchy of Multi-gate Experts (Wang et al., KDD 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polytask.errors import Problem, raise_errors, suggest
from polytask.options import in_range
from polytask.sharing.doors import Doors
from polytask.sharing.experts import Experts
from polytask.sharing.home_level import GroupedExperts, SelfGates
from polytask.sharing.representation import Representation, Sharing
from polytask.sharing.wiring import SHARED, only_reader
from polytask.stack import Activation, Init, Norm

Categories = Mapping[str, Sequence[str]]


class Hierarchy(Sharing):
    """A level of category states and a shared state, and a level of tasks above it.

    The groups of the lower level are the categories and then the shared one, those of the upper level the shared one,
    the categories and the tasks. The cut is made of the lower experts where rows of single tasks read them, the states
    of the lower level as tasks read them, and the upper experts that several tasks read.

    Args:
        category: The category of every task, numbered from 0 without gaps.
        lower: Reads the input.
        upper: Reads the states.
        experts: Experts of a group.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    state_owner: Int[Tensor, "columns"] | None
    lower_mix: Int[Tensor, "states experts"] | None
    readers: Int[Tensor, "readers"]
    reader_owner: Int[Tensor, "readers"] | None
    upper_mix: Int[Tensor, "tasks experts"] | None

    def __init__(self, category: Sequence[int], lower: GroupedExperts, upper: GroupedExperts, experts: int) -> None:
        super().__init__()
        self.tasks, self.categories = len(category), max(category) + 1
        self.in_features, self.out_features = lower.experts.in_features, upper.experts.out_features
        self.lower, self.upper = lower, upper
        tasks, categories = range(self.tasks), self.categories
        width = lower.experts.out_features
        seen = see_own_and_shared(range(categories), categories + 1, shared=categories)
        self.lower_gates = _gates(seen, range(categories + 1), experts, self.in_features)
        seen = see_own_and_shared([1 + categories + task for task in tasks], 1 + categories + self.tasks, shared=0)
        seen[tasks, [1 + number for number in category]] = True
        self.upper_gates = _gates(seen, [1 + categories + task for task in tasks], experts, 2 * width)

        groups = only_reader(seen.shape[1], [(group, row) for row, group in seen.nonzero().tolist()])
        streams = [categories, *range(categories), *category]  # which state each upper group reads
        reads = [*zip(streams, groups, strict=True), *zip(category, tasks, strict=True)]
        states = only_reader(categories + 1, [*reads, *((categories, task) for task in tasks)])
        self.owners = states, groups
        sources = torch.tensor([*streams, *category, *(categories for _ in tasks)])
        self.register_buffer("readers", sources, persistent=False)
        readers = torch.tensor([*groups, *tasks, *tasks])
        state = torch.tensor(states)
        self._keep("reader_owner", torch.where(state[sources] == SHARED, readers, SHARED))
        columns = self.lower_gates.weight.shape[1]
        self._keep("state_owner", state.repeat_interleave(columns))
        self._keep("lower_mix", state.unsqueeze(1).repeat(1, (categories + 1) * experts))
        shared = torch.tensor(groups).repeat_interleave(experts) == SHARED
        visible = self.upper_gates.visible
        self._keep("upper_mix", torch.where(visible & shared, torch.arange(self.tasks).unsqueeze(1), SHARED))

    def _keep(self, name: str, owner: Tensor) -> None:
        """A buffer of owners, or None where nobody owns anything and so nothing is a door."""
        self.register_buffer(name, owner if bool((owner != SHARED).any()) else None, persistent=False)

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """The gates of states that one task alone reads, the tasks' gates, and the upper groups of single tasks."""
        states, groups = (torch.tensor(owner) for owner in self.owners)
        parts: list[tuple[nn.Module, Tensor]] = [
            (self.lower_gates, states),
            (self.upper_gates, torch.arange(self.tasks)),
            (self.upper, groups),
        ]
        return [
            (parameter, owner.repeat_interleave(len(parameter) // len(owner)))
            for part, owner in parts
            for parameter in part.parameters()
        ]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, the cut below it, and the weights of both levels."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        weight = self.lower_gates.weight
        bias = weight.new_zeros(weight.shape[0] * weight.shape[1])
        logits, _ = doors.read(x, weight.flatten(0, 1), bias, None, self.state_owner, None)
        lower = self.lower_gates(logits.view(-1, *weight.shape[:2]))
        values = self.lower(x.expand(self.categories + 1, -1, -1))
        states = doors.mix(lower, values, self.lower_mix)

        read = doors.select(states, self.readers, self.reader_owner)
        groups, own, shared = torch.split(read, [len(self.readers) - 2 * self.tasks, self.tasks, self.tasks])
        logits = torch.bmm(torch.cat([own, shared], 2), self.upper_gates.weight.mT).transpose(0, 1)
        upper = self.upper_gates(logits)
        value = doors.mix(upper, self.upper(groups), self.upper_mix)
        doors.value = value if doors.open else None
        return Representation(value, doors, {"level1": lower.detach(), "level2": upper.detach()})


def see_own_and_shared(own: Sequence[int], groups: int, *, shared: int) -> Bool[Tensor, "rows groups"]:
    """Rows that see a group of their own and the shared one; where the shared one is the last, a row that sees all.

    Example:
        >>> see_own_and_shared([0, 1], 3, shared=2).int().tolist()
        [[1, 0, 1], [0, 1, 1], [1, 1, 1]]
    """
    seen = torch.zeros(len(own), groups, dtype=torch.bool)
    seen[range(len(own)), list(own)] = True
    seen[:, shared] = True
    return torch.cat([seen, torch.ones(1, groups, dtype=torch.bool)]) if shared == groups - 1 else seen


def _gates(seen: Bool[Tensor, "rows groups"], own: Sequence[int], experts: int, in_features: int) -> SelfGates:
    """Gates over the experts of the groups that every row sees, and over those of its own group."""
    first = experts * torch.tensor(list(own)).unsqueeze(1)
    return SelfGates(seen.repeat_interleave(experts, 1), first + torch.arange(experts), in_features)


def home(
    tasks: int,
    in_features: int,
    *,
    categories: Categories | None = None,
    names: Sequence[str] | None = None,
    experts: int = 2,
    loras: int = 2,
    widths: Sequence[int] = (64,),
    activation: Activation = "silu",
    norm: Norm = "batch",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """Tasks in categories: a level that makes a state per category and a shared one, and a level of tasks above it.

    Lower level: ``z_c`` mixes the experts of category ``c`` and the shared ones, ``z_s`` those of all. Upper level:
    ``r_t`` mixes the global experts, which read ``z_s``, the experts of its category and its own, which read ``z_c``;
    its gate reads ``[z_c; z_s]``. An expert is ``silu(norm(W v + b))``. Three devices keep experts alive:

    - batch normalisation gives all experts outputs of one scale (`polytask.stack.StackBatchNorm` says what it costs);
    - feature gates: the experts of a group read ``v * sum_l softmax(C v)_l 2 sigmoid(A_l B_l v)``;
    - self gates: every mixture adds its own experts once more, ``sum_e s(v)_e f_e``, with a softmax over the own
      experts, or a sigmoid if there is one.

    Paper: Wang et al., "HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou", KDD 2025,
    https://arxiv.org/abs/2408.05430. Simplified here: all groups have the same number of experts, with one feature gate
    per group, and the gates read the state itself, not behind a feature gate.

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        categories: Tasks by category, ``{watch = ["click", "long_view"], inter = ["like"]}``; default: one category.
        names: The tasks' names, which `polytask.model` fills in; default: ``"0"``, ``"1"``, ...
        experts: Experts of every group: of every category and the shared one, below and above, and of every task.
        loras: Low-rank maps per feature gate, each of rank width / loras.
        widths: Layer widths of every expert, the same at both levels; the last is H.
        activation: After every layer of an expert.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices of the experts start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a task stands in no category, in two or is unknown, or a number or a name is out of range.

    Example:
        >>> sharing = home(3, 20, names=["click", "view", "like"], categories={"watch": ["click", "view"],
        ...                "inter": ["like"]}, widths=(16, 8))
        >>> sharing(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 8])
    """
    problems = in_range(experts, least=1, where="experts") + in_range(loras, least=1, where="loras")
    raise_errors(problems)
    category = _category_of(categories, names or [str(task) for task in range(tasks)])
    count = max(category) + 1
    levels = []
    for groups, width in ((count + 1, in_features), (1 + count + tasks, widths[-1] if widths else 0)):
        bank = Experts(groups * experts, width, widths, activation=activation, norm=norm, dropout=dropout, init=init)
        levels.append(GroupedExperts(groups, bank, loras))
    return Hierarchy(category, levels[0], levels[1], experts)


def _category_of(categories: Categories | None, names: Sequence[str]) -> list[int]:
    """The number of every task's category."""
    if categories is None:
        return [0] * len(names)
    problems = []
    found: dict[str, list[int]] = {name: [] for name in names}
    for number, (category, members) in enumerate(categories.items()):
        if not members:
            problems.append(Problem(f"categories.{category}", "lists no task", "name its tasks, or leave it out"))
        for name in members:
            if name in found:
                found[name].append(number)
            else:
                where = f"categories.{category}"
                problems.append(Problem(where, f"no task is named '{name}'", suggest(name, names)))
    for name, numbers in found.items():
        if len(numbers) != 1:
            what = f"task '{name}' stands in {len(numbers)} categories"
            problems.append(Problem("categories", what, "let every task stand in one"))
    raise_errors(problems)
    return [numbers[0] for numbers in found.values()]
