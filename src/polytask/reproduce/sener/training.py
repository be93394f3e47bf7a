"""One training, from a seed to what the network gets right."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from polytask.balancing import backward
from polytask.balancing.engine import NonFiniteError
from polytask.data.images import LabelledImages
from polytask.reproduce.sener.experiment import Group, Schedule
from polytask.reproduce.sener.methods import Variant, balancing
from polytask.reproduce.sener.network import MultiTaskNetwork

EVALUATION_IMAGES = 1024
Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Job:
    """A training to do.

    Attributes:
        group: Number of the group.
        variant: What to train.
        learning_rate: Of the first epochs.
        seed: Initial weights, order, dropout.
        file: Keeps the outcome, in the folder of cells.
    """

    group: int
    variant: Variant
    learning_rate: float
    seed: int
    file: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A training that is done.

    Attributes:
        learning_rate: What it was done with.
        seed: Likewise.
        validation: Per task the accuracy after the last epoch; nothing if the loss was not finite.
        test: Likewise.
        correct: Per task which test images were right: bits in hexadecimal, the first image first.
        seconds: Of one processor, per epoch.
        diverged: What was not finite, in words; empty if all was.
    """

    learning_rate: float
    seed: int
    validation: Mapping[str, float]
    test: Mapping[str, float]
    correct: Mapping[str, str]
    seconds: float
    diverged: str = ""

    @property
    def objective(self) -> float:
        """Mean validation accuracy over the tasks of the network; minus infinity if it diverged."""
        return math.fsum(self.validation.values()) / len(self.validation) if self.validation else -math.inf

    def right(self, task: str, images: int) -> Bits:
        """Which test images were right; none if it diverged."""
        packed = np.frombuffer(bytes.fromhex(self.correct.get(task, "")), dtype=np.uint8)
        return np.unpackbits(packed, count=images).astype(bool)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def train(
    job: Job, group: Group, parts: Mapping[str, LabelledImages], *, epochs: int | None = None
) -> tuple[MultiTaskNetwork, Outcome]:
    """Trains one network, and scores it after its last epoch.

    A loss that is not finite is an outcome as well: learning rates are tried.

    Args:
        job: What to train.
        group: How.
        parts: ``train``, ``validation`` and ``test``.
        epochs: Fewer than the schedule has.
    """
    torch.manual_seed(job.seed)
    images = {name: of_task(part, job.variant.task) for name, part in parts.items()}
    tasks = images["train"].tasks
    network = MultiTaskNetwork(group, len(tasks))
    steps = Steps(network, job, group)
    order = np.random.default_rng(job.seed)
    began, length = time.process_time(), epochs or group.train.epochs
    try:
        for _ in range(length):
            for pixels, labels in shuffled(images["train"], group.train.batch_size, order):
                steps.step(pixels, labels)
            steps.end_epoch()
    except NonFiniteError as error:
        spent = (time.process_time() - began) / length
        return network, Outcome(job.learning_rate, job.seed, {}, {}, {}, spent, diverged=str(error))
    spent = (time.process_time() - began) / length
    validation, test = right(network, images["validation"]), right(network, images["test"])
    return network, Outcome(
        job.learning_rate,
        job.seed,
        dict(zip(tasks, validation.mean(1).tolist(), strict=True)),
        dict(zip(tasks, test.mean(1).tolist(), strict=True)),
        {task: np.packbits(row).tobytes().hex() for task, row in zip(tasks, test, strict=True)},
        spent,
    )


class Steps:
    """Makes the steps of one training.

    Args:
        network: What is trained.
        job: By which method, at which learning rate.
        group: How.
    """

    def __init__(self, network: MultiTaskNetwork, job: Job, group: Group) -> None:
        self._network = network.train()
        self._balancing = balancing(job.variant, group, len(network.heads))
        # uncertainty learns its weights with the network
        self._optimizer = _optimizer(
            [*network.parameters(), *self._balancing.parameters()], group.train, job.learning_rate
        )  # fmt: skip
        self._plan = StepLR(self._optimizer, group.train.halve_every, 0.5)
        self._epoch = 0

    def step(self, pixels: Tensor, labels: Tensor) -> None:
        """One step on a batch."""
        self._optimizer.zero_grad()
        losses = self._network.losses(pixels, labels)
        # said outright: a loss of NaN would else pass for a task that has no rows in this batch
        backward(losses, self._balancing, present=[True] * len(losses), epoch=self._epoch)
        self._optimizer.step()

    def end_epoch(self) -> None:
        """Lowers the learning rate where it is time."""
        self._plan.step()
        self._epoch += 1


def of_task(images: LabelledImages, task: str | None) -> LabelledImages:
    """The labels of one task, or of all."""
    if task is None:
        return images
    number = images.tasks.index(task)
    return LabelledImages(images.pixels, images.labels[number : number + 1], (task,))


def shuffled(images: LabelledImages, size: int, order: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in a random order; the last one may be smaller."""
    rows = order.permutation(len(images))
    for first in range(0, len(rows), size):
        # sorted: neighbours of a mapped file are read together, and within a batch order does not matter
        chosen = np.sort(rows[first : first + size])
        yield torch.from_numpy(images.pixels[chosen]), torch.from_numpy(images.labels[:, chosen])


@torch.no_grad()
def right(network: MultiTaskNetwork, images: LabelledImages) -> Bits:
    """Which images every task gets right, ``[T, N]``."""
    network.eval()
    found = []
    for first in range(0, len(images), EVALUATION_IMAGES):
        some = slice(first, first + EVALUATION_IMAGES)
        logits = torch.stack(network(torch.from_numpy(np.array(images.pixels[some]))))
        found.append(logits.argmax(2).numpy() == images.labels[:, some])
    return np.concatenate(found, axis=1)


def _optimizer(parameters: list[torch.nn.Parameter], schedule: Schedule, learning_rate: float) -> Optimizer:
    if schedule.optimizer == "adam":
        return torch.optim.Adam(parameters, learning_rate, foreach=True)
    return torch.optim.SGD(parameters, learning_rate, momentum=schedule.momentum, foreach=True)
