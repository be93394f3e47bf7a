"""Affinities from trainings of all pairs: what a task gains beside each partner, against training alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from polytask.comparing.lab import Lab
from polytask.comparing.outcome import Outcome
from polytask.comparing.plan import Method, Run, TaskGroup
from polytask.comparing.progress import Display
from polytask.comparing.work import do_runs
from polytask.config import Config
from polytask.grouping.affinity import Affinity, chain_units, mean_known
from polytask.grouping.methods import alone, once, task_group, together
from polytask.grouping.objective import Group, Matrix
from polytask.training.prepared import Prepared

Unit = tuple[int, ...]


def train_pairs(
    config: Config, prepared: Prepared, out: Path, seeds: Sequence[int], display: Display, workers: int
) -> Affinity:
    """Trains every task alone and every two together, with the same budget.

    The affinity of j to i is the share of its validation loss alone that task i saves beside j, in training with the
    same seed: ``1 - loss(i beside j) / loss(i alone)``. Tasks of one chain are one unit: they are trained together
    "alone", what they give each other is not known, and what they receive from a partner outside counts for each.

    Paper: Standley et al., "Which Tasks Should Be Learned Together in Multi-task Learning?", ICML 2020,
    https://arxiv.org/abs/1905.07553 (section 4, where all groups are trained; pairs are their cheaper estimate).

    Args:
        config: What to train.
        prepared: Its data.
        out: The folder of the grouping.
        seeds: The seeds; each gives one sample.
        display: Shows how far it is.
        workers: Runs at a time.
    """
    runs = once(pair_runs(config, seeds))
    outcomes = do_runs(Lab(config, prepared, out), runs, display, workers=workers)
    samples = np.stack([_gains(config, seed, outcomes) for seed in seeds])
    of = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    failures = tuple((run.key, one.failure.what) for run in runs if (one := outcomes[run.key]).failure is not None)
    units = chain_units(config)
    return Affinity("pairs", tuple(config.tasks), mean_known(samples), samples, of, units, failures)


def pair_runs(config: Config, seeds: Sequence[int]) -> Iterator[Run]:
    """All runs, seed after seed."""
    units = chain_units(config)
    for seed in seeds:
        yield from (_alone(config, unit, seed) for unit in units)
        yield from (_beside(config, one, other, seed) for one, other in combinations(units, 2))


def pair_methods(config: Config) -> list[Method]:
    """Every model of several tasks, to be checked before any training."""
    groups = [run.group for run in pair_runs(config, [0]) if run.group is not None]
    return [_pairs(config, groups)]


def _pairs(config: Config, groups: Sequence[TaskGroup]) -> Method:
    return together("together", config, groups)


def _alone(config: Config, unit: Unit, seed: int) -> Run:
    (name, *more) = _group(config, unit).tasks
    return Run(_pairs(config, ()), seed, group=_group(config, unit)) if more else Run(alone(config), seed, name)


def _beside(config: Config, one: Unit, other: Unit, seed: int) -> Run:
    return Run(_pairs(config, ()), seed, group=_group(config, (*one, *other)))


def _group(config: Config, tasks: Unit) -> TaskGroup:
    return task_group(Group(tuple(sorted(tasks)), tuple(sorted(tasks))), tuple(config.tasks))


def _gains(config: Config, seed: int, outcomes: Mapping[str, Outcome]) -> Matrix:
    """``[from, to]`` of one seed."""
    names, units = list(config.tasks), chain_units(config)
    found = np.full((len(names), len(names)), math.nan)
    for unit in units:
        before = _losses(outcomes[_alone(config, unit, seed).key])
        for other in units:
            if other == unit:
                continue
            first, second = sorted((unit, other))
            after = _losses(outcomes[_beside(config, first, second, seed).key])
            for task in unit:
                loss = before.get(names[task], math.nan)
                if loss > 0:
                    found[list(other), task] = 1.0 - after.get(names[task], math.nan) / loss
    return found


def _losses(outcome: Outcome) -> dict[str, float]:
    """Per task the validation loss in shares of the constant prediction's."""
    return {task: 1.0 - scores["improvement"] for task, scores in outcome.scores.get("validation", {}).items()}
