"""Numbers to what a network learns from: a scaled value, a quantile bin, and the exact value where values repeat.

Encoding decides more than architecture on many tables. A skewed money column ("capital gains") is nearly all zero with
a few round amounts that mean something each; a scaled value alone hides that. The default therefore looks at the
column: heavy tails are compressed by asinh, quantile bins give a piecewise-constant view, and values that repeat get
embedding rows of their own, like categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.keys import Mask
from polytask.data.sampling import StreamSample
from polytask.data.vocabulary import MISSING, RESERVED, UNSEEN, Ids

Floats = npt.NDArray[np.float64]
Encoding = Literal["auto", "robust", "quantile", "piecewise", "periodic"]
Impute = Literal["median", "mean", "zero"]

SAMPLE = 131_072  # values kept for quantiles
BINS = 64
KNOTS = 24
RANKS = 1_000
LIMIT = 8.0  # scaled values are clipped here: one typing error must not dominate a batch
LARGEST = 1e150  # what is beyond counts as infinite: its square has no float64
_SALT = 0x6E756D62  # of the sampling: other users of row hashes have their own
_MAX_DISTINCT = 16_384  # above this a column is continuous
_MAX_EXACT = 4_096
_MIN_REPEATS = 10
_REPEATED_SHARE = 0.5
_HEAVY_TAIL = 8.0  # 99.9 % quantile of the robust-scaled values from which asinh is used


@dataclass(frozen=True)
class NumericEncoder:
    """One fitted numeric column.

    The scaled value is ``clip((f(x) - location) / spread, -8, 8)`` with ``f(x) = asinh(x / unit)`` for heavy-tailed
    columns, ``f(x) = x`` otherwise, and the normal score of the rank for ``encoding="quantile"``.

    Attributes:
        name: The raw column.
        encoding: What was asked for.
        impute: The value that stands for missing and infinite ones.
        location: Centre in the transformed unit.
        spread: Scale in the transformed unit.
        unit: Divisor inside asinh; 0 where no asinh is used.
        edges: Upper-exclusive edges of the quantile bins; empty without bins.
        exact: Ascending values that have a row of their own; empty where values do not repeat.
        ranks: Quantiles for ``encoding="quantile"``.
        knots: Ascending knots in the scaled unit, for ``encoding="piecewise"``.
        flag_missing: Whether a 0/1 input says that the value was missing (where no bin can say it).

    Raises:
        ValueError: The numbers are not finite, not ascending, or scales are not positive.
    """

    name: str
    encoding: Encoding
    impute: float
    location: float
    spread: float
    unit: float = 0.0
    edges: tuple[float, ...] = ()
    exact: tuple[float, ...] = ()
    ranks: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    flag_missing: bool = False

    def __post_init__(self) -> None:
        lists = (self.edges, self.exact, self.ranks, self.knots)
        if not np.isfinite([self.impute, self.location, self.spread, self.unit, *chain(*lists)]).all():
            raise ValueError(f"the encoder of '{self.name}' holds numbers that are not finite")
        if self.spread < 1.0 / LARGEST or not (self.unit == 0.0 or self.unit >= 1.0 / LARGEST):
            raise ValueError(f"the encoder of '{self.name}' has spread {self.spread:g} and unit {self.unit:g}")
        if any((np.diff(values) < 0.0).any() for values in lists):
            raise ValueError(f"the encoder of '{self.name}' holds edges, values or knots that do not ascend")

    @property
    def id_rows(self) -> dict[str, int]:
        """Names and sizes of the id columns that it gives."""
        rows = {}
        if self.edges:
            rows[f"{self.name}:bin"] = RESERVED + len(self.edges) + 1
        if self.exact:
            rows[f"{self.name}:value"] = RESERVED + len(self.exact)
        return rows

    @property
    def numerics(self) -> tuple[str, ...]:
        """Names of the numeric inputs that it gives."""
        return (self.name, f"{self.name}:missing") if self.flag_missing else (self.name,)

    def encode(self, array: pa.Array) -> tuple[list[npt.NDArray[np.float32]], list[Ids], int]:
        """Scaled inputs, ids, and how many values were missing or infinite."""
        values, known = finite_floats(array)
        missing = 0 if known is None else len(values) - int(np.count_nonzero(known))
        filled = values if known is None else np.where(known, values, self.impute)
        inputs = [self._scaled(filled)]
        if self.flag_missing:
            inputs.append(np.zeros(len(values), np.float32) if known is None else (~known).astype(np.float32))
        ids: list[Ids] = []
        if self.edges:
            ids.append(np.searchsorted(self._edges, filled, side="right").astype(np.int32) + np.int32(RESERVED))
        if self.exact:
            at = np.minimum(np.searchsorted(self._exact, filled), len(self._exact) - 1)
            ids.append(np.where(self._exact[at] == filled, at + RESERVED, UNSEEN).astype(np.int32))
        if known is not None:
            for column in ids:
                column[~known] = MISSING
        return inputs, ids, missing

    def _scaled(self, values: Floats) -> npt.NDArray[np.float32]:
        if self.ranks:
            return _normal_score(np.interp(values, *self._shares)).astype(np.float32)
        scaled = np.arcsinh(values / self.unit) - self.location if self.unit else values - self.location
        scaled /= self.spread
        np.minimum(scaled, LIMIT, out=scaled)
        np.maximum(scaled, -LIMIT, out=scaled)
        return scaled.astype(np.float32)

    @cached_property
    def _edges(self) -> Floats:
        return np.asarray(self.edges)

    @cached_property
    def _exact(self) -> Floats:
        return np.asarray(self.exact)

    @cached_property
    def _shares(self) -> tuple[Floats, Floats]:
        """Distinct quantiles and the share of rows below each; a value that many rows have stands in their middle."""
        ranks = np.asarray(self.ranks)
        values = np.unique(ranks)
        middle = np.searchsorted(ranks, values, side="left") + np.searchsorted(ranks, values, side="right") - 1
        return values, middle / (2.0 * max(len(ranks) - 1, 1))


class NumericFitter:
    """Gathers what `NumericEncoder` needs while the training rows stream by; memory is bounded.

    What it finds does not depend on how the rows are cut into arrays.

    Args:
        encoding: See `NumericEncoder`.
        impute: What stands for missing and infinite values; mean and median are those of the sample of `SAMPLE` values.
    """

    def __init__(self, encoding: Encoding = "auto", impute: Impute = "median") -> None:
        self._encoding, self._impute = encoding, impute
        self._sample = StreamSample(SAMPLE, seed=_SALT)
        self._distinct = DistinctFloats(_MAX_DISTINCT) if encoding == "auto" else None
        self._missing = False

    def update(self, array: pa.Array) -> None:
        """Takes in the values of one array."""
        values, known = finite_floats(array)
        if known is not None:
            values, self._missing = values[known], True
        self._sample.update(values)
        if self._distinct is not None:
            self._distinct.update(values)

    def finish(self, name: str) -> NumericEncoder:
        """The fitted column."""
        sample = self._sample.ordered()
        if not len(sample):
            return NumericEncoder(name, self._encoding, impute=0.0, location=0.0, spread=1.0)
        fill = {"median": float(np.median(sample)), "mean": float(sample.mean()), "zero": 0.0}[self._impute]
        unit = _asinh_unit(sample) if self._encoding in ("auto", "piecewise", "periodic") else 0.0
        location, spread = _centre(np.arcsinh(sample / unit) if unit else sample)
        edges: tuple[float, ...] = ()
        exact, ranks, knots = edges, edges, edges
        if self._encoding == "auto":
            exact = self._repeated_values()
            edges = _floats(np.unique(np.quantile(sample, np.arange(1, BINS) / BINS)))
        elif self._encoding == "quantile":
            ranks = _floats(np.quantile(sample, np.linspace(0.0, 1.0, RANKS + 1)))
        elif self._encoding == "piecewise":
            plain = NumericEncoder(name, self._encoding, fill, location, spread, unit)
            scaled = plain._scaled(np.quantile(sample, np.linspace(0.0, 1.0, KNOTS)))
            knots = _floats(np.unique(scaled.astype(np.float64)))
        return NumericEncoder(
            name, self._encoding, fill, location, spread, unit, edges, exact, ranks, knots,
            flag_missing=self._missing and not edges,
        )  # fmt: skip

    def _repeated_values(self) -> tuple[float, ...]:
        if self._distinct is None or self._distinct.counted is None:
            return ()
        values, counts = self._distinct.counted
        often = np.flatnonzero(counts >= _MIN_REPEATS)
        if counts[often].sum() < _REPEATED_SHARE * self._sample.seen:
            return ()
        often = np.sort(often[np.argsort(-counts[often], kind="stable")[:_MAX_EXACT]])
        return _floats(values[often])


class DistinctFloats:
    """Distinct values and their counts, given up once there are more than ``most``.

    Attributes:
        counted: Ascending values and how often each occurred; ``None`` where there were too many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.counted: tuple[Floats, npt.NDArray[np.int64]] | None = (np.empty(0), np.empty(0, np.int64))

    def update(self, values: Floats) -> None:
        """Counts the values of one array."""
        if self.counted is None:
            return
        new, counts = np.unique(values + 0.0, return_counts=True)  # adding 0.0 makes -0.0 and 0.0 one value
        merged, inverse = np.unique(np.concatenate([self.counted[0], new]), return_inverse=True)
        if len(merged) > self._most:
            self.counted = None
            return
        totals = np.zeros(len(merged), np.int64)
        np.add.at(totals, inverse, np.concatenate([self.counted[1], counts]))
        self.counted = merged, totals


