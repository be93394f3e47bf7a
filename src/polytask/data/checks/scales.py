"""Losses of very different size: which task would drown the others under equal weights."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from polytask.data.checks.bound import BoundTask
from polytask.data.checks.parts import PartName
from polytask.data.checks.tally import LabelTally
from polytask.errors import Problem

APART = 30.0  # ratio of losses from which the larger one decides alone


def constant_loss(task: BoundTask, train: LabelTally, *, scaled: bool = True) -> float:
    """The mean training loss of predicting the same for every row, in the unit of the task's loss.

    Entropy of the class frequencies; 1 for a regression with scaled target, the label's variance otherwise; for counts
    the mean Poisson loss ``m - m log m`` at the mean ``m``, by its absolute value.
    """
    if task.spec.kind == "regression":
        return 1.0 if scaled else train.variance
    if task.spec.kind == "count":
        mean = train.mean
        return abs(mean - mean * math.log(mean)) if mean > 0 else float("nan")
    counts = np.array(list(train.counts.values()), dtype=np.float64)
    shares = counts / counts.sum() if len(counts) else np.ones(1)
    return float(-(shares * np.log(shares)).sum())


def scale_problems(
    tasks: Collection[BoundTask],
    tallies: Mapping[str, Mapping[PartName, LabelTally]],
    *,
    unscaled: Collection[str] = (),
    balancer: str = "equal",
) -> list[Problem]:
    """A warning when a numeric task's loss is far above all others and the balancer takes losses as they come."""
    if len(tasks) < 2 or balancer != "equal":
        return []
    losses = {
        task.spec.task: constant_loss(task, tallies[task.spec.task]["train"], scaled=task.spec.task not in unscaled)
        for task in tasks
        if tallies[task.spec.task].get("train", LabelTally()).observed
    }
    numeric = {task.spec.task for task in tasks if task.spec.kind in ("regression", "count")}
    problems = []
    for name in sorted(numeric & set(losses)):
        others = [loss for other, loss in losses.items() if other != name and math.isfinite(loss) and loss > 0]
        if others and math.isfinite(losses[name]) and losses[name] > APART * max(others):
            what = (
                f"its loss starts near {losses[name]:,.3g}, all others at most at {max(others):.3g}: it decides alone"
            )
            remedy = 'use [balancer] use = "uncertainty"' + (
                ', or target scaling = "standard"' if name in unscaled else ""
            )
            problems.append(Problem(f"tasks.{name}", what, remedy, "warning"))
    return problems
