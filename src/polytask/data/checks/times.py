"""A split that lets the model see the future: train rows later than test rows, though a time column exists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.checks.parts import PARTS, PartBatch, PartName
from polytask.errors import Problem

EVENT_TIME = re.compile(
    r"^(time|timestamp|ts|date|datetime|time_?(ms|us|ns|s|stamp)|(event|log|request|impression|created|start|action|click)"
    r"_?(time|date|ts|timestamp|at|day)(_?(ms|us|ns|s))?)$"
)
ATTRIBUTE = re.compile(r"birth|born|sign|regist|join|since|publish|upload|releas|install|expir")  # of a user or an item


@dataclass(slots=True)
class _Range:
    low: pa.Scalar
    high: pa.Scalar


class TimeScan:
    """Compares the time range of the training rows with those of the other parts.

    Args:
        columns: What `event_times` finds.
        split: How rows were divided (``"random"``, ``"files"`` ...); a split by time is not looked at.
    """

    def __init__(self, columns: Sequence[str], *, split: str) -> None:
        self._names = tuple(sorted(columns)) if split != "time" else ()
        self._split = split
        self._ranges: dict[tuple[str, PartName], _Range] = {}

    @property
    def columns(self) -> frozenset[str]:
        """The time columns that are looked at."""
        return frozenset(self._names)

    def update(self, piece: PartBatch) -> None:
        """Widens the ranges by one batch."""
        for name in self._names:
            if name not in piece.batch.schema.names or pa.types.is_dictionary(piece.batch.schema.field(name).type):
                continue
            bounds = pc.min_max(piece.batch.column(name))
            low, high = bounds["min"], bounds["max"]
            if not low.is_valid:
                continue
            known = self._ranges.get((name, piece.part))
            if known is None:
                self._ranges[name, piece.part] = _Range(low, high)
                continue
            known.low = min(known.low, low, key=lambda scalar: scalar.as_py())
            known.high = max(known.high, high, key=lambda scalar: scalar.as_py())

    def problems(self) -> list[Problem]:
        """One warning, for the first time column whose training rows reach into a later part."""
        for name in self._names:
            train = self._ranges.get((name, "train"))
            for part in PARTS[1:]:
                other = self._ranges.get((name, part))
                if train is None or other is None or train.high.as_py() <= other.low.as_py():
                    continue
                what = (
                    f"by column '{name}', train rows reach up to {_show(train.high)} and {part} rows begin at "
                    f"{_show(other.low)}: split by {self._split}, the model learns from the future"
                )
                return [Problem("data.split", what, f'use split = {{ by = "time", column = "{name}" }}', "warning")]
        return []


def _show(value: pa.Scalar) -> str:
    return str(value.as_py())


def event_times(schema: pa.Schema) -> list[str]:
    """The columns that say when a row happened, by name; where none is named so, the only timestamp.

    Example:
        >>> event_times(pa.schema({"watched": pa.timestamp("s"), "age": pa.int64(), "signup": pa.date32()}))
        ['watched']
    """
    named = [field.name for field in schema if EVENT_TIME.match(field.name.lower()) and _is_time(field.type)]
    stamps = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    return named or [name for name in stamps if len(stamps) == 1 and not ATTRIBUTE.search(name.lower())]


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))
