"""Paired bootstrap of AUC: units (users, or rows) are drawn with replacement, the same draw for every model.

The intervals speak of the test rows only: how far the figures would move with other users. What other seeds would
change is the spread over seeds, which stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.labels import Labels

Floats = NDArray[np.float64]
Predictions = NDArray[np.float32]


class Ranking:
    """Scores sorted once, so that the AUC under any row weights costs one cumulative sum; ties count one half.

    Args:
        scores: ``[rows]``.
        positive: ``[rows]``.

    Example:
        >>> ranking = Ranking(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        >>> ranking.auc(np.ones(4)), ranking.auc(np.array([1.0, 2.0, 1.0, 0.0]))
        (0.75, 0.3333333333333333)
    """

    def __init__(self, scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> None:
        order = np.argsort(scores, kind="stable")
        ranked, positive = scores[order], positive[order]
        self._negatives = order[~positive]
        self._positives = order[positive]
        below = ranked[~positive]
        self._first = np.searchsorted(below, ranked[positive], side="left")
        self._last = np.searchsorted(below, ranked[positive], side="right")

    def auc(self, weights: Floats) -> float:
        """Weighted AUC; NaN where one class has no weight.

        Args:
            weights: ``[rows]``, how often each row was drawn.
        """
        below = np.zeros(len(self._negatives) + 1)
        np.cumsum(weights[self._negatives], out=below[1:])
        own = weights[self._positives]
        pairs = own.sum() * below[-1]
        return float(own @ (below[self._first] + below[self._last]) / (2.0 * pairs)) if pairs > 0.0 else float("nan")


def exact_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; ties count one half, NaN with one class only."""
    return Ranking(scores, positive).auc(np.ones(len(scores)))


def task_aucs(predictions: Predictions, labels: Labels) -> Floats:
    """Exact AUC per seed and task, ``[seeds, tasks]``.

    Args:
        predictions: ``[seeds, tasks, rows]``.
        labels: Of the same rows.
    """
    known = labels.observed
    return np.array(
        [
            [exact_auc(scores[known[t]], labels.positive[t, known[t]]) for t, scores in enumerate(seed)]
            for seed in predictions
        ]
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference of AUC between two models.

    Attributes:
        value: On the test rows as they are.
        low: 2.5 % quantile over the resamples.
        high: 97.5 % quantile over the resamples.
        undefined: Resamples without an AUC (no positive was drawn); they are left out.
    """

    value: float
    low: float
    high: float
    undefined: int = 0


@dataclass(frozen=True)
class Resampled:
    """AUC of several models on the test rows and on the same resamples of them.

    Attributes:
        tasks: The tasks' names.
        mean_of_seeds: Per model ``[1 + resamples, tasks]``: the mean over seeds of each seed's AUC; the first line is
            that of the rows as they are.
        averaged: The same for the AUC of the predictions averaged over seeds.
    """

    tasks: tuple[str, ...]
    mean_of_seeds: Mapping[str, Floats]
    averaged: Mapping[str, Floats]

    def difference(self, left: str, right: str, tasks: Sequence[str], *, averaged: bool = False) -> Interval:
        """Mean over ``tasks`` of the AUC of model ``left`` less that of ``right``."""
        values = self.averaged if averaged else self.mean_of_seeds
        columns = [self.tasks.index(task) for task in tasks]
        draws = (values[left] - values[right])[:, columns].mean(axis=1)
        kept = draws[1:][~np.isnan(draws[1:])]
        if not len(kept):
            return Interval(float(draws[0]), float("nan"), float("nan"), len(draws) - 1)
        low, high = np.quantile(kept, (0.025, 0.975)).tolist()
        return Interval(float(draws[0]), low, high, len(draws) - 1 - len(kept))


def resample(models: Mapping[str, Predictions], labels: Labels, *, resamples: int, seed: int = 0) -> Resampled:
    """Takes the AUC of every model, seed and task under every resample.

    Args:
        models: Per model its predictions ``[seeds, tasks, rows]``.
        labels: Of the same rows.
        resamples: How often units are drawn.
        seed: Of the draws.
    """
    known = [np.flatnonzero(observed) for observed in labels.observed]
    rankings = {
        name: [
            [Ranking(scores[rows], labels.positive[task, rows]) for scores in (*predictions[:, task], mean[task])]
            for task, rows in enumerate(known)
        ]
        for name, predictions in models.items()
        for mean in [predictions.astype(np.float64).mean(axis=0)]
    }
    shape = (1 + resamples, len(labels.tasks))
    mean_of_seeds = {name: np.empty(shape) for name in models}
    averaged = {name: np.empty(shape) for name in models}
    for draw, weights in enumerate(_weights(labels.units, resamples, seed)):
        for task, rows in enumerate(known):
            own = weights[rows]
            for name in models:
                *seeds, mean = [ranking.auc(own) for ranking in rankings[name][task]]
                mean_of_seeds[name][draw, task] = np.mean(seeds)
                averaged[name][draw, task] = mean
    return Resampled(labels.tasks, mean_of_seeds, averaged)


def _weights(units: NDArray[np.int64], resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row counts: once each, then as often as its unit was drawn."""
    yield np.ones(len(units))
    rng = np.random.default_rng(seed)
    count = int(units.max()) + 1
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        yield drawn[units]
