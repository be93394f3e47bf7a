"""Trainings of one process, and where their outcomes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from polytask.reproduce.cells import Cells
from polytask.reproduce.neutral.experiment import NeutralExperiment
from polytask.reproduce.neutral.material import Material, material
from polytask.reproduce.neutral.training import Job, Outcome, train

Workshop = Cells[Job, Outcome]


class Lab:
    """Does jobs; data sets are read once and stay in memory.

    Args:
        experiment: All settings.
        home: Where relative paths of the experiment start.
    """

    def __init__(self, experiment: NeutralExperiment, home: Path) -> None:
        self._experiment, self._home = experiment, home
        self._material: dict[int, Material] = {}

    def material(self, number: int) -> Material:
        """A data set, by its number."""
        if number not in self._material:
            self._material[number] = material(
                self._experiment.data_sets[number], self._home, seed=self._experiment.seed
            )
        return self._material[number]

    def train(self, job: Job) -> Outcome:
        """One training."""
        with torch.random.fork_rng(devices=[]):
            return train(job, self._experiment.data_sets[job.data_set], self.material(job.data_set))


def workshop(
    lab: Lab, experiment: NeutralExperiment, home: Path, folder: Path, workers: int, console: Console | None
) -> Workshop:
    """Does jobs that have no file in ``folder`` yet; see `polytask.reproduce.cells.Cells`."""
    say = partial(_say, experiment)
    return Cells(lab, partial(Lab, experiment, home), _read, say, folder, workers, console)


def _read(job: Job, found: Mapping[str, Any]) -> Outcome | None:
    outcome = Outcome(**{**found, "weights": tuple(found["weights"])})
    # other methods or seeds than before leave what is chosen alone, but files can be copied
    same = (outcome.learning_rate, outcome.weights) == (job.learning_rate, job.variant.weights)
    return outcome if same else None


def _say(experiment: NeutralExperiment, job: Job, outcome: Outcome) -> str:
    name = f"{experiment.data_sets[job.data_set].name}, {job.variant.name}"
    result = outcome.diverged or f"validation {outcome.objective:.4f}"
    return f"{name}, learning rate {job.learning_rate:g}: {result}"
