"""Probes: how the tasks' gradients and gates stand while a run goes on, seen on rows that stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.config import TrainConfig
from polytask.evaluation.gates import report_gates
from polytask.model import Model
from polytask.training.affinity import lookahead_affinity
from polytask.training.aside import aside
from polytask.training.step import split_losses, targets, task_losses
from polytask.types import Batch

MOST_ROWS = 2_048
USUAL, CLOSEST = 20, 10
"""How many probes a run has unless the configuration says more, and the fewest steps between two of these."""

Square = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """What was seen of the model between two steps.

    Attributes:
        step: Steps done.
        gramian: Inner products of the tasks' gradients at the shared representation; NaN in the rows and columns of
            tasks without an observed row.
        gates: Per level its ``rows``, ``mean`` and ``entropy``, as in `polytask.evaluation.GateReport`.
        affinity: See `lookahead_affinity`; None where it was not asked for.
    """

    kind: ClassVar[str] = "probe"

    step: int
    gramian: Square
    gates: Mapping[str, Mapping[str, Any]]
    affinity: Square | None


def probe_every(config: TrainConfig, steps: int, *, usual: bool) -> int:
    """Steps between probes; 0: there are none.

    Args:
        config: Its ``probe``, where it is given, decides.
        steps: Of the run.
        usual: Whether there are probes where the configuration says nothing.

    Example:
        >>> [probe_every(TrainConfig(), steps, usual=True) for steps in (50, 1_000)]
        [10, 50]
    """
    if config.probe is not None:
        return config.probe
    return max(CLOSEST, steps // USUAL) if usual else 0


def probe(model: Model, batch: Batch, *, step: int, ahead: tuple[Batch, float] | None = None) -> ProbeRecord:
    """Looks at a model, in evaluation mode and without training noticing.

    Args:
        model: In any mode; afterwards it is what it was, bit by bit.
        batch: The rows, on the model's device.
        step: Steps done.
        ahead: Rows and learning rate of the look-ahead affinity; None: leave it out.
    """
    with aside(model):
        levels, _ = report_gates(model, [batch])
        gramian = _gramian(model, batch)
    gates = {level.level: {key: asdict(level)[key] for key in ("rows", "mean", "entropy")} for level in levels}
    affinity = None if ahead is None else _square(lookahead_affinity(model, *ahead))
    return ProbeRecord(step, _square(gramian), gates, affinity)


def _gramian(model: Model, batch: Batch) -> Float[Tensor, "tasks tasks"]:
    """Of the mean losses of these rows, at the cut; NaN for absent tasks, and everywhere if nothing shared is trained.

    Losses and all below them are in the precision of the parameters, whatever precision the run has.
    """
    with torch.enable_grad():
        (losses,), present, (representation,) = task_losses(model, [(batch, targets(model, batch))])
    tasks = split_losses(model, losses, representation)
    tasks.through_heads(present, scale=1.0, fill=False)
    found = tasks.gramian()
    if found is None:
        found = losses.new_full((len(losses), len(losses)), torch.nan)
    return torch.where(present & present.unsqueeze(1), found, torch.nan)


def _square(values: Float[Tensor, "tasks tasks"]) -> Square:
    return tuple(map(tuple, values.tolist()))
