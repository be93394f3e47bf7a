"""What is trained on: rows of every part, fitted tasks, and the encoder that reads the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.config import check_options, parse_config
from polytask.data.images import multi_mnist
from polytask.encoders import table
from polytask.encoders.lenet import LeNet
from polytask.reproduce.neutral.experiment import Columns, DataSet, Digits, Schools
from polytask.reproduce.neutral.rows import Rows
from polytask.reproduce.neutral.school import school
from polytask.serving.bundle import fitted_tasks
from polytask.tables import open_tables
from polytask.tasks import Task, multiclass, regression
from polytask.training.prepared import prepare
from polytask.types import Features, LabelStats

PARTS = ("train", "validation", "test")
CLASSES, SIDE = 10, 28
MEAN, STD, WHITE = 0.1307, 0.3081, 255.0  # of MNIST's pixels, as in the code of Sener and Koltun


@dataclass(frozen=True, slots=True)
class Material:
    """A data set, ready for training.

    Attributes:
        parts: ``train``, ``validation`` and ``test``.
        tasks: Fitted on the training part.
        encoder: Makes a fresh one.
    """

    parts: Mapping[str, Rows]
    tasks: tuple[Task, ...]
    encoder: Callable[[], nn.Module]


class Numbers(nn.Module):
    """Numeric columns as they are.

    Args:
        width: How many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_features = width

    def forward(self, features: Features) -> Float[Tensor, "batch width"]:
        """The columns."""
        return features.numeric


class Pixels(nn.Module):
    """`LeNet` on numeric columns that are pixels.

    Args:
        dropout: See `LeNet`.
    """

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.network = LeNet(dropout=dropout)
        self.out_features = self.network.out_features
        # halves the time of a step on processors; torch's stubs do not know the argument
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: Features) -> Float[Tensor, "batch 50"]:
        """The representation of every image."""
        images = features.numeric.view(-1, 1, SIDE, SIDE)
        encoded: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return encoded


def material(data_set: DataSet, folder: Path, *, seed: int) -> Material:
    """Reads a data set.

    Args:
        data_set: Which.
        folder: Where relative paths start.
        seed: Of every draw of rows.

    Raises:
        UserError: It is absent or damaged, or options of the encoder are wrong.
    """
    match data_set.data:
        case Columns():
            made = _columns(data_set.data, data_set.network.encoder, folder)
        case Schools():
            made = _schools(data_set.data, seed)
        case Digits():
            made = _digits(data_set.data, data_set.network.encoder, seed)
    limits = data_set.limits.model_dump()
    parts = {name: made.parts[name].some(limits[name], seed) for name in PARTS}
    return Material(parts, made.tasks, made.encoder)


def _columns(data: Columns, options: Mapping[str, object], folder: Path) -> Material:
    config = parse_config(
        {
            "data": data.table.model_dump(exclude_none=True),
            "tasks": {name: task.model_dump(exclude_none=True) for name, task in data.tasks.items()},
        },
        relative_to=folder,
    )
    tables = open_tables(config)
    prepared = prepare(tables, buffer=config.train.shuffle_buffer)
    parts = {}
    for name in PARTS:
        found = list(prepared.reader(name).ordered(config.train.shuffle_buffer))
        parts[name] = Rows(
            torch.cat([batch.features.ids for batch in found]),
            torch.cat([batch.features.numeric for batch in found]),
            torch.stack([torch.cat([batch.labels[task] for batch in found]) for task in data.tasks]),
            torch.stack([torch.cat([batch.observed[task] for batch in found]) for task in data.tasks]),
            tuple(data.tasks),
        )
    checked = check_options(table, dict(options), path="network.encoder", provided={"spec", "streams"})
    encoder = partial(table, prepared.preprocessor.spec, **checked)
    return Material(parts, tuple(fitted_tasks(config, prepared.preprocessor)), encoder)


def _schools(data: Schools, seed: int) -> Material:
    features, scores = school(data.schools)
    random = np.random.default_rng(seed)
    part_of = []
    for one in scores:
        rank, bounds = random.permutation(len(one)), np.array([data.train, data.train + data.validation])
        part_of.append(np.searchsorted(np.round(bounds * len(one)), rank, side="right"))
    x, y, part = np.concatenate(features), np.concatenate(scores), np.concatenate(part_of)
    place = np.repeat(np.arange(len(scores)), [len(one) for one in scores])
    known = x[part == 0]
    spread = known.std(0)
    scaled = (x - known.mean(0)) / np.where(spread > 0, spread, 1.0)
    names = tuple(f"school_{number + 1}" for number in range(len(scores)))
    parts = {}
    for number, name in enumerate(PARTS):
        mine = part == number
        observed = place[mine] == np.arange(len(scores))[:, None]
        parts[name] = Rows(
            torch.empty(int(mine.sum()), 0, dtype=torch.int32),
            torch.from_numpy(scaled[mine]).float(),
            torch.from_numpy(np.where(observed, y[mine], 0.0)).float(),
            torch.from_numpy(observed),
            names,
        )
    tasks = tuple(
        regression(name).fitted(_moments(one[of == 0])) for name, one, of in zip(names, scores, part_of, strict=True)
    )
    return Material(parts, tasks, partial(Numbers, x.shape[1]))


def _digits(data: Digits, options: Mapping[str, object], seed: int) -> Material:
    found = multi_mnist(validation=data.validation, seed=seed)
    parts = {}
    for name, images in found.items():
        pixels = torch.from_numpy(images.pixels.reshape(len(images), -1)).float()
        labels = torch.from_numpy(images.labels).float()
        empty = torch.empty(len(images), 0, dtype=torch.int32)
        parts[name] = Rows(
            empty, (pixels / WHITE - MEAN) / STD, labels, torch.ones_like(labels, dtype=torch.bool), images.tasks
        )
    tasks = tuple(
        multiclass(name).fitted(_moments(labels, classes=CLASSES))
        for name, labels in zip(found["train"].tasks, found["train"].labels, strict=True)
    )
    checked = check_options(Pixels, dict(options), path="network.encoder", provided=set())
    return Material(parts, tasks, partial(Pixels, **checked))


def _moments(values: np.ndarray, classes: int = 0) -> LabelStats:
    counts = tuple(np.bincount(values, minlength=classes).astype(float).tolist()) if classes else ()
    return LabelStats(
        len(values), float(len(values)), float(values.mean()), float(values.std()) or 1.0,
        float(values.min()), float(values.max()), counts,
    )  # fmt: skip
