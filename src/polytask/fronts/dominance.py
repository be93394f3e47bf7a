"""Which points no other point dominates, and the volume that they dominate together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

CHUNK = 2**24
"""Comparisons made at once: 16 MiB."""


def non_dominated(values: Float64[np.ndarray, "points tasks"]) -> Bool[np.ndarray, "points"]:
    """Which points no other point dominates: as small for every task, and smaller for one. Equal points all stay.

    Every point is compared with those that have a smaller sum, which all that dominate it have.

    Args:
        values: Smaller is better.

    Example:
        >>> non_dominated(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0]])).tolist()
        [True, True, False]
    """
    kept = np.ones(len(values), dtype=bool)
    # ranks in the place of values: sums of ranks are exact, so that a dominating point always has the smaller one
    ranks = np.stack([np.unique(column, return_inverse=True)[1] for column in values.T], axis=1)
    order = np.argsort(ranks.sum(axis=1), kind="stable")
    best = ranks[:0]
    size = max(1, CHUNK // max(values.size, 1))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        rivals = np.concatenate([best, ranks[rows]])
        no_worse = np.all(rivals[None] <= ranks[rows][:, None], axis=2)
        better = np.any(rivals[None] < ranks[rows][:, None], axis=2)
        kept[rows] = ~np.any(no_worse & better, axis=1)
        best = np.concatenate([best, ranks[rows][kept[rows]]])
    return kept


def dominated_volume(values: Float64[np.ndarray, "points tasks"], reference: Float64[np.ndarray, "tasks"]) -> float:
    """The hypervolume: the volume of all that some point dominates and that dominates the reference.

    Exact. Two tasks take one sort; for more, points are taken from the best to the worst of the last task: what each
    adds is its own box less what those before it have of it, a volume of one dimension less.

    Method: WFG; While, Bradstreet and Barone, "A fast way of calculating exact hypervolumes", IEEE Trans. Evol. Comput.
    16, 2012, https://doi.org/10.1109/TEVC.2010.2077298

    Args:
        values: Smaller is better.
        reference: Points that are not better than it for every task add nothing.

    Example:
        >>> dominated_volume(np.array([[1.0, 3.0], [2.0, 2.0]]), np.array([4.0, 4.0]))
        5.0
    """
    gains = reference - values
    return _volume(gains[(gains > 0.0).all(axis=1)])


def _volume(gains: Float64[np.ndarray, "points tasks"]) -> float:
    """The volume of the union of all boxes between 0 and a point."""
    if len(gains) == 0:
        return 0.0
    if len(gains) == 1:
        return float(gains[0].prod())
    if gains.shape[1] == 1:
        return float(gains.max())
    gains = gains[np.argsort(-gains[:, -1], kind="stable")]
    if gains.shape[1] == 2:
        before = np.concatenate([[0.0], np.maximum.accumulate(gains[:-1, 0])])
        return float((np.maximum(gains[:, 0] - before, 0.0) * gains[:, 1]).sum())
    total, rest = 0.0, gains[:, :-1]
    for number, own in enumerate(rest):
        common = np.minimum(rest[:number], own)
        if number > 1 and common.shape[1] > 2:  # in two dimensions the sort alone is cheaper
            common = common[non_dominated(-common)]
        total += float(gains[number, -1]) * (float(own.prod()) - _volume(common))
    return total
