"""What the losses of tasks are measured in: the loss of the best constant prediction."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from polytask.config import Config
from polytask.errors import Problem, UserError
from polytask.serving.bundle import fitted_model
from polytask.training.loop import EVALUATION_ROWS
from polytask.training.prepared import Prepared
from polytask.training.step import targets, task_losses

BATCHES = 8


def constant_losses(config: Config, prepared: Prepared) -> dict[str, float]:
    """Per task the training loss of the constant prediction, which every model starts near.

    It is the loss of a new model whose last layers read nothing, on some shuffled training rows, so that it is the
    task's own loss, options and chain included.

    Raises:
        UserError: If one is not above 0.
    """
    with torch.random.fork_rng(), torch.no_grad():
        model = fitted_model(config, prepared.preprocessor).eval()
        for layer in model.heads.layers:
            layer.get_parameter("weight").zero_()
        rows = prepared.reader("train").shuffled(EVALUATION_ROWS, seed=0)
        chance = np.random.default_rng(0)
        totals, counts = torch.zeros(len(model.tasks)), torch.zeros(len(model.tasks))
        for _, batch in itertools.islice(
            rows, min(BATCHES, prepared.reader("train").batches_per_epoch(EVALUATION_ROWS))
        ):
            own = targets(model, batch, chance)
            (losses,), present, _ = task_losses(model, [(batch, own)])
            weight = own.weights.sum(1) * present
            totals, counts = totals + losses * weight, counts + weight
    found = {task.name: value for task, value in zip(model.tasks, (totals / counts).tolist(), strict=True)}
    raise_unusable(found)
    return found


def raise_unusable(units: dict[str, float]) -> None:
    """Refuses what nothing can be divided by.

    Raises:
        UserError: If a loss is not above 0.
    """
    problems = [
        Problem(f"tasks.{task}", f"the constant prediction has the loss {value:g}", "say pareto.scaled = false")
        for task, value in units.items()
        if not value > 0
    ]
    if problems:
        raise UserError(problems)
