"""A chain: the trials of one model, one after another, then its trainings with the best settings; one file each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from polytask.errors import Problem, UserError
from polytask.files import write_json
from polytask.reproduce.census.experiment import ALONE, CensusExperiment, MethodName
from polytask.reproduce.census.outcome import Job, Outcome
from polytask.reproduce.census.settings import Settings
from polytask.reproduce.census.tuning import Tuner

TRIAL, RUN = 0, 1


class Chain:
    """All trainings of one model of one group: of a method, or of one task of a method with a model per task.

    Args:
        experiment: All settings.
        group: Number of the group.
        method: The method.
        task: The task of the model; None: all.
        folder: Where outcomes are kept, one file each; those that are there are read.
    """

    def __init__(
        self, experiment: CensusExperiment, group: int, method: MethodName, task: str | None, folder: Path
    ) -> None:
        self.method, self.task, self._group, self._experiment = method, task, group, experiment
        self.objective = task or experiment.groups[group].main
        self.name = "-".join(part for part in (experiment.groups[group].name, method, task) if part)
        self._folder = folder / self.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._tuner = Tuner(
            experiment.searched(method), seed=experiment.seed, random_trials=experiment.random_trials
        )  # fmt: skip
        self.trials: list[Outcome] = []
        self.runs: dict[int, Outcome] = {}
        self._given: dict[str, int] = {}  # by file
        self._read()

    @property
    def total(self) -> int:
        """Trainings in all."""
        return self._experiment.trials + self._experiment.seeds

    @property
    def done(self) -> int:
        """Trainings done."""
        return len(self.trials) + len(self.runs)

    @property
    def tuned(self) -> bool:
        """Whether all trials are done."""
        return len(self.trials) == self._experiment.trials

    @property
    def outcomes(self) -> list[Outcome]:
        """Of the chosen settings, in the order of the seeds."""
        return [self.runs[number] for number in sorted(self.runs)]

    def chosen(self) -> Outcome:
        """The trial with the best validation AUC of the objective.

        Raises:
            UserError: No trial has one.
        """
        known = [trial for trial in self.trials if np.isfinite(trial.objective(self.objective))]
        if not known:
            what = f"none of {len(self.trials)} trials has an AUC of '{self.objective}' on the validation part"
            raise UserError(Problem(self.name, what, "narrow the ranges, or look at the rows"))
        return max(known, key=lambda trial: trial.objective(self.objective))

    def next(self) -> Job | None:
        """A training that can be done now; None: all are done, or wait for one that was given out."""
        if not self.tuned:
            return None if self._given else self._give(TRIAL, len(self.trials), self._tuner.ask())
        waiting = set(range(self._experiment.seeds)) - set(self.runs) - set(self._given.values())
        return self._give(RUN, min(waiting), self.chosen().settings) if waiting else None

    def take(self, job: Job, outcome: Outcome) -> None:
        """The outcome of a job of this chain; it is kept."""
        number = self._given.pop(job.file)
        write_json(self._folder / job.file, outcome.as_json())
        if self.tuned:
            self.runs[number] = outcome
        else:
            self._tuner.tell(outcome.objective(self.objective))
            self.trials.append(outcome)

    def _give(self, part: int, number: int, settings: Settings) -> Job:
        seed = int(np.random.SeedSequence([self._experiment.seed, part, number]).generate_state(1)[0])
        job = Job(self._group, self.method, self.task, settings, seed, _file(part, number))
        self._given[job.file] = number
        return job

    def _read(self) -> None:
        for number in range(self._experiment.trials):
            found = self._kept(TRIAL, number)
            if found is None:
                return
            self._tuner.add(found.settings, found.objective(self.objective))
            self.trials.append(found)
        for number in range(self._experiment.seeds):
            found = self._kept(RUN, number)
            # more trials than before may have found better settings
            if found is not None and found.settings == self.chosen().settings:
                self.runs[number] = found

    def _kept(self, part: int, number: int) -> Outcome | None:
        file = self._folder / _file(part, number)
        try:
            return Outcome.from_json(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
        except json.JSONDecodeError:
            return None  # cut short by something other than polytask: the training is done again


def chains(experiment: CensusExperiment, folder: Path) -> list[list[Chain]]:
    """Per group its chains, in the order of the methods; methods with a model per task have one per task."""
    return [
        [
            Chain(experiment, number, method, task, folder)
            for method in experiment.methods
            for task in (group.order if method in ALONE else (None,))
        ]
        for number, group in enumerate(experiment.groups)
    ]


def _file(part: int, number: int) -> str:
    return f"{('trial', 'run')[part]}-{number:03d}.json"
