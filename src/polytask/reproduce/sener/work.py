"""Trainings of one process, and where their outcomes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from polytask.data.images import LabelledImages
from polytask.reproduce.cells import Cells
from polytask.reproduce.sener.experiment import SenerExperiment
from polytask.reproduce.sener.images import load
from polytask.reproduce.sener.training import Job, Outcome, train

Workshop = Cells[Job, Outcome]


class Lab:
    """Does jobs; the images of a group are made once and stay in memory.

    Args:
        experiment: All settings.
    """

    def __init__(self, experiment: SenerExperiment) -> None:
        self._experiment = experiment
        self._parts: dict[int, Mapping[str, LabelledImages]] = {}

    def parts(self, group: int) -> Mapping[str, LabelledImages]:
        """The images of a group, by its number."""
        if group not in self._parts:
            self._parts[group] = load(self._experiment.groups[group], seed=self._experiment.seed)
        return self._parts[group]

    def train(self, job: Job) -> Outcome:
        """One training."""
        with torch.random.fork_rng(devices=[]):
            return train(job, self._experiment.groups[job.group], self.parts(job.group))[1]


def workshop(lab: Lab, experiment: SenerExperiment, folder: Path, workers: int, console: Console | None) -> Workshop:
    """Does jobs that have no file in ``folder`` yet; see `polytask.reproduce.cells.Cells`."""
    return Cells(lab, partial(Lab, experiment), _read, _say, folder, workers, console)


def _read(job: Job, found: Mapping[str, Any]) -> Outcome | None:
    outcome = Outcome(**found)
    # more seeds than before leave the choice of the learning rate alone, but files can be copied
    return outcome if outcome.learning_rate == job.learning_rate else None


def _say(job: Job, outcome: Outcome) -> str:
    result = outcome.diverged or f"validation accuracy {outcome.objective:.4f}"
    return f"{job.variant.name}, learning rate {job.learning_rate:g}: {result}"
