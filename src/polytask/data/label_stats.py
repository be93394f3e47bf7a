"""What the training rows say about one label: its classes, and the statistics behind scaling and head biases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.keys import Mask
from polytask.data.labels import CLASS_KINDS, MOST_CLASSES, LabelEncoder, Values
from polytask.data.sampling import StreamSample
from polytask.errors import Problem, UserError
from polytask.specs import LabelStats

_SAMPLE = 65_536
_SALT = 0x6C61626C


class ClassFinder:
    """Finds the classes of a label of text; they stand in the order of their values.

    Args:
        encoder: Of the label.
    """

    def __init__(self, encoder: LabelEncoder) -> None:
        self._encoder = encoder
        self._words: set[str] = set()

    def update(self, batch: pa.RecordBatch) -> None:
        """Looks at the labels of some training rows."""
        self._words |= self._encoder.words(batch)
        if len(self._words) > MOST_CLASSES:
            spec = self._encoder.spec
            what = f"label '{spec.label}' has more than {MOST_CLASSES:,} distinct values"
            raise UserError(Problem(f"tasks.{spec.task}", what, "group rare values, or choose another column"))

    def finish(self) -> LabelEncoder:
        """The encoder with its classes."""
        return replace(self._encoder, classes=tuple(sorted(self._words))) if self._words else self._encoder


class LabelFitter:
    """Gathers `LabelStats` while encoded labels stream by.

    Args:
        encoder: Of the label.
    """

    def __init__(self, encoder: LabelEncoder) -> None:
        self._encoder = encoder
        self._weight = self._mean = self._squares = 0.0
        self._low, self._high = np.inf, -np.inf
        self._class_weights: npt.NDArray[np.float64] = np.zeros(0)
        self._sample = StreamSample(_SAMPLE, seed=_SALT)

    def update(self, values: Values, observed: Mask, weights: Values | None) -> None:
        """Takes in encoded labels."""
        value = values[observed].astype(np.float64)
        if not len(value):
            return
        weight = np.ones(len(value)) if weights is None else weights[observed].astype(np.float64)
        self._low, self._high = min(self._low, float(value.min())), max(self._high, float(value.max()))
        self._sample.update(value)
        self._add_moments(value, weight)
        if self._encoder.spec.kind in CLASS_KINDS:
            counts = np.bincount(value.astype(np.int64), weight)
            self._class_weights = _padded(self._class_weights, len(counts))
            self._class_weights[: len(counts)] += counts

    def finish(self) -> LabelStats:
        """The statistics."""
        kind, rows = self._encoder.spec.kind, self._sample.seen
        least = 2 if kind == "binary" else len(self._encoder.classes or ())
        classes = tuple(_padded(self._class_weights, least).tolist()) if kind in CLASS_KINDS else ()
        if not rows:
            return LabelStats(0, 0.0, 0.0, 1.0, 0.0, 0.0, classes)
        deviation = float(np.sqrt(self._squares / self._weight)) if self._weight else 0.0
        return LabelStats(
            rows=rows,
            weight=self._weight,
            mean=self._mean,
            std=deviation or 1.0,
            minimum=self._low,
            maximum=self._high,
            class_weights=classes,
            quantiles=tuple(np.quantile(self._sample.ordered(), np.linspace(0.0, 1.0, 101)).tolist()),
        )

    def finish_encoder(self) -> LabelEncoder:
        """The encoder; class numbers that training has not seen are none of its classes from now on."""
        encoder = self._encoder
        if encoder.spec.kind not in ("multiclass", "ordinal") or encoder.classes is not None:
            return encoder
        return replace(encoder, classes=tuple(range(len(self._class_weights)))) if self._sample.seen else encoder

    def _add_moments(self, value: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> None:
        # joins two groups by their means: a difference of large squares would lose what varies
        own = float(weight.sum())
        if own <= 0.0:
            return
        mean = float((weight * value).sum()) / own
        total = self._weight + own
        shift = mean - self._mean
        self._squares += float((weight * np.square(value - mean)).sum()) + shift * shift * self._weight * own / total
        self._mean += shift * own / total
        self._weight = total


def _padded(values: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    return np.pad(values, (0, max(0, size - len(values))))
