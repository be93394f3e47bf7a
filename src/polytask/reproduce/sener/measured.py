"""What was measured of every method, as rows of the paper's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from polytask.reproduce.sener.experiment import Group, MethodName
from polytask.reproduce.sener.methods import Variant
from polytask.reproduce.sener.study import Trained

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Row:
    """A method, or one pair of static weights.

    Attributes:
        method: The method.
        share: Of the first task, of static weights.
        learning_rates: Per network.
        validation: Mean accuracy over tasks and seeds.
        right: Which test images were right ``[seeds, tasks, images]``, seeds that diverged left out.
        diverged: How many of these there were.
        steps: Processor seconds of single steps, timed in turns with the other methods.
        epoch: Median of these, times the steps of an epoch.
    """

    method: MethodName
    share: float | None
    learning_rates: Mapping[str, float]
    validation: float
    right: Bits
    diverged: int
    steps: tuple[float, ...]
    epoch: float

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """On the test images ``[seeds, tasks]``."""
        return self.right.mean(2)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "method": self.method,
            "share": self.share,
            "learning_rates": dict(self.learning_rates),
            "validation": self.validation,
            "diverged": self.diverged,
            "mean": self.accuracy.mean(0).tolist(),
            "std": spread(self.accuracy).tolist(),
            "test": self.accuracy.T.tolist(),
            "step_seconds": median(self.steps),
            "epoch_seconds": self.epoch,
        }


def spread(accuracy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Standard deviation over seeds, the first axis; NaN for fewer than two."""
    few = np.full(accuracy.shape[1:], np.nan)
    return accuracy.std(0, ddof=1) if len(accuracy) > 1 else few


def rows(
    group: Group,
    tasks: tuple[str, ...],
    images: Mapping[str, int],
    trained: Mapping[Variant, Trained],
    steps: Mapping[str, list[float]],
) -> list[Row]:
    """The table of a group.

    Args:
        group: Its settings.
        tasks: Names of its tasks.
        images: Per part their number.
        trained: All variants.
        steps: Per method the seconds of single steps.
    """
    per_epoch = -(-images["train"] // group.train.batch_size)
    found = []
    for method, share in dict.fromkeys((variant.method, variant.share) for variant in trained):
        own = [one for variant, one in trained.items() if (variant.method, variant.share) == (method, share)]
        seeds = list(zip(*(one.runs for one in own), strict=True))
        whole = [outcomes for outcomes in seeds if not any(one.diverged for one in outcomes)]
        right = [
            [next(one for one in outcomes if task in one.test).right(task, images["test"]) for task in tasks]
            for outcomes in whole
        ]
        values = [value for outcomes in whole for one in outcomes for value in one.validation.values()]
        found.append(
            Row(
                method, share,
                {one.variant.task or "all": one.learning_rate for one in own},
                float(np.mean(values)) if values else float("nan"),
                np.array(right, dtype=bool).reshape(len(whole), len(tasks), images["test"]),
                len(seeds) - len(whole), tuple(steps[method]), median(steps[method]) * per_epoch,
            )
        )  # fmt: skip
    return found
