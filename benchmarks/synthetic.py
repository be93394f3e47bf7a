"""A click log with something to learn: ids with latent effects and interactions, related tasks, known base rates.

The table is written once, chunk by chunk, so that its size is not bounded by memory; a chunk depends on the seed and on
its number only, so a longer table begins with the rows of a shorter one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

CHUNK = 50_000
LATENT = 4
BASE_RATES = (0.30, 0.12, 0.40, 0.22, 0.10, 0.17)
#: Vocabularies of 10 to 200 k ids, 611 077 in all.
VOCABULARIES = (
    *(200_000, 150_000, 100_000, 60_000, 40_000, 25_000, 15_000, 8_000, 5_000, 3_000, 2_000, 1_000, 700),
    *(500, 300, 200, 100, 80, 50, 40, 30, 20, 20, 15, 12, 10),
)
NUMERICS = 13
CATEGORICAL = tuple(f"cat_{i:02d}" for i in range(len(VOCABULARIES)))
NUMERIC = tuple(f"num_{i:02d}" for i in range(NUMERICS))
LABELS = tuple(f"label_{i}" for i in range(len(BASE_RATES)))
#: Pairs of columns whose latent vectors interact.
PAIRS = ((6, 12), (8, 14), (10, 17), (11, 20), (13, 16), (15, 25), (9, 24), (18, 22))


@dataclass(frozen=True, slots=True)
class TableSpec:
    """What a table is made of; two equal specs give the same bytes.

    Attributes:
        rows: Rows of the training part.
        heldout: Rows of the held-out part, drawn from the same distribution.
        ids: Ids in all; the vocabularies keep their proportions (never fewer than 10 ids each).
        skew: Popularity of ids: an id is ``floor(size * u ** skew)`` with u uniform; 1 makes all ids equally frequent.
        seed: Seed of everything.
    """

    rows: int = 400_000
    heldout: int = 100_000
    ids: int = sum(VOCABULARIES)
    skew: float = 3.0
    seed: int = 20_26

    @property
    def vocabularies(self) -> tuple[int, ...]:
        """Size of each categorical column's vocabulary."""
        total = sum(VOCABULARIES)
        return tuple(max(10, round(size * self.ids / total)) for size in VOCABULARIES)

    @property
    def name(self) -> str:
        """Folder of this table inside the work folder."""
        return f"rows{self.rows}-heldout{self.heldout}-ids{self.ids}-skew{self.skew:g}-seed{self.seed}"


@dataclass(frozen=True, slots=True)
class Truth:
    """The hidden effects behind the labels.

    Attributes:
        latent: One ``[size, LATENT]`` matrix per categorical column.
        strength: How much each column's first-order effect counts, ``[columns]``.
        direction: Which part of a latent vector each task reads, ``[tasks, LATENT]``; tasks share most of it.
        pairs: How much each task reads of each interaction, ``[tasks, pairs]``.
        numeric: Linear effects of the numerics, ``[tasks, NUMERICS]``.
        intercept: Brings each task to its base rate, ``[tasks]``.
    """

    latent: tuple[NDArray[np.float32], ...]
    strength: NDArray[np.float32]
    direction: NDArray[np.float32]
    pairs: NDArray[np.float32]
    numeric: NDArray[np.float32]
    intercept: NDArray[np.float32]


