"""One class per column role: raw Arrow values to ids of the fused table and numeric inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.numeric import Encoding, Impute, NumericEncoder, NumericFitter
from polytask.data.readings import Unit, days, list_items, numbers, timestamps, truths
from polytask.data.vocabulary import MISSING, RESERVED, UNSEEN, Ids, IdSpace

Kind = Literal["numeric", "categorical", "sequence", "boolean", "datetime", "drop"]
Part = Literal["hour", "weekday", "day", "month"]
Pooling = Literal["mean", "sum", "attention"]
PARTS: Mapping[Part, int] = {"hour": 24, "weekday": 7, "day": 31, "month": 12}
_READ_PART: Mapping[Part, Callable[[pa.Array], pa.Array]] = {
    "hour": pc.hour,
    "weekday": pc.day_of_week,
    "day": lambda times: pc.subtract(pc.day(times), 1),
    "month": lambda times: pc.subtract(pc.month(times), 1),
}


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """How one raw column becomes a feature.

    Attributes:
        kind: Its role.
        encoding: For numbers, see `NumericEncoder`.
        min_count: Categories seen less often are unseen ones.
        max_vocabulary: At most so many categories.
        hash_buckets: Hash into so many rows in place of a vocabulary.
        vocabulary: Columns that name the same vocabulary share rows.
        pooling: How the items of a sequence become one vector.
        target: The categorical column that asks, for attention pooling.
        separator: Splits a text column into a sequence.
        impute: What a missing number becomes.
        unit: For date-times held as integers: what they count.
    """

    kind: Kind
    encoding: Encoding = "auto"
    min_count: int = 1
    max_vocabulary: int | None = None
    hash_buckets: int | None = None
    vocabulary: str | None = None
    pooling: Pooling = "mean"
    target: str | None = None
    separator: str | None = None
    impute: Impute = "median"
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one raw column gives for some rows.

    Attributes:
        numerics: One float array per numeric input.
        ids: One array of local row numbers per id column.
        sequence: Local row numbers of all items, and where each row's items start.
        unseen: Values, or items, that the vocabulary does not know.
        missing: Values, lists or items that are null, NaN or infinite.
    """

    numerics: tuple[npt.NDArray[np.float32], ...] = ()
    ids: tuple[Ids, ...] = ()
    sequence: tuple[Ids, npt.NDArray[np.int64]] | None = None
    unseen: int = 0
    missing: int = 0


@dataclass(frozen=True)
class NumericColumn:
    """A numeric column; see `NumericEncoder`."""

    encoder: NumericEncoder

    @property
    def name(self) -> str:
        """The raw column."""
        return self.encoder.name

    def encode(self, array: pa.Array) -> Encoded:
        """Scaled value, bin and exact value."""
        numerics, ids, missing = self.encoder.encode(numbers(self.name, array))
        return Encoded(tuple(numerics), tuple(ids), missing=missing)


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of categories or ids.

    Attributes:
        name: The raw column.
        space: Where its values are numbered; shared spaces are the same object.
    """

    name: str
    space: IdSpace

    def encode(self, array: pa.Array) -> Encoded:
        """One id a row."""
        ids = self.space.encode(array)
        return Encoded(ids=(ids,), unseen=int(np.count_nonzero(ids == UNSEEN)), missing=_missing(ids))


@dataclass(frozen=True)
class BooleanColumn:
    """A yes/no column: false, true and missing have a row each."""

    name: str

    def encode(self, array: pa.Array) -> Encoded:
        """One id a row."""
        ids = _optional_ids(truths(self.name, array))
        return Encoded(ids=(ids,), missing=_missing(ids))


@dataclass(frozen=True)
class DatetimeColumn:
    """A point in time: its parts as categories, and its age as a number.

    Attributes:
        name: The raw column.
        parts: Which calendar parts vary in the training rows (UTC).
        age: The scaled age in days.
        unit: For integer columns: what they count since 1970-01-01 UTC.
    """

    name: str
    parts: tuple[Part, ...]
    age: NumericEncoder
    unit: Unit | None = None

    def encode(self, array: pa.Array) -> Encoded:
        """Parts and age."""
        times = timestamps(self.name, array, self.unit)
        ids = tuple(_part(times, part) for part in self.parts)
        numerics, _, missing = self.age.encode(days(times))
        return Encoded(tuple(numerics), ids, missing=missing)


@dataclass(frozen=True)
class SequenceColumn:
    """A list of ids per row.

    Attributes:
        name: The raw column.
        space: Where the items are numbered.
        pooling: ``mean``, ``sum`` or ``attention``.
        target: For attention: the categorical column that asks.
        separator: Splits text into items.
    """

    name: str
    space: IdSpace
    pooling: Pooling = "mean"
    target: str | None = None
    separator: str | None = None

    def encode(self, array: pa.Array) -> Encoded:
        """All items, and where each row starts; a missing list is an empty one."""
        values, offsets = list_items(self.name, array, self.separator)
        ids = self.space.encode(values)
        unseen, missing = int(np.count_nonzero(ids == UNSEEN)), _missing(ids) + array.null_count
        return Encoded(sequence=(ids, offsets), unseen=unseen, missing=missing)


Column = NumericColumn | CategoricalColumn | BooleanColumn | DatetimeColumn | SequenceColumn


class DatetimeFitter:
    """Finds out which calendar parts vary, and the scale of the age.

    Args:
        name: The raw column.
        unit: For integer columns: what they count.
    """

    def __init__(self, name: str, unit: Unit | None) -> None:
        self._name, self._unit = name, unit
        self._ages = NumericFitter("robust")
        self._seen = {part: np.zeros(RESERVED + size, np.bool_) for part, size in PARTS.items()}

    def update(self, array: pa.Array) -> None:
        """Takes in the values of one array."""
        times = timestamps(self._name, array, self._unit)
        self._ages.update(days(times))
        for part, seen in self._seen.items():
            seen[_part(times, part)] = True

    def finish(self) -> DatetimeColumn:
        """The fitted column."""
        parts = tuple(part for part, seen in self._seen.items() if np.count_nonzero(seen[RESERVED:]) > 1)
        return DatetimeColumn(self._name, parts, self._ages.finish(self._name), self._unit)


def id_rows(column: Column) -> dict[str, int]:
    """Names of the id columns that are the column's own, with their sizes (not those of id spaces)."""
    if isinstance(column, NumericColumn):
        return column.encoder.id_rows
    if isinstance(column, BooleanColumn):
        return {column.name: RESERVED + 2}
    if isinstance(column, DatetimeColumn):
        return {f"{column.name}:{part}": RESERVED + PARTS[part] for part in column.parts}
    return {}


def number_of(column: Column) -> NumericEncoder | None:
    """What gives the column's numeric inputs; ``None`` where it has none."""
    if isinstance(column, NumericColumn):
        return column.encoder
    return column.age if isinstance(column, DatetimeColumn) else None


def _part(times: pa.Array, part: Part) -> Ids:
    ids = _optional_ids(_READ_PART[part](times))
    # far outside the calendar Arrow gives impossible parts
    return np.where((ids < 0) | (ids >= RESERVED + PARTS[part]), np.int32(MISSING), ids)


def _optional_ids(numbers_from_0: pa.Array) -> Ids:
    ids = pc.fill_null(numbers_from_0.cast(pa.int32(), safe=False), MISSING - RESERVED)
    return ids.to_numpy(zero_copy_only=False) + np.int32(RESERVED)


def _missing(ids: Ids) -> int:
    return int(np.count_nonzero(ids == MISSING))
