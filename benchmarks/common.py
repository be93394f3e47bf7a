"""What every runner shares: the sizes, the data in memory, the score, and the arithmetic of the dense layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.synthetic import CATEGORICAL, LABELS, NUMERIC, TableSpec

Architecture = Literal["mmoe", "ple"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One configuration of the benchmark: the same numbers for every runner.

    Attributes:
        architecture: ``"mmoe"`` or ``"ple"``.
        tasks: How many of the label columns are trained.
        folder: Folder with ``train.parquet`` and ``heldout.parquet``.
        table: What the folder holds.
        batch: Rows per optimizer step.
        embedding: Width of each categorical column's embedding.
        experts: Experts of MMoE.
        expert_widths: Layers of one expert.
        towers: Hidden layers of one task's tower; one linear output follows.
        levels: Levels of PLE.
        lr: Learning rate of Adam.
        seed: Seed of the model.
    """

    architecture: Architecture
    tasks: int
    folder: str
    table: TableSpec
    batch: int = 4096
    embedding: int = 16
    experts: int = 8
    expert_widths: tuple[int, ...] = (128, 64)
    towers: tuple[int, ...] = (32,)
    levels: int = 2
    lr: float = 1e-3
    seed: int = 0

    @property
    def ple_experts(self) -> int:
        """Experts per task of PLE, and shared ones: equal, because DeepCTR-Torch cannot do otherwise."""
        return 2 if self.tasks == 2 else 1

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns that are trained."""
        return LABELS[: self.tasks]

    @property
    def input_width(self) -> int:
        """Width of the concatenated embeddings and numerics."""
        return len(CATEGORICAL) * self.embedding + len(NUMERIC)

    @property
    def train_file(self) -> Path:
        """The training part."""
        return Path(self.folder) / "train.parquet"

    @property
    def heldout_file(self) -> Path:
        """The held-out part."""
        return Path(self.folder) / "heldout.parquet"

    def to_json(self) -> dict[str, Any]:
        """A value that :func:`json.dumps` takes and :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Reads what :meth:`to_json` wrote."""
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(**{**fields, "table": TableSpec(**value["table"])})


@dataclass(frozen=True, slots=True)
class Arrays:
    """A part of the table in memory.

    Attributes:
        ids: One array per categorical column.
        numerics: One array per numeric column.
        labels: ``[rows, tasks]``.
    """

    ids: dict[str, NDArray[np.int64]]
    numerics: dict[str, NDArray[np.float32]]
    labels: NDArray[np.float32]

    @property
    def features(self) -> dict[str, NDArray[Any]]:
        """All feature columns by name."""
        return {**self.ids, **self.numerics}


def load_arrays(path: Path, spec: Spec) -> Arrays:
    """Reads one part of the table into numpy arrays."""
    columns = {
        name: pq.read_table(path, columns=[name]).column(0).to_numpy()
        for name in (*CATEGORICAL, *NUMERIC, *spec.labels)
    }
    labels = np.stack([columns[name] for name in spec.labels], axis=1).astype(np.float32)
    return Arrays({n: columns[n] for n in CATEGORICAL}, {n: columns[n] for n in NUMERIC}, labels)


class Runner(ABC):
    """One library on its own road; it lives in a child process that imported nothing else.

    The order of calls: ``load`` once, then ``start`` (a fresh model), ``train`` (several times, each continues on the
    next rows, beginning again at the end of the table) and ``predict``.
    """

    #: Distribution whose version stands in the result.
    distribution: ClassVar[str] = "torch"

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.cursor = 0

    @abstractmethod
    def load(self) -> None:
        """Brings the training part into the form that the library trains from."""

    @abstractmethod
    def start(self, seed: int) -> None:
        """Makes a fresh model and optimizer; training begins again at the first row."""

    @abstractmethod
    def train(self, rows: int) -> None:
        """Trains on the next ``rows`` rows."""

    @abstractmethod
    def predict(self, rows: int) -> NDArray[np.floating[Any]]:
        """Scores the first ``rows`` held-out rows, ``[rows, tasks]``."""

    def read(self, rows: int) -> None:
        """Pulls the next ``rows`` rows through the input pipeline without training on them."""
        raise NotImplementedError(f"{type(self).__name__} does not expose its input pipeline ({rows} rows asked for)")

    @property
    def dense_width(self) -> int:
        """Width of the input of the first dense layer."""
        return self.spec.input_width

    @cached_property
    def heldout(self) -> Arrays:
        """The held-out part, read when it is first needed, so that it does not count as memory of training."""
        return load_arrays(self.spec.heldout_file, self.spec)

    def next_rows(self, rows: int) -> tuple[int, int]:
        """Advances the cursor; returns start and stop of the next ``rows`` rows of the table."""
        total = self.spec.table.rows
        start = 0 if self.cursor + rows > total else self.cursor
        if rows > total:
            raise ValueError(f"{rows} rows asked for, the table has {total}")
        self.cursor = start + rows
        return start, self.cursor


def auc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve; ties count one half, NaN where one class is absent.

    Example:
        >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.75
    """
    positive = np.asarray(labels) > 0
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    total = mean_rank[inverse][positive].sum()
    return float((total - positives * (positives + 1) / 2) / (positives * negatives))


def dense_flops(spec: Spec, width: int) -> int:
    """Floating-point operations of one row's way forward through the dense layers (2 per multiply-add).

    Gates count, softmax, activations, mixing and table look-ups do not. A training step costs three times as much: the
    gradients of the inputs (the embeddings are trained) and of the weights are products of the same size.

    Args:
        spec: The sizes.
        width: Width of the first layer's input.
    """

    def chain(*widths: int) -> int:
        return sum(2 * a * b for a, b in pairwise(widths))

    out = spec.expert_widths[-1]
    towers = spec.tasks * chain(out, *spec.towers, 1)
    if spec.architecture == "mmoe":
        return towers + spec.experts * chain(width, *spec.expert_widths) + spec.tasks * chain(width, spec.experts)
    own = spec.ple_experts
    bank = (spec.tasks + 1) * own
    total = towers
    for level in range(spec.levels):
        enter = width if level == 0 else out
        shared_gate = chain(enter, bank) if level < spec.levels - 1 else 0
        total += bank * chain(enter, *spec.expert_widths) + spec.tasks * chain(enter, 2 * own) + shared_gate
    return total