def draw_truth(spec: TableSpec) -> Truth:
    """Draws the effects and sets the intercepts so that each task has its base rate."""
    rng = np.random.default_rng([spec.seed, 0])
    tasks = len(BASE_RATES)
    latent = tuple(rng.standard_normal((size, LATENT)).astype(np.float32) for size in spec.vocabularies)
    strength = np.asarray([0.3 if size > 4_000 else 0.4 for size in VOCABULARIES], np.float32)
    shared = rng.standard_normal(LATENT)
    direction = 0.8 * shared + 0.6 * rng.standard_normal((tasks, LATENT))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    pairs = 0.30 + 0.15 * rng.standard_normal((tasks, len(PAIRS)))
    numeric = 0.25 * rng.standard_normal(NUMERICS) + 0.12 * rng.standard_normal((tasks, NUMERICS))
    truth = Truth(
        latent=latent,
        strength=strength,
        direction=direction.astype(np.float32),
        pairs=pairs.astype(np.float32),
        numeric=numeric.astype(np.float32),
        intercept=np.zeros(tasks, np.float32),
    )
    ids, numerics = _draw_features(spec, np.random.default_rng([spec.seed, 1]), 20_000)
    signal = _signal(truth, ids, numerics)
    intercept = [_intercept(signal[:, task], rate) for task, rate in enumerate(BASE_RATES)]
    return replace(truth, intercept=np.asarray(intercept, np.float32))


def _intercept(signal: NDArray[np.float32], rate: float) -> float:
    """Bisects for the constant that makes the mean probability equal to ``rate``."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        if float(np.mean(1 / (1 + np.exp(-(signal + middle))))) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _draw_features(
    spec: TableSpec, rng: np.random.Generator, rows: int
) -> tuple[list[NDArray[np.int64]], NDArray[np.float32]]:
    ids = [(size * rng.random(rows) ** spec.skew).astype(np.int64) for size in spec.vocabularies]
    return ids, rng.standard_normal((rows, NUMERICS), dtype=np.float32)


def _signal(truth: Truth, ids: list[NDArray[np.int64]], numerics: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-odds of every task without the intercept, ``[rows, tasks]``."""
    vectors = [latent[index] for latent, index in zip(truth.latent, ids, strict=True)]
    first = sum(s * v for s, v in zip(truth.strength, vectors, strict=True)) @ truth.direction.T
    products = np.stack([np.sum(vectors[a] * vectors[b], axis=1) / np.sqrt(LATENT) for a, b in PAIRS], axis=1)
    curved = 0.5 * np.sin(2 * numerics[:, :1]) + 0.4 * numerics[:, 1:2] * numerics[:, 2:3]
    return np.asarray(first + products @ truth.pairs.T + numerics @ truth.numeric.T + curved, np.float32)


def chunks(spec: TableSpec, truth: Truth, rows: int, part: int) -> Iterator[pa.Table]:
    """Yields ``rows`` rows of one part (0: training, 1: held out) in tables of ``CHUNK`` rows."""
    for number, start in enumerate(range(0, rows, CHUNK)):
        rng = np.random.default_rng([spec.seed, 2 + part, number])
        ids, numerics = _draw_features(spec, rng, CHUNK)
        logits = _signal(truth, ids, numerics) + truth.intercept
        labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)
        columns: dict[str, NDArray[Any]] = dict(zip(CATEGORICAL, ids, strict=True))
        columns |= {name: numerics[:, i] for i, name in enumerate(NUMERIC)}
        columns |= {name: labels[:, i] for i, name in enumerate(LABELS)}
        yield pa.table(columns).slice(0, min(CHUNK, rows - start))


def write_table(spec: TableSpec, work: Path) -> Path:
    """Writes ``train.parquet``, ``heldout.parquet`` and ``spec.json`` into a folder of ``work``, unless they are there.

    Args:
        spec: What to write.
        work: Folder of all tables.

    Returns:
        The folder of this table.
    """
    folder = work / spec.name
    marker = folder / "spec.json"
    if marker.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    truth = draw_truth(spec)
    for part, (name, rows) in enumerate((("train", spec.rows), ("heldout", spec.heldout))):
        writer: pq.ParquetWriter | None = None
        for table in chunks(spec, truth, rows, part):
            writer = writer or pq.ParquetWriter(folder / f"{name}.parquet", table.schema)
            writer.write_table(table, row_group_size=CHUNK)
        if writer is not None:
            writer.close()
    marker.write_text(json.dumps(asdict(spec)))
    return folder
