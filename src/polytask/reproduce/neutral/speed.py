"""What a step of every method costs: all take turns, so that other load hits them alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

from polytask.reproduce.neutral.experiment import EQUAL, NeutralExperiment
from polytask.reproduce.neutral.methods import Variant
from polytask.reproduce.neutral.training import Job, new_training
from polytask.reproduce.neutral.work import Lab
from polytask.training.step import StepRecord

WARM_UP = 3


def step_seconds(experiment: NeutralExperiment, number: int, lab: Lab) -> Mapping[str, float]:
    """Per balancer the median of the processor seconds of a step, at the lowest learning rate.

    Args:
        experiment: All settings.
        number: Of the data set.
        lab: Has its rows.

    Raises:
        NonFiniteError: A loss is not finite.
    """
    data_set = experiment.data_sets[number]
    rate = min(data_set.train.learning_rates)
    rounds = WARM_UP + experiment.speed_rounds
    untested = data_set.train.model_copy(update={"steps": rounds + 1, "evaluations": 1})
    shown = data_set.model_copy(update={"train": untested})
    running = {
        method: iter(new_training(Job(number, Variant(method), rate, experiment.seed, ""), shown, lab.material(number)))
        for method in dict.fromkeys((EQUAL, *experiment.methods))
    }
    found: dict[str, list[float]] = {method: [] for method in running}
    for turn in range(rounds):
        for method, training in running.items():
            began = time.process_time()
            record = next(training)
            assert isinstance(record, StepRecord)
            if turn >= WARM_UP:
                found[method].append(time.process_time() - began)
    return {method: median(seconds) for method, seconds in found.items()}
