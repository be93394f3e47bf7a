"""How well a score ranks the rows of each group (user, query): NDCG and GAUC, fast enough for thousands of scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Int

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Groups:
    """Rows ordered by group, groups by size: groups of one size are sorted as one matrix.

    Attributes:
        order: The rows in that order.
        starts: Where each group begins.
        sizes: Rows per group, ascending.
    """

    order: Int[np.ndarray, "rows"]
    starts: Int[np.ndarray, "groups"]
    sizes: Int[np.ndarray, "groups"]

    @classmethod
    def of(cls, keys: Int[np.ndarray, "rows"]) -> Groups:
        """The groups of rows with equal keys.

        Example:
            >>> Groups.of(np.array([7, 3, 7])).order.tolist()
            [1, 0, 2]
        """
        _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        rank = np.empty(len(sizes), np.int64)
        by_size = np.argsort(sizes, kind="stable")
        rank[by_size] = np.arange(len(sizes))
        sizes = sizes[by_size]
        return cls(np.argsort(rank[group], kind="stable"), np.cumsum(sizes) - sizes, sizes)

    def ranked(self, scores: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        """Sorts every group by falling score.

        Args:
            scores: In the order of the groups.

        Returns:
            Places in that order; and where runs of equal scores begin, or None where there are no equal scores.
        """
        order = np.empty(len(scores), np.int64)
        start = 0
        for size, count in zip(*np.unique(self.sizes, return_counts=True), strict=True):
            stop = start + size * count
            inside = np.argsort(-scores[start:stop].reshape(count, size), axis=1)
            order[start:stop] = (inside + np.arange(start, stop, size)[:, None]).ravel()
            start = stop
        ranked = scores[order]
        first = np.append(True, ranked[1:] != ranked[:-1])
        first[self.starts] = True
        return order, None if first.all() else np.flatnonzero(first)


@dataclass(frozen=True)
class Target:
    """A label that a ranking is measured against; made by `ndcg_target` and `gauc_target`.

    Attributes:
        metric: ``ndcg`` or ``gauc``.
        gains: Per row in the order of the groups, 0 where there is no label.
        observed: Which rows have a label; None: all.
        at: Places that NDCG looks at.
        best: Per group the largest possible sum; 0 where the group says nothing and is left out.
        rows: Per group its labelled rows.
        each: What the places count where all rows have a label: discounts for NDCG, the place itself for GAUC.
    """

    metric: str
    gains: Floats
    observed: Bool[np.ndarray, "rows"] | None
    at: int
    best: Floats
    rows: npt.NDArray[np.int64]
    each: Floats | None


def ndcg_target(groups: Groups, values: Floats, observed: npt.NDArray[np.bool_], at: int) -> Target:
    """NDCG against labels that are not negative: ``DCG / ideal DCG`` with ``DCG = sum_i gain_i / log2(i + 1)``.

    The sum is over the first ``at`` places; equal scores share the mean of their places' discounts. Gains are the
    labels themselves. The mean is over groups that have two rows or more and a label above 0.

    Source: Järvelin & Kekäläinen 2002; ties as in McSherry & Najork 2008.
    """
    gains, seen = np.where(observed, values, 0.0)[groups.order], observed[groups.order]
    target = _target("ndcg", groups, gains, seen, at)
    best = _sums(groups, target, *groups.ranked(np.where(seen, gains, -1.0)))
    return replace(target, best=np.where(target.rows > 1, best, 0.0))


def gauc_target(groups: Groups, positive: npt.NDArray[np.bool_], observed: npt.NDArray[np.bool_]) -> Target:
    """AUC within each group that has both classes, averaged with the groups' numbers of labelled rows."""
    seen = observed[groups.order]
    target = _target("gauc", groups, (positive[groups.order] & seen).astype(np.float64), seen, 0)
    yes = np.add.reduceat(target.gains, groups.starts)
    return replace(target, best=yes * (target.rows - yes))


def measure(groups: Groups, target: Target, order: npt.NDArray[np.int64], runs: npt.NDArray[np.int64] | None) -> float:
    """The metric of one ranking, as `Groups.ranked` gives it; NaN where no group says anything."""
    kept = target.best > 0
    if not kept.any():
        return math.nan
    share = _sums(groups, target, order, runs)[kept] / target.best[kept]
    return float(share.mean() if target.metric == "ndcg" else np.average(share, weights=target.rows[kept]))


def _target(metric: str, groups: Groups, gains: Floats, seen: npt.NDArray[np.bool_], at: int) -> Target:
    whole = bool(seen.all())
    rows = groups.sizes if whole else np.add.reduceat(seen, groups.starts, dtype=np.int64)
    each = _count(metric, at, np.arange(len(seen)) - np.repeat(groups.starts, groups.sizes)) if whole else None
    return Target(metric, gains, None if whole else seen, at, np.ones(len(rows)), rows, each)


def _count(metric: str, at: int, places: npt.NDArray[np.int64]) -> Floats:
    """What places, from 0 at the top, count."""
    if metric == "gauc":
        return places.astype(np.float64)
    return np.where(places < at, 1.0 / np.log2(places + 2.0), 0.0)


def _sums(groups: Groups, target: Target, order: npt.NDArray[np.int64], runs: npt.NDArray[np.int64] | None) -> Floats:
    """Per group: DCG, or the pairs in the right order."""
    seen, each = None, target.each
    if each is None and target.observed is not None:
        seen = target.observed[order]
        before = np.cumsum(seen) - seen  # places among the rows with a label
        each = _count(target.metric, target.at, before - np.repeat(before[groups.starts], groups.sizes))
    assert each is not None
    if runs is not None:
        each = _shared(each, runs, seen)
    gains = target.gains[order]
    found = np.add.reduceat(gains * each, groups.starts)
    if target.metric == "ndcg":
        return found
    yes = np.add.reduceat(gains, groups.starts)
    # R+ = sum (n - place) over positive rows, and R+ - P (P + 1) / 2 of the pairs are in the right order
    return yes * target.rows - found - yes * (yes + 1) / 2


def _shared(each: Floats, runs: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_] | None) -> Floats:
    """The mean within every run of equal scores, over the rows with a label."""
    lengths = np.diff(np.append(runs, len(each)))
    counted = lengths if seen is None else np.maximum(np.add.reduceat(seen, runs, dtype=np.int64), 1)
    total = np.add.reduceat(each if seen is None else each * seen, runs)
    return np.repeat(total / counted, lengths)
