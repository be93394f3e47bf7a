"""What the gates do on some rows: how much each task takes from each expert, and which units are dead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.model import Model
from polytask.sharing.experts import Experts
from polytask.types import Batch


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gates of one level.

    Attributes:
        level: The level's name, from the input upwards.
        rows: Who owns each gate: a task's name, or the gate's number where a level has other rows than the tasks.
        mean: Mean weight that each gate gives to each expert, ``[rows][experts]``.
        entropy: Mean entropy of each gate's weights, as shares of their absolute sum, over the logarithm of the number
            of experts: 1 is even, 0 is all on one expert.
        samples: Rows of data that the means rest on.
    """

    level: str
    rows: tuple[str, ...]
    mean: tuple[tuple[float, ...], ...]
    entropy: tuple[float, ...]
    samples: int

    @property
    def polarised(self) -> tuple[str, ...]:
        """Gates that give one expert more than .98 of their weight, the mark of collapse in the HoME paper."""
        shares = [max(map(abs, weights)) / max(sum(map(abs, weights)), 1e-12) for weights in self.mean]
        return tuple(row for row, share in zip(self.rows, shares, strict=True) if share > 0.98)


@dataclass(frozen=True, slots=True)
class UnitReport:
    """The experts of one bank.

    Attributes:
        bank: The module's name within the architecture.
        dead: Per expert, the share of its output units that no row of the data activated.
    """

    bank: str
    dead: tuple[float, ...]


@torch.no_grad()
def report_gates(model: Model, batches: Iterable[Batch]) -> tuple[list[GateReport], list[UnitReport]]:
    """Mean weights and entropies of all gates, and dead units of all experts, in one pass over the rows.

    Args:
        model: In any mode; it is put back into it.
        batches: The rows; labels are not read.

    Returns:
        One entry per gated level (none for architectures without gates) and one per bank of experts.
    """
    levels: dict[str, _Level] = {}
    training, device = model.training, next(model.parameters()).device
    model.eval()
    with _watched(model.sharing) as banks:
        for batch in batches:
            gates = model.sharing(model.encoder(batch.to(device).features)).gates
            for name, weights in gates.items():
                levels.setdefault(name, _Level(weights)).update(weights)
    model.train(training)
    names = [task.name for task in model.tasks]
    units = [UnitReport(bank, tuple((~active).float().mean(1).tolist())) for bank, active in banks.items()]
    last = next(reversed(levels), None)
    return [level.report(name, names, last=name == last) for name, level in levels.items()], units


class _Level:
    """Sums over the rows of the data."""

    def __init__(self, weights: Float[Tensor, "batch rows experts"]) -> None:
        self.weights = torch.zeros(weights.shape[1:], dtype=torch.float64)
        self.entropy = torch.zeros(weights.shape[1], dtype=torch.float64)
        self.samples = 0

    def update(self, weights: Float[Tensor, "batch rows experts"]) -> None:
        """Adds one batch."""
        weights = weights.double().cpu()
        self.weights += weights.sum(0)
        shares = weights.abs()  # some gates do not sum to 1, and a residual may be negative
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1e-12)
        self.entropy -= torch.xlogy(shares, shares).sum((0, 2))
        self.samples += len(weights)

    def report(self, name: str, tasks: Sequence[str], *, last: bool) -> GateReport:
        """Means."""
        rows, experts = self.weights.shape
        names = tuple(str(row) for row in range(rows))
        if last and rows == len(tasks):
            names = tuple(tasks)
        elif rows == len(tasks) + 1:  # PLE: the shared state comes last
            names = (*tasks, "shared")
        mean = self.weights / max(self.samples, 1)
        entropy = self.entropy / max(self.samples, 1) / max(math.log(experts), 1e-12)
        return GateReport(name, names, tuple(map(tuple, mean.tolist())), tuple(entropy.tolist()), self.samples)


@contextmanager
def _watched(sharing: nn.Module) -> Iterator[dict[str, Bool[Tensor, "experts width"]]]:
    """Notes, per bank of experts, which output units were other than 0 for any row."""
    active: dict[str, Bool[Tensor, "experts width"]] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            seen = (output != 0).any(1)
            active[name] = seen | active[name] if name in active else seen

        return hook

    banks = [(name, module) for name, module in sharing.named_modules() if isinstance(module, Experts)]
    handles = [bank.finishes[-1].register_forward_hook(note(name)) for name, bank in banks]
    try:
        yield active
    finally:
        for handle in handles:
            handle.remove()
