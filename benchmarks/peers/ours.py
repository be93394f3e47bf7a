"""polytask: reads the Parquet file itself, batch by batch, and scores the held-out file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from typing_extensions import override

from benchmarks.common import Runner, Spec
from benchmarks.synthetic import CATEGORICAL, LABELS, NUMERIC
from polytask.config import Config, parse_config
from polytask.data.sources import open_source
from polytask.serving import Bundle
from polytask.serving.bundle import fitted_model
from polytask.tables import open_tables
from polytask.training.loop import Training
from polytask.training.prepared import Prepared, prepare
from polytask.training.single import build_balancer
from polytask.training.step import StepRecord

Scorer = Callable[[Path, int], NDArray[np.floating[Any]]]


def configuration(spec: Spec, seed: int) -> Config:
    """The sizes as a configuration; what they do not fix keeps its default."""
    sharing: dict[str, Any] = {"use": spec.architecture, "widths": list(spec.expert_widths)}
    if spec.architecture == "mmoe":
        sharing["experts"] = spec.experts
    else:
        sharing |= {"levels": spec.levels, "experts": spec.ple_experts, "shared_experts": spec.ple_experts}
    features = {name: {"kind": "categorical"} for name in CATEGORICAL}
    # one input per number, as the other libraries have it: quantile bins would widen the first layer
    features |= {name: {"kind": "numeric", "encoding": "robust"} for name in NUMERIC}
    return parse_config(
        {
            "data": {
                "source": str(spec.train_file),
                "validation": str(spec.heldout_file),
                "drop": [name for name in LABELS if name not in spec.labels],
            },
            "features": features,
            "tasks": {name: {"kind": "binary", "label": name} for name in spec.labels},
            "encoder": {"embedding": spec.embedding},
            "sharing": sharing,
            "towers": {"widths": list(spec.towers)},
            "train": {
                "batch_size": spec.batch,
                "learning_rate": spec.lr,
                "epochs": 1_000,
                "evaluate_every": 1_000_000_000,
                "patience": 0,
                "warmup": 0.0,
                "decay": "none",
                "seed": seed,
            },
        }
    )


@cache
def prepared(spec_json: str) -> Prepared:
    """Fitted preprocessing of the training file; once per process, like loading in the other runners."""
    config = configuration(Spec.from_json(json.loads(spec_json)), 0)
    return prepare(open_tables(config), buffer=config.train.shuffle_buffer)


def head(path: Path, rows: int) -> Path:
    """The first rows of a file as a file of their own, written when first asked for: what is timed is scored."""
    short = path.with_name(f"{path.stem}-{rows}{path.suffix}")
    if not short.exists():
        pq.write_table(pq.read_table(path).slice(0, rows), short, row_group_size=65_536)
    return short


def run_polytask(spec: Spec, seed: int) -> tuple[Iterator[int], Scorer]:
    """Opens a training run of polytask on ``spec.train_file``.

    Args:
        spec: Sizes, batch, learning rate and label columns.
        seed: Seed of weights and shuffling.

    Returns:
        An iterator that trains one batch each time it is advanced and yields how many rows that batch had, going over
        the file again at its end; and a function that scores the first ``rows`` rows of a Parquet file with the weights
        of that moment, ``[rows, tasks]`` in the order of ``spec.labels``.
    """
    config, data = configuration(spec, seed), prepared(json.dumps(spec.to_json()))
    torch.manual_seed(seed)
    model = fitted_model(config, data.preprocessor)
    training = Training(
        model, build_balancer(config, model), data.reader("train"), data.reader("validation"), config.train, seed=seed
    )

    def steps() -> Iterator[int]:
        for record in training:
            if isinstance(record, StepRecord):
                yield record.rows

    def score(path: Path, rows: int) -> NDArray[np.floating[Any]]:
        bundle = Bundle(config, data.preprocessor, model.eval(), {})
        batches = bundle.stream(open_source(head(path, rows)), ())
        scores = [np.stack([column.to_numpy() for column in batch.columns], axis=1) for batch in batches]
        model.train()
        return np.concatenate(scores)

    return steps(), score


def read_polytask(spec: Spec, seed: int) -> Iterator[int]:
    """Opens only the input pipeline of the same run; each advance makes one batch of tensors and yields its rows."""
    for _, batch in prepared(json.dumps(spec.to_json())).reader("train").shuffled(spec.batch, seed=seed):
        yield len(batch)


class Polytask(Runner):
    """The public API with its defaults for everything that the sizes do not fix."""

    distribution: ClassVar[str] = "polytask"

    @override
    def load(self) -> None:
        """Fits the preprocessing in a streaming pass; rows are read from disk while training."""
        prepared(json.dumps(self.spec.to_json()))

    @override
    def start(self, seed: int) -> None:
        self.steps, self.score = run_polytask(self.spec, seed)
        self.batches = read_polytask(self.spec, seed)

    @override
    def train(self, rows: int) -> None:
        advance(self.steps, rows)

    @override
    def read(self, rows: int) -> None:
        advance(self.batches, rows)

    @override
    def predict(self, rows: int) -> NDArray[np.floating[Any]]:
        return self.score(self.spec.heldout_file, rows)


def advance(batches: Iterator[int], rows: int) -> None:
    """Advances until at least ``rows`` rows went through."""
    seen = 0
    while seen < rows:
        seen += next(batches)
