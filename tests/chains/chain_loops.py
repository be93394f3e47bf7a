"""Chains one task and one row at a time, in numpy: slow, and near the papers' formulas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def sigmoid(z: npt.ArrayLike) -> Floats:
    return 1 / (1 + np.exp(-np.asarray(z, dtype=np.float64)))


def cross_entropy(label: float, probability: float) -> float:
    return float(-label * np.log(probability) - (1 - label) * np.log(1 - probability))


def path(parents: tuple[int, ...], task: int) -> list[int]:
    found = [task]
    while parents[found[-1]] >= 0:
        found.append(parents[found[-1]])
    return found


def joint_label(parents: tuple[int, ...], task: int, labels: Floats, observed: npt.NDArray[np.bool_]) -> float | None:
    """1, 0, or None where it is not known; walks from the root down."""
    for step in reversed(path(parents, task)):
        if not observed[step]:
            return None
        if labels[step] == 0:
            return 0.0
    return 1.0


def joint_probability(parents: tuple[int, ...], task: int, logits: Floats) -> float:
    return float(np.prod([sigmoid(logits[step]) for step in path(parents, task)]))


def esmm(parents: tuple[int, ...], logits: Floats, labels: Floats) -> Floats:
    losses = np.zeros_like(logits)
    for task, row in np.ndindex(logits.shape):
        losses[task, row] = cross_entropy(labels[task, row], joint_probability(parents, task, logits[:, row]))
    return losses


def escm2(
    parents: tuple[int, ...],
    logits: Floats,
    labels: Floats,
    guesses: Floats | None,
    *,
    cvr: float,
    ctcvr: float,
    clip: float,
) -> Floats:
    losses = esmm(parents, logits, labels)
    for task, row in np.ndindex(logits.shape):
        parent = parents[task]
        if parent < 0:
            continue
        happened = labels[parent, row]
        propensity = max(joint_probability(parents, parent, logits[:, row]), clip)
        error = cross_entropy(labels[task, row], float(sigmoid(logits[task, row])))
        if guesses is None:
            estimate = happened * error / propensity
        else:
            guess = guesses[task, row]
            estimate = guess + happened * (error - guess) / propensity + happened * (error - guess) ** 2 / propensity
        losses[task, row] = cvr * estimate + ctcvr * losses[task, row]
    return losses


def aitm_losses(parents: tuple[int, ...], logits: Floats, labels: Floats, alpha: float) -> Floats:
    losses = np.zeros_like(logits)
    for task, row in np.ndindex(logits.shape):
        own = float(sigmoid(logits[task, row]))
        losses[task, row] = cross_entropy(labels[task, row], own)
        if parents[task] >= 0:
            losses[task, row] += alpha * max(own - float(sigmoid(logits[parents[task], row])), 0.0)
    return losses
