"""Scores of a model on some rows: per task, with metrics of the task's own kind, inside its own sample space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch

from polytask.decisions import Decisions
from polytask.metrics import F1, BinaryAccuracy, Metric, Precision, Recall, RelativeImprovement
from polytask.model import Model
from polytask.tasks import Task
from polytask.types import Batch, TaskName

Scores = dict[TaskName, dict[str, float]]


class TaskScorer:
    """Gathers one task's metrics, or those of a joint probability.

    Args:
        task: The task.
        group: The group column of its grouped metrics.
        threshold: Where its predictions are cut; None: nowhere.
    """

    def __init__(self, task: Task, group: str | None, threshold: float | None = None) -> None:
        self._name, self._group = task.name, group
        self._metrics: dict[str, Metric] = task.metrics(grouped=group is not None)
        if threshold is not None:
            cut = (BinaryAccuracy(threshold=threshold), Precision(threshold), Recall(threshold), F1(threshold))
            self._metrics |= {metric.name: metric for metric in cut}
        self._selection: RelativeImprovement = task.selection()
        self._rows = 0

    def update(self, predictions: torch.Tensor, batch: Batch) -> None:
        """Adds the observed rows of one batch."""
        name = self._name
        observed = batch.observed[name]
        weights = batch.weights.get(name)
        groups = batch.groups[self._group] if self._group else None
        labels = batch.labels[name]
        if not bool(observed.all()):
            predictions, labels = predictions[observed], labels[observed]
            weights = None if weights is None else weights[observed]
            groups = None if groups is None else groups[observed]
        self._rows += len(labels)
        for metric in (*self._metrics.values(), self._selection):
            metric.update(predictions, labels, weights, groups)

    def compute(self) -> dict[str, float]:
        """All metrics, the selection score, and how many rows they rest on."""
        scores = {name: metric.compute() for name, metric in self._metrics.items()}
        return {**scores, "improvement": self._selection.compute(), "rows": self._rows}


def score(
    model: Model,
    batches: Iterable[Batch],
    groups: Mapping[TaskName, str] | None = None,
    decisions: Decisions | None = None,
) -> Scores:
    """Evaluates all tasks, and the joint probabilities of chained ones, in one pass.

    Args:
        model: In any mode; it is put back into it.
        batches: Labelled rows.
        groups: Per task, the group column of its grouped metrics.
        decisions: Calibration that predictions go through, and thresholds, whose labels are scored as well.

    Returns:
        ``{task: {metric: value}}``; NaN where a metric is undefined on these rows.
    """
    found = groups or {}
    cuts = {} if decisions is None else {name: own.value for name, own in decisions.thresholds.items()}
    scorers = {task.name: TaskScorer(task, found.get(task.name), cuts.get(task.name)) for task in model.tasks}
    scorers |= {joint.name: TaskScorer(joint, found.get(name)) for name, joint in model.joints.items()}
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    for batch in batches:
        batch = model.with_joints(batch.to(device))
        predictions = calibrated(decisions, model.predict(batch.features))
        for name, scorer in scorers.items():
            scorer.update(predictions[name], batch)
    model.train(training)
    return {name: scorer.compute() for name, scorer in scorers.items()}


def calibrated(decisions: Decisions | None, predictions: Mapping[TaskName, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Predictions through the calibration of their tasks, on the device where they are."""
    if decisions is None or not decisions.calibration:
        return dict(predictions)
    own = {name: predictions[name].float().cpu().numpy() for name in decisions.calibration}
    known = {name: torch.from_numpy(values) for name, values in decisions.calibrated(own).items()}
    return {name: known[name].to(values.device) if name in own else values for name, values in predictions.items()}


def selection_score(scores: Scores, weights: Mapping[TaskName, float] | None = None) -> float:
    """What selects a model: the mean over tasks of the share of the constant prediction's loss that it saves.

    Args:
        scores: Of all tasks.
        weights: Of tasks in the mean; 1 for a task without.

    Example:
        >>> found = {"a": {"improvement": 0.2}, "b": {"improvement": 0.4}, "c": {"improvement": math.nan}}
        >>> selection_score(found), selection_score(found, {"a": 0.0})
        (0.30000000000000004, 0.4)
    """
    given = weights or {}
    known = {name: given.get(name, 1.0) for name, values in scores.items() if not math.isnan(values["improvement"])}
    total = sum(known.values())
    return sum(weight * scores[name]["improvement"] for name, weight in known.items()) / total if total else math.nan
