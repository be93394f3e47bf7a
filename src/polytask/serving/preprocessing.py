"""The fitted preprocessing as files: JSON for numbers, Parquet for vocabularies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, TypeAdapter

from polytask.data.columns import (
    BooleanColumn,
    CategoricalColumn,
    Column,
    DatetimeColumn,
    NumericColumn,
    Part,
    Pooling,
    SequenceColumn,
)
from polytask.data.labels import Classes, LabelEncoder
from polytask.data.numeric import NumericEncoder
from polytask.data.preprocessor import Preprocessor
from polytask.data.readings import Unit
from polytask.data.vocabulary import HashBuckets, IdSpace, Vocabulary
from polytask.specs import LabelSpec, LabelStats

_MOST_ROWS = 2**31  # ids are 32-bit integers


@dataclass(frozen=True)
class _Space:
    name: str
    buckets: Annotated[int, Field(ge=1, lt=_MOST_ROWS)] | None = None
    text: bool | None = None


@dataclass(frozen=True)
class _Numeric:
    encoder: NumericEncoder
    role: Literal["numeric"] = "numeric"


@dataclass(frozen=True)
class _Datetime:
    name: str
    parts: tuple[Part, ...]
    age: NumericEncoder
    unit: Unit | None
    role: Literal["datetime"] = "datetime"


@dataclass(frozen=True)
class _Boolean:
    name: str
    role: Literal["boolean"] = "boolean"


@dataclass(frozen=True)
class _Categorical:
    name: str
    space: str
    role: Literal["categorical"] = "categorical"


@dataclass(frozen=True)
class _Sequence:
    name: str
    space: str
    pooling: Pooling
    target: str | None
    separator: Annotated[str, Field(min_length=1)] | None
    role: Literal["sequence"] = "sequence"


_Column = Annotated[_Numeric | _Datetime | _Boolean | _Categorical | _Sequence, Field(discriminator="role")]


@dataclass(frozen=True)
class _Label:
    spec: LabelSpec
    columns: tuple[str, ...]
    classes: Classes | None


@dataclass(frozen=True)
class _Saved:
    columns: tuple[_Column, ...]
    spaces: tuple[_Space, ...]
    labels: tuple[_Label, ...]
    stats: dict[str, LabelStats]


_SAVED = TypeAdapter(_Saved)
_SPACES: TypeAdapter[tuple[_Space, ...]] = TypeAdapter(tuple[_Space, ...])


def to_json(preprocessor: Preprocessor) -> dict[str, Any]:
    """Everything but the vocabularies' values."""
    names = {id(space): name for name, space in preprocessor.spaces.items()}
    saved = _Saved(
        columns=tuple(_described(column, names) for column in preprocessor.columns),
        spaces=tuple(
            _Space(name, space.buckets, space.text) if isinstance(space, HashBuckets) else _Space(name)
            for name, space in preprocessor.spaces.items()
        ),
        labels=tuple(_Label(label.spec, label.names, label.classes) for label in preprocessor.labels),
        stats=dict(preprocessor.stats),
    )
    return dataclasses.asdict(saved)


def from_json(saved: Mapping[str, Any], vocabularies: Mapping[str, Vocabulary]) -> Preprocessor:
    """The preprocessing from what `to_json` gave and the vocabularies by name.

    Raises:
        KeyError, ValueError: The description is incomplete, of the wrong types, or does not fit together.
    """
    found = _SAVED.validate_python(saved)
    spaces: dict[str, IdSpace] = {
        space.name: vocabularies[space.name] if space.buckets is None else HashBuckets(space.buckets, space.text)
        for space in found.spaces
    }
    columns = tuple(_restored(column, spaces) for column in found.columns)
    labels = tuple(LabelEncoder(label.spec, label.columns, label.classes) for label in found.labels)
    preprocessor = Preprocessor(columns, spaces, labels, found.stats)
    _refuse(preprocessor, repeated=len(spaces) < len(found.spaces))
    return preprocessor


def write_vocabularies(preprocessor: Preprocessor, folder: Path) -> list[str]:
    """One Parquet file per vocabulary; returns the file names in the order of the spaces."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number, space in enumerate(preprocessor.spaces.values()):
        if isinstance(space, Vocabulary):
            names.append(f"{number}.parquet")
            pq.write_table(pa.table({"value": space.values}), folder / names[-1], compression="zstd")
    return names


def read_vocabularies(saved: Mapping[str, Any], folder: Path) -> dict[str, Vocabulary]:
    """The vocabularies by name.

    Raises:
        OSError, KeyError, TypeError, ValueError: A file is missing, damaged or not a vocabulary.
    """
    vocabularies = {}
    for number, space in enumerate(_SPACES.validate_python(saved["spaces"])):
        if space.buckets is not None:
            continue
        with pq.ParquetFile(folder / f"{number}.parquet") as file:
            column = file.read(["value"]).column("value")
        values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if not (pa.types.is_int64(values.type) or pa.types.is_string(values.type)):
            raise ValueError(f"vocabulary {number} holds {values.type}")
        if values.null_count or pc.count_distinct(values).as_py() != len(values):
            raise ValueError(f"vocabulary {number} holds a value twice, or a missing one")
        vocabularies[space.name] = Vocabulary(values)
    return vocabularies


def _described(column: Column, spaces: Mapping[int, str]) -> _Column:
    if isinstance(column, NumericColumn):
        return _Numeric(column.encoder)
    if isinstance(column, DatetimeColumn):
        return _Datetime(column.name, column.parts, column.age, column.unit)
    if isinstance(column, BooleanColumn):
        return _Boolean(column.name)
    space = spaces[id(column.space)]
    if isinstance(column, CategoricalColumn):
        return _Categorical(column.name, space)
    return _Sequence(column.name, space, column.pooling, column.target, column.separator)


def _restored(column: _Column, spaces: Mapping[str, IdSpace]) -> Column:
    if isinstance(column, _Numeric):
        return NumericColumn(column.encoder)
    if isinstance(column, _Datetime):
        return DatetimeColumn(column.name, column.parts, column.age, column.unit)
    if isinstance(column, _Boolean):
        return BooleanColumn(column.name)
    space = spaces[column.space]
    if isinstance(column, _Categorical):
        return CategoricalColumn(column.name, space)
    return SequenceColumn(column.name, space, column.pooling, column.target, column.separator)


def _refuse(preprocessor: Preprocessor, *, repeated: bool) -> None:
    """Looks at how the parts fit together."""
    names = preprocessor.feature_columns()
    if repeated or len(set(names)) < len(names) or len(set(preprocessor.tasks)) < len(preprocessor.tasks):
        raise ValueError("a column, a task or a vocabulary is described twice")
    missing = [task for task in preprocessor.tasks if task not in preprocessor.stats]
    if missing:
        raise ValueError(f"there are no statistics of {missing}")
    categorical = {column.name for column in preprocessor.columns if isinstance(column, CategoricalColumn)}
    for column in preprocessor.columns:
        if isinstance(column, SequenceColumn) and column.target is not None and column.target not in categorical:
            raise ValueError(f"the target {column.target!r} of {column.name!r} is not a categorical column")
    if preprocessor.spec.rows >= _MOST_ROWS:
        raise ValueError("the embedding table has more rows than 32 bits can number")
