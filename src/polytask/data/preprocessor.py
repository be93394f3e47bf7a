"""The fitted road from raw columns to a `Block`, as data: numpy and Arrow only, so that serving needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.block import Block
from polytask.data.columns import Column, DatetimeColumn, Encoded, SequenceColumn, number_of
from polytask.data.keys import is_text
from polytask.data.labels import LabelEncoder, group_keys, sample_weights
from polytask.data.layout import Layout, lay_out
from polytask.data.vocabulary import IdSpace
from polytask.errors import Problem, UserError, suggest
from polytask.specs import FeatureSpec, LabelStats, TaskName

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass
class Counts:
    """What happened to values on their way: counted per column, for the summary after a prediction.

    Attributes:
        rows: Rows encoded.
        unseen: Values that training had not seen.
        missing: Values that were null, NaN or infinite.
        unknown_labels: Per task, rows whose class training had not seen; they count as not observed.
    """

    rows: int = 0
    unseen: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    unknown_labels: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, encoded: Encoded) -> None:
        """Counts one encoded array."""
        if encoded.unseen:
            self.unseen[name] += encoded.unseen
        if encoded.missing:
            self.missing[name] += encoded.missing


@dataclass(frozen=True)
class Preprocessor:
    """Everything that was learned from the training rows before the first step.

    Attributes:
        columns: The features.
        spaces: Vocabularies and hashes by name.
        labels: The tasks' labels, in their order.
        stats: What the training rows say about each label.

    Example:
        >>> from polytask.data.columns import CategoricalColumn
        >>> from polytask.data.vocabulary import Vocabulary
        >>> space = Vocabulary(pa.array(["a", "b"]))
        >>> fitted = Preprocessor((CategoricalColumn("x", space),), {"x": space}, (), {})
        >>> fitted.encode(pa.record_batch({"x": ["b", None, "new"]})).ids.tolist()
        [[3], [1], [0]]
    """

    columns: tuple[Column, ...]
    spaces: Mapping[str, IdSpace]
    labels: tuple[LabelEncoder, ...]
    stats: Mapping[TaskName, LabelStats]

    @cached_property
    def _layout(self) -> Layout:
        return lay_out(self.columns, self.spaces)

    @property
    def spec(self) -> FeatureSpec:
        """What an encoder must know."""
        return self._layout.spec(self.columns)

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """The tasks, in the order of `Block.labels`."""
        return tuple(label.spec.task for label in self.labels)

    def space_rows(self) -> dict[str, tuple[int, int]]:
        """Per id space or id column: its first row in the fused table, and how many rows it has."""
        return dict(self._layout.spans)

    def places(self) -> dict[str, tuple[slice, slice]]:
        """Per raw column, which id columns and which numeric inputs of a `Block` are made of it; a list has neither."""
        found = {}
        for column, place in zip(self.columns, self._layout.places, strict=True):
            ids = 0 if isinstance(column, SequenceColumn) else len(place.starts)
            number = number_of(column)
            numerics = len(number.numerics) if number else 0
            found[column.name] = (
                slice(place.id_column, place.id_column + ids), slice(place.numeric, place.numeric + numerics)
            )  # fmt: skip
        return found

    def feature_columns(self) -> tuple[str, ...]:
        """Raw columns that features are made of."""
        return tuple(column.name for column in self.columns)

    @property
    def groups(self) -> dict[TaskName, str]:
        """Per task with grouped metrics, its group column."""
        return {label.spec.task: label.spec.group for label in self.labels if label.spec.group}

    def label_columns(self) -> tuple[str, ...]:
        """Raw columns that labels, sample spaces, weights and groups are made of."""
        names: list[str] = []
        for label in self.labels:
            extra = (label.spec.weight, label.spec.group)
            names += [*label.columns, *(name for name in extra if name)]
        return tuple(dict.fromkeys(names))

    def columns_of_others(self, tasks: Collection[TaskName]) -> tuple[str, ...]:
        """Raw columns of labels and weights that only other tasks read; where these are away, they are no features."""
        own = {name for label in self.labels if label.spec.task in tasks for name in _of(label)}
        own |= set(self.feature_columns())
        read = dict.fromkeys(name for label in self.labels for name in _of(label))
        return tuple(name for name in read if name not in own)

    def columns_read(self) -> tuple[str, ...]:
        """Raw columns of labelled rows that are read at all, each once."""
        return tuple(dict.fromkeys((*self.feature_columns(), *self.label_columns())))

    def check(self, schema: pa.Schema, *, labels: bool) -> None:
        """Refuses a table that lacks columns, all of them at once.

        Raises:
            UserError: With each missing column and close names.
        """
        wanted = [(name, "feature") for name in self.feature_columns()]
        wanted += [(name, "label") for name in self.label_columns()] if labels else []
        problems = [
            Problem(f"column '{name}'", f"is missing (the model reads it as a {role})", suggest(name, schema.names))
            for name, role in wanted
            if name not in schema.names
        ]
        problems += self._type_problems(schema)
        if problems:
            raise UserError(problems)

    def encode(self, batch: pa.RecordBatch, *, labels: bool = False, counts: Counts | None = None) -> Block:
        """Encodes raw rows.

        Args:
            batch: Rows with at least the columns that are needed, in any order.
            labels: Whether labels are read as well.
            counts: Where unseen and missing values are counted.
        """
        layout, rows = self._layout, len(batch)
        ids = np.empty((rows, len(layout.id_names)), dtype=np.int32)
        numeric = np.empty((rows, len(layout.numerics)), dtype=np.float32)
        sequences = {}
        for column, place in zip(self.columns, layout.places, strict=True):
            encoded = column.encode(batch.column(column.name))
            for index, values in enumerate(encoded.numerics, place.numeric):
                numeric[:, index] = values
            if encoded.sequence is not None:
                items, offsets = encoded.sequence
                sequences[column.name] = (items + np.int32(place.starts[0]), offsets)
            for index, (own, start) in enumerate(zip(encoded.ids, place.starts, strict=False), place.id_column):
                np.add(own, np.int32(start), out=ids[:, index])
            if counts is not None:
                counts.add(column.name, encoded)
        if counts is not None:
            counts.rows += rows
        if not labels:
            return Block(ids, numeric, np.zeros((0, rows), np.float32), np.zeros((0, rows), np.bool_), sequences)
        return Block(ids, numeric, *self._labels(batch, counts), sequences, *self._weights_and_groups(batch))

    def _labels(self, batch: pa.RecordBatch, counts: Counts | None) -> tuple[Floats, npt.NDArray[np.bool_]]:
        values = np.zeros((len(self.labels), len(batch)), dtype=np.float32)
        observed = np.zeros((len(self.labels), len(batch)), dtype=np.bool_)
        for index, label in enumerate(self.labels):
            values[index], observed[index], unknown = label.encode(batch)
            if unknown and counts is not None:
                counts.unknown_labels[label.spec.task] += unknown
        return values, observed

    def _weights_and_groups(self, batch: pa.RecordBatch) -> tuple[dict[str, Floats], dict[str, npt.NDArray[np.int64]]]:
        weights = {
            label.spec.task: sample_weights(label.spec.weight, batch.column(label.spec.weight))
            for label in self.labels
            if label.spec.weight
        }
        columns = dict.fromkeys(label.spec.group for label in self.labels if label.spec.group)
        return weights, {name: group_keys(batch.column(name)) for name in columns}

    def _type_problems(self, schema: pa.Schema) -> Iterable[Problem]:
        for column in self.columns:
            if column.name not in schema.names:
                continue
            kind = schema.field(column.name).type
            listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
            text = is_text(kind)
            if pa.types.is_null(kind):
                continue
            if isinstance(column, SequenceColumn) and not listed and not (text and column.separator):
                held = "text" if text else str(kind)
                yield Problem(f"column '{column.name}'", f"holds {held}, the model expects lists of ids")
            elif listed and not isinstance(column, SequenceColumn):
                yield Problem(f"column '{column.name}'", "holds lists, the model expects one value a row")
            elif isinstance(column, DatetimeColumn) and text:
                yield Problem(f"column '{column.name}'", "holds text, the model expects dates or times")


def _of(label: LabelEncoder) -> tuple[str, ...]:
    return label.columns if label.spec.weight is None else (*label.columns, label.spec.weight)
