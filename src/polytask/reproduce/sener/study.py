"""All trainings of one group: learning rates are tried, then the best of every variant is trained from many seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polytask.reproduce.sener.experiment import Group, SenerExperiment
from polytask.reproduce.sener.methods import Variant, variants
from polytask.reproduce.sener.training import Job, Outcome
from polytask.reproduce.sener.work import Workshop

TRIAL, RUN = 0, 1


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a variant.

    Attributes:
        variant: What was trained.
        trials: One per learning rate.
        runs: One per seed, with the best of these.
    """

    variant: Variant
    trials: tuple[Outcome, ...]
    runs: tuple[Outcome, ...]

    @property
    def learning_rate(self) -> float:
        """The best on validation; the first of equals."""
        return best(self.trials).learning_rate


def best(trials: tuple[Outcome, ...]) -> Outcome:
    """The trial with the best mean validation accuracy."""
    return max(trials, key=lambda outcome: outcome.objective)


def study(
    experiment: SenerExperiment, number: int, tasks: tuple[str, ...], workshop: Workshop
) -> Mapping[Variant, Trained]:
    """Trains all variants of a group.

    Args:
        experiment: All settings.
        number: Of the group.
        tasks: Names of its tasks.
        workshop: Does the trainings.
    """
    group = experiment.groups[number]
    every = list(variants(group, tasks))
    rates = group.train.learning_rates
    jobs = [
        Job(number, variant, rate, _seed(experiment, TRIAL, 0), _file(group, variant, f"trial-{rate:g}"))
        for variant in every
        for rate in rates
    ]
    found = workshop.do(f"{group.name}, trial", jobs)
    trials = {
        variant: tuple(found[place * len(rates) : (place + 1) * len(rates)]) for place, variant in enumerate(every)
    }
    jobs = [
        Job(number, variant, best(trials[variant]).learning_rate, _seed(experiment, RUN, seed), file)
        # seed by seed: an interrupted study holds whole rows of the table
        for seed in range(experiment.seeds)
        for variant in every
        for file in [_file(group, variant, f"run-{seed:03d}")]
    ]
    runs = workshop.do(f"{group.name}, run", jobs)
    return {
        variant: Trained(variant, trials[variant], tuple(runs[place :: len(every)]))
        for place, variant in enumerate(every)
    }


def _seed(experiment: SenerExperiment, part: int, number: int) -> int:
    """The same for all variants: of initial weights and order."""
    return int(np.random.SeedSequence([experiment.seed, part, number]).generate_state(1)[0])


def _file(group: Group, variant: Variant, name: str) -> str:
    return f"{group.name}/{variant.name}/{name}.json"
