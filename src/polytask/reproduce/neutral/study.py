"""All trainings: settings are tried, static weights too, then the best of every method is trained from many seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polytask.reproduce.neutral.experiment import EQUAL, SINGLE, STATIC, DataSet, NeutralExperiment
from polytask.reproduce.neutral.methods import Variant, static_weights
from polytask.reproduce.neutral.training import Job, Outcome
from polytask.reproduce.neutral.work import Workshop

TRIAL, RUN = 0, 1
Tasks = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a variant.

    Attributes:
        variant: What was trained.
        trials: All settings that were tried.
        runs: One per seed, with the best of these.
    """

    variant: Variant
    trials: tuple[Outcome, ...]
    runs: tuple[Outcome, ...]

    @property
    def chosen(self) -> Outcome:
        """The trial with the best validation score; the first of equals."""
        return best(self.trials)


def best(trials: Sequence[Outcome]) -> Outcome:
    """The trial with the best validation score; the first of equals."""
    return max(trials, key=lambda outcome: outcome.objective)


def study(experiment: NeutralExperiment, tasks: Sequence[Tasks], workshop: Workshop) -> list[list[Trained]]:
    """Trains everything; per data set what came of its variants, tuned static weights behind the balancers.

    Args:
        experiment: All settings.
        tasks: Per data set the names of its tasks.
        workshop: Does the trainings.
    """
    every = [
        list(variants(experiment, data_set, names)) for data_set, names in zip(experiment.data_sets, tasks, strict=True)
    ]
    trials = _trials(experiment, every, workshop)
    fixed = [
        static_weights(experiment.static, len(names), experiment.seed + number) for number, names in enumerate(tasks)
    ]
    equal = [trials[number, Variant(EQUAL)] for number in range(len(tasks))]
    jobs = [
        _trial(experiment, number, Variant(STATIC, weights), best(equal[number]).learning_rate, f"weights-{place}")
        for number, settings in enumerate(fixed)
        for place, weights in enumerate(settings)
    ]
    tried = iter(workshop.do("static weights", jobs))
    for number, settings in enumerate(fixed):
        # equal weights are static weights as well, at every learning rate
        same = tuple(replace(one, weights=(1.0,) * len(tasks[number])) for one in equal[number])
        found = (*same, *(next(tried) for _ in settings))
        every[number].append(Variant(STATIC))
        trials[number, Variant(STATIC)] = found
    return _runs(experiment, every, trials, workshop)


def variants(experiment: NeutralExperiment, data_set: DataSet, tasks: Tasks) -> Iterator[Variant]:
    """What tries all learning rates."""
    if data_set.network.singles == "together":
        yield Variant(SINGLE)
    else:
        yield from (Variant(SINGLE, task=task) for task in tasks)
    yield from (Variant(method) for method in experiment.methods)


Tried = dict[tuple[int, Variant], tuple[Outcome, ...]]


def _trials(experiment: NeutralExperiment, every: Sequence[Sequence[Variant]], workshop: Workshop) -> Tried:
    jobs = [
        _trial(experiment, number, variant, rate, f"{rate:g}")
        for number, found in enumerate(every)
        for variant in found
        for rate in experiment.data_sets[number].train.learning_rates
    ]
    tried: dict[tuple[int, Variant], list[Outcome]] = {}
    for job, outcome in zip(jobs, workshop.do("trial", jobs), strict=True):
        tried.setdefault((job.data_set, job.variant), []).append(outcome)
    return {key: tuple(found) for key, found in tried.items()}


def _runs(
    experiment: NeutralExperiment, every: Sequence[Sequence[Variant]], trials: Tried, workshop: Workshop
) -> list[list[Trained]]:
    jobs, keys = [], []
    for seed in range(experiment.seeds):  # seed by seed: what is done when a study is cut short can be used
        for number, found in enumerate(every):
            for variant in found:
                chosen = best(trials[number, variant])
                job = Job(
                    number, replace(variant, weights=chosen.weights), chosen.learning_rate,
                    _seed(experiment, RUN, seed), _file(experiment, number, variant, f"run-{seed:03d}"),
                )  # fmt: skip
                jobs.append(job)
                keys.append((number, variant))
    runs: dict[tuple[int, Variant], list[Outcome]] = {key: [] for key in keys}
    for key, outcome in zip(keys, workshop.do("run", jobs), strict=True):
        runs[key].append(outcome)
    return [
        [Trained(variant, trials[number, variant], tuple(runs[number, variant])) for variant in found]
        for number, found in enumerate(every)
    ]


def _trial(experiment: NeutralExperiment, number: int, variant: Variant, rate: float, name: str) -> Job:
    seed = _seed(experiment, TRIAL, 0)
    return Job(number, variant, rate, seed, _file(experiment, number, variant, f"trial-{name}"))


def _seed(experiment: NeutralExperiment, part: int, number: int) -> int:
    """The same for all variants: of initial weights and order."""
    return int(np.random.SeedSequence([experiment.seed, part, number]).generate_state(1)[0])


def _file(experiment: NeutralExperiment, number: int, variant: Variant, name: str) -> str:
    return f"{experiment.data_sets[number].name}/{variant.name}/{name}.json"
