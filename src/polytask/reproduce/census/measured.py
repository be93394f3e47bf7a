"""What was measured of a method: over all initialisations, and of the run that its validation AUC would choose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from polytask.reproduce.census.chain import Chain
from polytask.reproduce.census.experiment import Group, MethodName
from polytask.reproduce.census.outcome import Outcome
from polytask.reproduce.census.settings import Settings


@dataclass(frozen=True, slots=True)
class TaskAuc:
    """The test AUC of one task.

    Attributes:
        best: Of the run with the highest validation AUC of the main task (of this task, if it has a model of its own).
        values: Of all runs that did not diverge.
    """

    best: float
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over runs."""
        return fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """The standard deviation over runs; NaN for a single one."""
        return stdev(self.values) if len(self.values) > 1 else math.nan


@dataclass(frozen=True, slots=True)
class Measured:
    """A method in one group.

    Attributes:
        method: The method.
        settings: What the tuner chose, per model.
        tasks: Test AUC of the main task, then of the auxiliary one.
        diverged: Runs whose loss was not finite.
        seconds: Of one processor, for all trials and runs.
        trained: Mean validation AUC of the objective over runs, per model.
        parameters: Of all models together.
    """

    method: MethodName
    settings: Mapping[str, Settings]
    tasks: tuple[TaskAuc, TaskAuc]
    diverged: int
    seconds: float
    trained: Mapping[str, float]
    parameters: int

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "method": self.method,
            "settings": {name: dict(found) for name, found in self.settings.items()},
            "validation": dict(self.trained),
            "parameters": self.parameters,
            "diverged": self.diverged,
            "processor_seconds": self.seconds,
            **{
                role: {"best": auc.best, "mean": auc.mean, "std": auc.std, "values": list(auc.values)}
                for role, auc in zip(("main", "auxiliary"), self.tasks, strict=True)
            },
        }


def measure(group: Group, chains: Sequence[Chain]) -> list[Measured]:
    """All methods of a group whose chains are done."""
    return [
        _measured(group, method, [chain for chain in chains if chain.method == method])
        for method in dict.fromkeys(chain.method for chain in chains)
    ]


def _measured(group: Group, method: MethodName, chains: Sequence[Chain]) -> Measured:
    of_task = {task: next(chain for chain in chains if chain.task in (None, task)) for task in group.order}
    main, auxiliary = (_auc(task, chain) for task, chain in of_task.items())
    every = [outcome for chain in chains for outcome in (*chain.trials, *chain.outcomes)]
    return Measured(
        method,
        {chain.task or "both": chain.chosen().settings for chain in chains},
        (main, auxiliary),
        sum(bool(outcome.diverged) for chain in chains for outcome in chain.outcomes),
        sum(outcome.seconds for outcome in every),
        {chain.task or "both": _mean(chain) for chain in chains},
        sum(chain.chosen().parameters for chain in chains),
    )


def _auc(task: str, chain: Chain) -> TaskAuc:
    known = _finite(chain)
    best = max(known, key=lambda outcome: outcome.objective(chain.objective), default=None)
    return TaskAuc(math.nan if best is None else best.test[task], tuple(outcome.test[task] for outcome in known))


def _mean(chain: Chain) -> float:
    known = [outcome.objective(chain.objective) for outcome in _finite(chain)]
    return fmean(known) if known else math.nan


def _finite(chain: Chain) -> list[Outcome]:
    return [outcome for outcome in chain.outcomes if not math.isnan(outcome.objective(chain.objective))]
