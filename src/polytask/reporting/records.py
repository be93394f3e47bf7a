"""`records.jsonl` thinned while it is read: a hundred thousand steps become a few hundred points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
POINTS = 500
PROBES = 60


@dataclass
class Curves:
    """What the records of one training say.

    Attributes:
        steps: The last step of each bucket of steps.
        losses: Mean losses of the buckets, ``[buckets, tasks]``; NaN where a task was absent throughout.
        weights: Mean weights likewise, over steps at which the task was present.
        evaluations: Records of evaluations.
        probes: Records of probes.
        last: The last step seen.
    """

    steps: list[int] = field(default_factory=list)
    losses: Values = field(default_factory=lambda: np.empty((0, 0)))
    weights: Values = field(default_factory=lambda: np.empty((0, 0)))
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    last: int = 0


class Buckets:
    """Sums of rows of numbers over equal stretches; where there are too many, neighbours are joined.

    Args:
        points: At most twice so many buckets are kept, and at least so many once there were that many rows.
    """

    def __init__(self, points: int) -> None:
        self._points, self._stride, self._filled = points, 1, 0
        self._sums: list[Values] = []
        self._counts: list[Values] = []
        self._steps: list[int] = []

    def add(self, step: int, values: Values) -> None:
        """Adds one row; NaN values do not count."""
        known = np.isfinite(values)
        if not self._sums or self._filled == self._stride:
            self._sums.append(np.zeros_like(values))
            self._counts.append(np.zeros_like(values))
            self._steps.append(step)
            self._filled = 0
        self._sums[-1] += np.where(known, values, 0.0)
        self._counts[-1] += known
        self._steps[-1] = step
        self._filled += 1
        if len(self._sums) == 2 * self._points and self._filled == self._stride:
            self._join()

    def means(self) -> tuple[list[int], Values]:
        """Steps and means, ``[buckets, width]``."""
        if not self._sums:
            return [], np.empty((0, 0))
        sums, counts = np.stack(self._sums), np.stack(self._counts)
        return self._steps, np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    def _join(self) -> None:
        for values in (self._sums, self._counts):
            values[:] = [first + second for first, second in zip(values[::2], values[1::2], strict=True)]
        self._steps = self._steps[1::2]
        self._stride *= 2
        self._filled = self._stride


def read_curves(records: Iterable[dict[str, Any]], *, points: int = POINTS, probes: int = PROBES) -> Curves:
    """Reads the records of one training in one pass; records that are not what they should be are left out.

    Args:
        records: Lines of ``records.jsonl``.
        points: About so many points per curve.
        probes: About so many probes are kept, evenly over the training.
    """
    curves, buckets, width = Curves(), None, 0
    evaluations, kept = _Spread(2 * points), _Spread(probes)
    for record in records:
        step, kind = record.get("step"), record.get("kind")
        if not isinstance(step, int) or isinstance(step, bool):
            continue
        curves.last = max(curves.last, step)
        if kind == "step":
            losses = _floats(record.get("losses"))
            if losses is None or (buckets is not None and len(losses) != width):
                continue
            weights = _floats(record.get("weights"))
            if weights is None or len(weights) != len(losses):
                weights = np.full_like(losses, np.nan)
            if buckets is None:
                buckets, width = Buckets(points), len(losses)
            # an absent task has no loss and weight 0, which is no decision of the balancer
            buckets.add(step, np.concatenate([losses, np.where(np.isfinite(losses), weights, np.nan)]))
        elif kind == "evaluation" and isinstance(record.get("scores"), dict):
            evaluations.add(record, keep=record.get("best") is True)
        elif kind == "probe":
            kept.add(record)
    if buckets is not None:
        curves.steps, means = buckets.means()
        curves.losses, curves.weights = means[:, :width], means[:, width:]
    curves.evaluations, curves.probes = evaluations.records, kept.records
    return curves


class _Spread:
    """Records evenly spread over all that came, among them the first, the last, and the last that is to be kept."""

    def __init__(self, limit: int) -> None:
        self._limit, self._stride, self._seen = limit, 1, 0
        self._even: list[dict[str, Any]] = []
        self._last: dict[str, Any] | None = None
        self._special: dict[str, Any] | None = None

    def add(self, record: dict[str, Any], *, keep: bool = False) -> None:
        if self._seen % self._stride == 0:
            self._even.append(record)
        self._seen += 1
        self._last = record
        if keep:
            self._special = record
        if len(self._even) >= 2 * self._limit:
            self._even = self._even[::2]
            self._stride *= 2

    @property
    def records(self) -> list[dict[str, Any]]:
        wanted = [*self._even, *(one for one in (self._special, self._last) if one is not None)]
        return sorted({id(one): one for one in wanted}.values(), key=lambda one: one["step"])


def _floats(values: Any) -> Values | None:
    if not isinstance(values, list) or not values:
        return None
    return np.array([_float(value) for value in values])


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else math.nan


def smoothed(values: Sequence[float] | Values, window: int) -> Values:
    """Centred means over ``window`` points, narrower at the ends; NaN values do not count.

    Example:
        >>> smoothed([1.0, 2.0, 6.0, 2.0], 3).tolist()
        [1.5, 3.0, 3.3333333333333335, 4.0]
    """
    given = np.asarray(values, dtype=float)
    known = np.isfinite(given)
    sums, counts = np.cumsum([0.0, *np.where(known, given, 0.0)]), np.cumsum([0, *known])
    place = np.arange(len(given))
    low, high = np.maximum(place - window // 2, 0), np.minimum(place + window // 2 + 1, len(given))
    count = counts[high] - counts[low]
    return np.divide(sums[high] - sums[low], count, out=np.full(len(given), np.nan), where=count > 0)
