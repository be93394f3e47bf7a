"""Networks side by side, one per task, that exchange what their layers put out: what cross-stitch and sluice share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polytask.sharing.doors import Doors
from polytask.sharing.experts import Experts
from polytask.sharing.representation import Representation, Sharing


class StitchUnit(nn.Module):
    """Every row takes a linear combination of all streams: ``r_k = sum_s A[k, s] v_s``.

    Args:
        start: Where the factors ``A`` start; one row and one column per subspace of every task.
        units: 1 where all units of a stream share one factor, else the width of a stream.
        subspaces: Into how many streams of equal width the layer of a task is split.

    Shape:
        ``[T, B, H] -> [T, B, H]``; parameter ``weight [T * G, T * G, units]``.

    Example:
        >>> unit = StitchUnit(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        >>> unit(torch.tensor([[[2.0]], [[4.0]]]), Doors(2, open=False)).flatten().tolist()
        [2.0, 3.0]
    """

    def __init__(self, start: Float[Tensor, "rows streams"], *, units: int = 1, subspaces: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(start.unsqueeze(2).repeat(1, 1, units))
        self.subspaces = subspaces

    def forward(
        self, values: Float[Tensor, "tasks batch width"], doors: Doors, owner: Int[Tensor, "rows"] | None = None
    ) -> Float[Tensor, "tasks batch width"]:
        """The combinations; a door of the cut where ``owner`` says whose the rows are."""
        if self.subspaces == 1:
            return doors.stitch(self.weight, values, owner)
        tasks, batch, width = values.shape
        part = width // self.subspaces
        streams = values.reshape(tasks, batch, self.subspaces, part).transpose(1, 2).flatten(0, 1)
        rows = doors.stitch(self.weight, streams, owner)
        return rows.reshape(tasks, self.subspaces, batch, part).transpose(1, 2).flatten(2)


class LayerMixing(nn.Module):
    """Every task weighs the layers of its own network: ``r_t = sum_l beta[t, l] h_l[t]``.

    Args:
        start: Where the weights start.

    Shape:
        L times ``[T, B, H]`` to ``[T, B, H]``; parameter ``weight [T, L]``.
    """

    def __init__(self, start: Float[Tensor, "tasks layers"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(start.clone())

    def forward(self, layers: Sequence[Float[Tensor, "tasks batch width"]]) -> Float[Tensor, "tasks batch width"]:
        """The weighted sums."""
        weights = self.weight.to(layers[-1].dtype).t()
        terms = [weight.view(-1, 1, 1) * layer for weight, layer in zip(weights, layers, strict=True)]
        return sum(terms[1:], terms[0])


class Stitched(Sharing):
    """One network per task, with stitch units after their layers.

    All tasks read all streams, so that everything below the last unit is shared; its rows, and what lies above it,
    belong to single tasks. The cut is what the last unit reads, and every lower layer as its task's mixing reads it.

    Args:
        networks: One entry per task.
        stitches: After the first layer, the second, ...; as many as there are layers, or fewer.
        mixing: What the tasks read, if not the last layer alone.
        penalty: Factor of the penalty that keeps the subspaces of a layer orthogonal, see `orthogonality`.
        rate: Learning rate of the stitch units, as a multiple of that of all else.

    Shape:
        ``[B, D] -> [T, B, H]``
    """

    row_owner: Int[Tensor, "rows"]
    task_index: Int[Tensor, "tasks"]

    def __init__(
        self,
        networks: Experts,
        stitches: Sequence[StitchUnit],
        *,
        mixing: LayerMixing | None = None,
        penalty: float = 0.0,
        rate: float = 1.0,
    ) -> None:
        super().__init__()
        # the names that single-task networks have, so that trained ones can be taken over
        self.levels = nn.ModuleList([nn.ModuleDict({"experts": networks})])
        self.stitches = nn.ModuleList(stitches)
        self.mixing = mixing
        self.tasks, self.in_features, self.out_features = networks.experts, networks.in_features, networks.out_features
        self.subspaces, self.penalty, self.rate = stitches[-1].subspaces, penalty, rate
        every = torch.arange(self.tasks)
        self.register_buffer("task_index", every, persistent=False)
        self.register_buffer("row_owner", every.repeat_interleave(self.subspaces), persistent=False)

    @property
    def networks(self) -> Experts:
        """The streams."""
        return self.levels[0]["experts"]  # type: ignore[index]

    @property
    def units(self) -> list[StitchUnit]:
        """The stitch units, from the input upwards."""
        return list(self.stitches)  # type: ignore[arg-type]

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """The rows of the last unit, the mixing, and the layers above the last unit."""
        every = torch.arange(self.tasks)
        networks, stitched = self.networks, len(self.stitches)
        above: list[nn.Module] = [*networks.upper[stitched - 1 :], *networks.finishes[stitched:]]
        above += [] if self.mixing is None else [self.mixing]
        owned = [(parameter, every) for module in above for parameter in module.parameters()]
        return [(self.units[-1].weight, every.repeat_interleave(self.subspaces)), *owned]

    def learning_rates(self) -> list[tuple[nn.Parameter, float]]:
        """Of the stitch units and of the mixing: decay would pull them towards 0, where nothing is read."""
        mixing = [] if self.mixing is None else [(self.mixing.weight, 1.0)]
        return [*((unit.weight, self.rate) for unit in self.units), *mixing]

    def forward(self, x: Float[Tensor, "batch width"], /) -> Representation:
        """One representation per task, and the cut below it."""
        doors = Doors(self.tasks, open=torch.is_grad_enabled() and not torch.compiler.is_compiling())
        networks, last = self.networks, len(self.stitches) - 1
        first = networks.first
        z, _ = doors.read(x, first.weight.flatten(0, 1), first.bias.flatten(), None, None, None)
        rows = z.view(-1, *first.bias.shape).transpose(0, 1).contiguous()  # stitches give gradients in this order
        layers: list[Tensor] = []
        for number, finish in enumerate(networks.finishes):
            if number > 0:
                rows = networks.upper[number - 1](rows)
            rows = finish(rows)
            if number <= last:
                rows = self.stitches[number](rows, doors, self.row_owner if number == last else None)
            layers.append(rows)
        if self.mixing is not None:
            lower = [doors.select(layer, self.task_index, self.task_index) for layer in layers[:last]]
            rows = self.mixing([*lower, *layers[last:]])
        doors.value = rows if doors.open else None
        penalized = self.training and self.penalty > 0 and self.subspaces > 1
        return Representation(rows, doors, {}, self._penalty() if penalized else None)

    def _penalty(self) -> Float[Tensor, ""]:
        layers = [self.networks.first, *self.networks.upper]
        found = [orthogonality(layer.weight, self.subspaces) for layer in layers]
        return self.penalty * sum(found[1:], found[0])


def stitch_start(tasks: int, own: float, *, subspaces: int = 1) -> Float[Tensor, "rows streams"]:
    """Every row starts with ``own`` of itself; the rest, in equal parts, from the same subspace of the other tasks.

    Example:
        >>> stitch_start(3, 0.5)[0].tolist()
        [0.5, 0.25, 0.25]
    """
    if tasks == 1:
        return torch.eye(subspaces)
    matrix = torch.full((tasks, tasks), (1.0 - own) / (tasks - 1)).fill_diagonal_(own)
    return torch.kron(matrix, torch.eye(subspaces))


def orthogonality(weight: Float[Tensor, "tasks out inside"], subspaces: int) -> Float[Tensor, ""]:
    """``sum over tasks and pairs g < k of ||W_g W_k'||_F^2``, where ``W_g`` are the rows that make subspace ``g``.

    Example:
        >>> orthogonality(torch.tensor([[[1.0, 2.0], [3.0, 0.0]]]), 2).item()
        9.0
    """
    space = torch.arange(weight.shape[1], device=weight.device) // (weight.shape[1] // subspaces)
    pairs: Bool[Tensor, "out out"] = space.unsqueeze(1) < space.unsqueeze(0)
    return (torch.bmm(weight, weight.mT).square() * pairs).sum()
