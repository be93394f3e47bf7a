"""What a step of every method costs: all take turns on the same batches, so that other load hits them alike."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from polytask.data.images import LabelledImages
from polytask.reproduce.sener.experiment import Group
from polytask.reproduce.sener.methods import variants
from polytask.reproduce.sener.network import MultiTaskNetwork
from polytask.reproduce.sener.training import Job, Steps, shuffled

WARM_UP = 3


def step_seconds(group: Group, images: LabelledImages, *, rounds: int, seed: int) -> Mapping[str, list[float]]:
    """Per method the processor seconds of one step, in every round; of single-task networks of all together.

    Args:
        group: The methods.
        images: Batches are drawn from these.
        rounds: Steps of every method.
        seed: Of the batches.
    """
    order = np.random.default_rng(seed)
    steps: dict[str, list[tuple[str | None, Steps]]] = {}
    for variant in variants(group, images.tasks):
        network = MultiTaskNetwork(group, 1 if variant.task else len(images.tasks))
        job = Job(0, variant, group.train.learning_rates[0], seed, "")
        if variant.method != "static" or variant.method not in steps:  # all static weights cost the same
            steps.setdefault(variant.method, []).append((variant.task, Steps(network, job, group)))
    found: dict[str, list[float]] = {method: [] for method in steps}
    for number in range(WARM_UP + rounds):
        pixels, labels = next(shuffled(images, group.train.batch_size, order))
        for method, made in steps.items():
            began = time.process_time()
            for task, one in made:
                one.step(pixels, labels if task is None else labels[[images.tasks.index(task)]])
            if number >= WARM_UP:
                found[method].append(time.process_time() - began)
    return found
