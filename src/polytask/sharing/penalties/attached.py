"""A penalty joined to the model whose parameters it reads."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.errors import Problem, UserError, raise_errors
from polytask.sharing.penalties.base import Penalty
from polytask.sharing.representation import Representation, Sharing
from polytask.stack import matrices


class TaskPenalty(nn.Module):
    """A penalty, and where in a model its parameters are: entry by entry, from `Sharing.parameter_owners`.

    It holds no parameter itself; the modules are given again at every call.

    Args:
        penalty: What to compute.
        sharing: The architecture.
        towers: What stands above it, with the task axis in front of all its parameters; read where the penalty says so.

    Raises:
        UserError: If no parameter belongs to single tasks, or if the tasks own different numbers of entries.
    """

    def __init__(self, penalty: Penalty, sharing: Sharing, towers: nn.Module | None = None) -> None:
        super().__init__()
        self.penalty, self.tasks = penalty, sharing.tasks
        parts: list[tuple[nn.Module, list[tuple[nn.Parameter, Tensor]]]] = [(sharing, sharing.parameter_owners())]
        if penalty.towers and towers is not None:
            every = torch.arange(sharing.tasks)
            parts.append((towers, [(parameter, every) for parameter in towers.parameters()]))
        self._names: list[tuple[int, str]] = []
        problems = []
        for number, (part, owned) in enumerate(parts):
            names = {id(parameter): name for name, parameter in part.named_parameters()}
            kept = {id(one) for one in (matrices(part) if penalty.matrices_only else part.parameters())}
            for parameter, owner in owned:
                if id(parameter) not in kept or not bool((owner >= 0).any()):
                    continue
                counts = torch.bincount(owner[owner >= 0], minlength=self.tasks)
                if bool((counts != counts[0]).any()):
                    problems.append(_uneven(names[id(parameter)], counts.tolist()))
                    continue
                index = owner.argsort(stable=True)[-int(counts.sum()) :]  # those that nobody owns (-1) come first
                as_is = torch.equal(index, torch.arange(len(owner)))
                self.register_buffer(f"index{len(self._names)}", None if as_is else index, persistent=False)
                self._names.append((number, names[id(parameter)]))
        raise_errors(problems)
        if not self._names:
            remedy = "choose one that has (single_task, tensor_factorisation, customized, mmoe, cgc, ple), "
            remedy += "or set penalty.towers = true and towers of at least one layer"
            what = "no parameter that the penalty is for belongs to single tasks in this architecture"
            raise UserError(Problem("penalty", what, remedy))

    def stacks(self, sharing: Sharing, towers: nn.Module | None = None) -> list[Float[Tensor, "tasks *shape"]]:
        """What each task owns of every parameter, ``[T, entries, ...]``."""
        held = [dict(part.named_parameters()) for part in (sharing, towers) if part is not None]
        found = []
        for number, (part, name) in enumerate(self._names):
            index: Int[Tensor, "owned"] | None = getattr(self, f"index{number}")
            values: Tensor = held[part][name]
            values = values if index is None else values.index_select(0, index)
            found.append(values.view(self.tasks, -1, *values.shape[1:]))
        return found

    def forward(
        self, representation: Representation, sharing: Sharing, towers: nn.Module | None = None
    ) -> Representation:
        """The same representation with the penalty added to its own."""
        with torch.autocast(representation.value.device.type, enabled=False):
            value = self.penalty(self.stacks(sharing, towers))
        total = value if representation.penalty is None else representation.penalty + value
        return dataclasses.replace(representation, penalty=total)


class Penalised(Sharing):
    """An architecture with a penalty of its own on what the tasks own of it, added in training.

    Args:
        inner: The architecture.
        penalty: What to add.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    def __init__(self, inner: Sharing, penalty: Penalty) -> None:
        super().__init__()
        self.tasks, self.in_features, self.out_features = inner.tasks, inner.in_features, inner.out_features
        self.inner, self.penalty = inner, TaskPenalty(penalty, inner)

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """Those of the architecture."""
        return self.inner.parameter_owners()

    def learning_rates(self) -> list[tuple[nn.Parameter, float]]:
        """Those of the architecture."""
        return self.inner.learning_rates()

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """What the architecture gives; in training with the penalty."""
        representation: Representation = self.inner(x)
        return self.penalty(representation, self.inner) if self.training else representation


def _uneven(name: str, counts: list[int]) -> Problem:
    what = f"the tasks own {', '.join(map(str, counts))} entries of '{name}', which cannot be compared one by one"
    return Problem("penalty", what, "choose an architecture that gives all tasks the same, as single_task or cgc")
