"""The predictions of a model on one batch beside the labels, task by task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polytask.decisions import Decisions
from polytask.evaluation.scores import calibrated
from polytask.model import Model
from polytask.tasks import Task
from polytask.types import Batch, TaskName

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Predicted:
    """The observed rows of one task.

    Attributes:
        task: The task, or a joint probability.
        predictions: One value a row, or one per class.
        labels: What was seen.
        weights: Sample weights; None: all are 1.
        loss: Mean loss of these predictions, the one that selects weights; NaN without rows.
    """

    task: Task
    predictions: Floats
    labels: Floats
    weights: Floats | None
    loss: float


def measured_tasks(model: Model) -> dict[TaskName, Task]:
    """The tasks of a model and the joint probabilities of chained ones: all that have scores."""
    return {task.name: task for task in (*model.tasks, *model.joints.values())}


def predict_observed(model: Model, batch: Batch, decisions: Decisions | None = None) -> dict[TaskName, Predicted]:
    """Predictions of all tasks and joint probabilities on the rows that carry their labels.

    Args:
        model: In evaluation mode.
        batch: Labelled rows, on any device.
        decisions: Calibration that predictions go through.
    """
    batch = model.with_joints(batch.to(next(model.parameters()).device))
    found = calibrated(decisions, model.predict(batch.features))
    result = {}
    for name, task in measured_tasks(model).items():
        observed, weights = batch.observed[name], batch.weights.get(name)
        predictions, labels = found[name][observed], batch.labels[name][observed]
        weights = None if weights is None else weights[observed]
        metric = task.selection()
        metric.update(predictions, labels, weights)
        arrays = [None if one is None else one.double().cpu().numpy() for one in (predictions, labels, weights)]
        assert arrays[0] is not None and arrays[1] is not None
        result[name] = Predicted(task, arrays[0], arrays[1], arrays[2], metric.model_loss)
    return result