def finite_floats(array: pa.Array) -> tuple[Floats, Mask | None]:
    """The values as float64, and which of them are finite (``None``: all); nulls, NaN and infinities are not.

    The values may share memory with the array: they are not to be written to.
    """
    if not pa.types.is_float64(array.type):
        array = array.cast(pa.float64(), safe=False)
    values = (pc.fill_null(array, np.nan) if array.null_count else array).to_numpy(zero_copy_only=False)
    # two reductions are cheaper than a mask; a NaN makes both comparisons false
    if not len(values) or (values.min() >= -LARGEST and values.max() <= LARGEST):
        return values, None
    return values, np.abs(values) <= LARGEST


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(values.tolist())


def _centre(values: Floats) -> tuple[float, float]:
    """Of ascending values: median and a spread that agrees with the standard deviation for normal values."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = float(high - low) / 1.349
    if values[0] == values[-1]:
        return float(values[0]), 1.0
    if spread <= 0.0:  # more than half of the rows share one value
        middle, spread = float(values.mean()), float(values.std())
    return float(middle), max(spread, 1.0 / LARGEST)


def _asinh_unit(sample: Floats) -> float:
    """The unit of asinh for a heavy-tailed column, 0 for one that is fine as it is."""
    location, spread = _centre(sample)
    low, high = np.quantile(sample, [0.001, 0.999])
    if max(abs(low - location), abs(high - location)) / spread < _HEAVY_TAIL:
        return 0.0
    magnitude = np.abs(sample[sample != 0.0])
    return max(float(np.quantile(magnitude, 0.1)), 1.0 / LARGEST)


def _normal_score(share: Floats) -> Floats:
    """The standard normal quantile (Acklam's rational approximation, relative error below 1.2e-9), clipped to +-3."""
    p = np.clip(share, 1.35e-3, 1.0 - 1.35e-3)
    tail = np.minimum(p, 1.0 - p)
    q = np.sqrt(-2.0 * np.log(tail))
    outer = np.polyval([-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838, -2.549732539343734,
                        4.374664141464968, 2.938163982698783], q)  # fmt: skip
    outer /= np.polyval([7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996, 3.754408661907416, 1.0], q)
    r = p - 0.5
    inner = r * np.polyval([-3.969683028665376e01, 2.209460984245205e02, -2.759285104469687e02, 1.383577518672690e02,
                            -3.066479806614716e01, 2.506628277459239], r * r)  # fmt: skip
    inner /= np.polyval([-5.447609879822406e01, 1.615858368580409e02, -1.556989798598866e02, 6.680131188771972e01,
                         -1.328068155288572e01, 1.0], r * r)  # fmt: skip
    return cast(Floats, np.where(tail < 0.02425, np.where(p < 0.5, outer, -outer), inner))
