"""The types that rooms share, so that data, encoders, sharing, tasks and balancing need not import each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polytask.specs import FeatureSpec, LabelSpec, LabelStats, SequenceSpec, TaskName

__all__ = [
    "Batch",
    "FeatureSpec",
    "Features",
    "LabelSpec",
    "LabelStats",
    "Ragged",
    "SequenceSpec",
    "Step",
    "TaskName",
]


@dataclass(frozen=True, slots=True)
class Ragged:
    """A list of ids per row: row ``i`` holds ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: Row numbers of the fused embedding table.
        offsets: One more than rows; ``offsets[0] == 0``.
    """

    values: Int[Tensor, "items"]
    offsets: Int[Tensor, "batch_plus_one"]

    def slice(self, start: int, stop: int) -> Ragged:
        """The lists of rows ``start`` to ``stop``."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[int(offsets[0]) : int(offsets[-1])], offsets - offsets[0])


@dataclass(frozen=True, slots=True)
class Features:
    """The inputs of one batch of table rows.

    Attributes:
        ids: Rows of the fused embedding table, one per categorical column (offsets already added).
        numeric: Scaled numeric columns; no NaN is left in them.
        sequences: Columns that hold a list of ids.
    """

    ids: Int[Tensor, "batch columns"]
    numeric: Float[Tensor, "batch numerics"]
    sequences: Mapping[str, Ragged] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    def slices(self, size: int) -> Iterator[Features]:
        """The same rows in pieces of at most ``size``, without a copy (but for the offsets of sequences)."""
        for start in range(0, max(len(self), 1), size):
            yield self.slice(start, min(start + size, len(self)))

    def slice(self, start: int, stop: int) -> Features:
        """Rows ``start`` to ``stop``, without a copy (but for the offsets of sequences)."""
        sequences = {name: ragged.slice(start, stop) for name, ragged in self.sequences.items()}
        return Features(self.ids[start:stop], self.numeric[start:stop], sequences)

    def to(self, device: torch.device) -> Features:
        """The same features on ``device``."""
        sequences = {
            name: Ragged(ragged.values.to(device), ragged.offsets.to(device)) for name, ragged in self.sequences.items()
        }
        return Features(self.ids.to(device), self.numeric.to(device), sequences)


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one micro-batch carries.

    Attributes:
        features: What the encoder reads.
        labels: Per task, one value a row; unobserved rows hold a finite filler that is never read.
        observed: Per task, whether the row's label is known and the row lies in the task's sample space.
        weights: Per task that declares a weight column, the sample weights; denominators are sums of weights.
        groups: Per group column (user or query), one integer a row, for GAUC and ranking losses.
    """

    features: Features
    labels: Mapping[TaskName, Float[Tensor, "batch"]]
    observed: Mapping[TaskName, Bool[Tensor, "batch"]]
    weights: Mapping[TaskName, Float[Tensor, "batch"]] = field(default_factory=dict)
    groups: Mapping[str, Int[Tensor, "batch"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    def slice(self, start: int, stop: int) -> Batch:
        """Rows ``start`` to ``stop``, without a copy (but for the offsets of sequences)."""

        def cut(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor[start:stop] for name, tensor in tensors.items()}

        return Batch(
            self.features.slice(start, stop), cut(self.labels), cut(self.observed), cut(self.weights), cut(self.groups)
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        if device.type == "cpu":
            return self

        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        return Batch(
            self.features.to(device), move(self.labels), move(self.observed), move(self.weights), move(self.groups)
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What a balancer may know of the current step beside its statistic.

    Attributes:
        number: Steps done before this one, from 0.
        epoch: Passes over the data done before this one, from 0.
        present: Which tasks have an observed row in this step.
        losses: Detached mean loss per task; meaningless where the task is absent.
        kpis: Last known key performance indicator per task in [0, 1], NaN where unknown.
    """

    number: int
    epoch: int
    present: Bool[Tensor, "tasks"]
    losses: Float[Tensor, "tasks"]
    kpis: Float[Tensor, "tasks"] | None = None
