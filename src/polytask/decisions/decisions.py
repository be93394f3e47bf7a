"""All that a bundle decides, in the order in which it is applied: calibrate, cut, fuse."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from polytask.decisions.calibration import Calibration, Temperature
from polytask.decisions.fusion import SCORE, Fusion
from polytask.decisions.threshold import Threshold

Predictions = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
Quality = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One task's calibration and what it does.

    Attributes:
        map: From predicted to calibrated probabilities.
        rows: Labelled rows of the fit.
        before: ``log_loss`` and ``ece`` of the predictions on these rows.
        after: The same after calibration, cross-fitted: each fifth of the rows by a map fitted on the others.
    """

    map: Calibration
    rows: int
    before: Quality
    after: Quality


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a bundle makes of the model's predictions; nothing by default.

    Attributes:
        calibration: Per task, or joint probability of chained tasks.
        thresholds: Per task; they cut the calibrated probability.
        fusion: Reads calibrated predictions.

    Example:
        >>> Decisions(thresholds={"like": Threshold(0.2, 0.2)}).apply({"like": np.array([0.1, 0.3])})["like_label"]
        array([0, 1], dtype=int8)
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    calibration: Mapping[str, Calibrated] = field(default_factory=dict)
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    fusion: Fusion | None = None

    def __bool__(self) -> bool:
        return bool(self.calibration or self.thresholds or self.fusion)

    def calibrated(self, predictions: Predictions) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """The predictions, calibrated where there is a calibration, in the type that they had."""
        return {
            name: self.calibration[name].map(values.astype(np.float64)).astype(values.dtype)
            if name in self.calibration
            else values
            for name, values in predictions.items()
        }

    def apply(self, predictions: Predictions) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Calibrated predictions, then labels, then the score."""
        found = self.calibrated(predictions)
        labels = {label_column(task): threshold(found[task]) for task, threshold in self.thresholds.items()}
        score = {} if self.fusion is None else {SCORE: self.fusion(found).astype(np.float32)}
        return {**found, **labels, **score}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that come behind the predictions."""
        return (*map(label_column, self.thresholds), *((SCORE,) if self.fusion is not None else ()))

    def check(
        self,
        probabilities: Collection[str],
        values: Collection[str],
        classes: Collection[str],
        taken: Collection[str] = (),
    ) -> None:
        """Compares with what a model predicts.

        Args:
            probabilities: Names of predicted probabilities of a yes.
            values: Names of predicted numbers.
            classes: Names of predictions with one probability per class.
            taken: Names of columns that stand beside.

        Raises:
            ValueError: Something is decided about a prediction that does not exist or is of another kind.
        """
        for name, own in self.calibration.items():
            if name not in (classes if isinstance(own.map, Temperature) else probabilities):
                raise ValueError(f"{own.map.method} calibration of '{name}', which is no such prediction")
        for name in self.thresholds:
            if name not in probabilities:
                raise ValueError(f"a threshold for '{name}', which is no probability")
        if self.fusion is not None:
            for name in self.fusion.weights:
                if name not in (values if name in self.fusion.scales else probabilities):
                    raise ValueError(f"fusion reads '{name}', which is no such prediction")
        if clash := {*probabilities, *values, *taken}.intersection(self.columns):
            raise ValueError(f"two columns of the predictions would be called {', '.join(sorted(clash))}")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return found

    @staticmethod
    def from_json(value: Any) -> Decisions:
        """Reads `to_json`'s values again.

        Raises:
            ValueError: They are not of that form, or hold impossible numbers.
        """
        try:
            return _ADAPTER.validate_python(value)
        except ValidationError as error:
            found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
            raise ValueError(f"decisions: {'; '.join(found[:5])}") from error


_ADAPTER = TypeAdapter(Decisions)


def label_column(task: str) -> str:
    """What the column of a task's decided label is called."""
    return f"{task}_label"
