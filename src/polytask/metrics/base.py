"""What every metric is: a streaming state of sums (or kept rows) that reduces over batches and ranks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

NAN = math.nan


def ratio(numerator: float, denominator: float) -> float:
    """``numerator / denominator``, NaN where the denominator is 0.

    Example:
        >>> ratio(1.0, 4.0), ratio(1.0, 0.0)
        (0.25, nan)
    """
    return numerator / denominator if denominator != 0 else NAN


class Metric(ABC):
    """One number for one task, gathered batch by batch.

    A metric sees one task only: results of different tasks are never pooled. It is updated with the rows of the task's
    sample space whose label is observed, and keeps float64 sums, so that the order of batches, micro-batches and
    ranks does not matter. ``compute`` may be called at any time, and gives NaN where the metric is undefined.

    Attributes:
        name: The key under which scores are stored.
        higher_is_better: None where neither direction is better (calibration ratio, positive rate).
        reduction: How `state` combines over ranks: add the tensors (``"sum"``, same shapes on every rank), or
            concatenate them along the first axis (``"concat"``, exact metrics that keep rows).
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool | None]
    reduction: ClassVar[Literal["sum", "concat"]]

    def update(
        self,
        predictions: Float[Tensor, "rows *classes"],
        labels: Float[Tensor, "rows"],
        weights: Float[Tensor, "rows"] | None = None,
        groups: Int[Tensor, "rows"] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            predictions: What the task's ``predict`` gives: probabilities (``[rows]`` for binary, ``[rows, classes]``
                for multiclass and ordinal), or values in the label's own unit.
            labels: Labels; class numbers for multiclass and ordinal.
            weights: Sample weights, 1 each when left out.
            groups: User or query of each row; read by grouped metrics only.

        Raises:
            ValueError: If the row counts differ.
        """
        rows = labels.shape[0]
        for what, tensor in (("predictions", predictions), ("weights", weights), ("groups", groups)):
            if tensor is not None and tensor.shape[0] != rows:
                raise ValueError(f"metric {self.name}: {tensor.shape[0]} {what} for {rows} labels")
        if rows == 0:
            return
        with torch.no_grad():
            predictions, labels = _at_least_float32(predictions), labels.to(predictions.device)
            weights = torch.ones_like(labels, dtype=torch.float64) if weights is None else weights.to(labels.device)
            self._update(predictions, labels, weights.double(), groups)

    @abstractmethod
    def _update(
        self,
        predictions: Float[Tensor, "rows *classes"],
        labels: Float[Tensor, "rows"],
        weights: Float[Tensor, "rows"],
        groups: Int[Tensor, "rows"] | None,
    ) -> None: ...

    def compute(self) -> float:
        """The value over all rows seen so far; NaN where it is undefined."""
        return self._compute()

    @abstractmethod
    def _compute(self) -> float: ...

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything gathered so far, to be combined over ranks as `reduction` says."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Replaces what was gathered, for example by a state reduced over ranks."""

    @abstractmethod
    def _absorb(self, other: Self) -> None: ...

    def merge(self, other: Self) -> None:
        """Adds what ``other`` has seen, as if its rows had been given here.

        Raises:
            ValueError: If the other metric is of another type or has other options.
        """
        if type(other) is not type(self) or other._options() != self._options():
            raise ValueError(f"metric {self.name}: only metrics of one type and with equal options can be merged")
        self._absorb(other)

    def _options(self) -> Hashable:
        """What must agree for two states to be combined."""
        return ()


def where_valid(values: Float[Tensor, "rows"], predictions: Float[Tensor, "rows *classes"]) -> Float[Tensor, "rows"]:
    """Values of decisions, NaN where the prediction is NaN: a diverged model has no accuracy, not a poor one."""
    return values.masked_fill(predictions.isnan().reshape(len(values), -1).any(1), NAN)


def _at_least_float32(predictions: Tensor) -> Tensor:
    return predictions.float() if predictions.dtype in (torch.float16, torch.bfloat16) else predictions


class SumMetric(Metric):
    """A metric whose state is one float64 tensor of sums."""

    reduction: ClassVar[Literal["sum", "concat"]] = "sum"

    def __init__(self, *shape: int) -> None:
        self._sums = torch.zeros(shape, dtype=torch.float64)

    def _on(self, device: torch.device) -> Tensor:
        """The sums, on the device of the rows: nothing is copied to the host before `compute`."""
        if self._sums.device != device:
            self._sums = self._sums.to(device)
        return self._sums

    def state(self) -> dict[str, Tensor]:
        """The sums themselves, not a copy: an all-reduce in place is enough."""
        return {"sums": self._sums}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the sums.

        Raises:
            ValueError: If the shape is that of another metric or of other options.
        """
        given, own = tuple(state["sums"].shape), tuple(self._sums.shape)
        if given != own:
            raise ValueError(f"metric {self.name}: a state of shape {given} does not fit {own}")
        self._sums = state["sums"].double().clone()

    def _absorb(self, other: Self) -> None:
        self._sums = self._sums + other._sums.to(self._sums.device)


class MeanMetric(SumMetric):
    """A metric that is a function of weighted means over rows: state is ``[sum_i w_i term_i ..., sum_i w_i]``."""

    terms: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__(self.terms + 1)

    @abstractmethod
    def _row_terms(self, predictions: Tensor, labels: Float[Tensor, "rows"]) -> tuple[Float[Tensor, "rows"], ...]:
        """The quantities whose weighted means are needed, one value a row each."""

    def _finish(self, means: Sequence[float]) -> float:
        """The metric from the weighted means; here the first mean itself."""
        return means[0]

    def _update(self, predictions: Tensor, labels: Tensor, weights: Tensor, groups: Tensor | None) -> None:
        terms = self._row_terms(predictions, labels)
        sums = self._on(predictions.device)
        for number, term in enumerate(terms):
            sums[number] += torch.dot(term.double(), weights)
        sums[-1] += weights.sum()

    def _compute(self) -> float:
        *sums, weight = self._sums.tolist()
        return NAN if weight == 0 else self._finish([total / weight for total in sums])


class RowMetric(Metric):
    """A metric that keeps rows, because it is not a function of sums; memory grows with the rows seen."""

    reduction: ClassVar[Literal["sum", "concat"]] = "concat"
    columns: ClassVar[dict[str, torch.dtype]]  # what an empty column looks like: a rank may have seen no row

    def __init__(self) -> None:
        self._chunks: list[tuple[Tensor, ...]] = []

    def _keep(self, *columns: Tensor) -> None:
        self._chunks.append(columns)

    def rows(self) -> tuple[Tensor, ...]:
        """The kept columns, each one tensor over all rows."""
        if not self._chunks:
            return tuple(torch.empty(0, dtype=dtype) for dtype in self.columns.values())
        if len(self._chunks) > 1:
            self._chunks = [tuple(torch.cat(column) for column in zip(*self._chunks, strict=True))]
        return self._chunks[0]

    def state(self) -> dict[str, Tensor]:
        """The kept columns by name."""
        return dict(zip(self.columns, self.rows(), strict=True))

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the kept rows."""
        columns = tuple(state[name] for name in self.columns)
        self._chunks = [columns] if len(columns[0]) else []

    def _absorb(self, other: Self) -> None:
        self._chunks.extend(other._chunks)
