"""Learns the preprocessing from the training part: one streaming pass, memory bounded by distinct values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.columns import (
    BooleanColumn,
    CategoricalColumn,
    Column,
    ColumnOptions,
    DatetimeFitter,
    NumericColumn,
    SequenceColumn,
)
from polytask.data.counting import VocabularyCounter
from polytask.data.keys import is_text
from polytask.data.label_stats import ClassFinder, LabelFitter
from polytask.data.labels import LabelEncoder, sample_weights
from polytask.data.numeric import NumericFitter
from polytask.data.parts import READ_ROWS, Part
from polytask.data.preprocessor import Preprocessor
from polytask.data.readings import list_items, numbers, truths
from polytask.data.vocabulary import HashBuckets, IdSpace
from polytask.errors import Problem, UserError, raise_errors, suggest
from polytask.specs import LabelSpec

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Fitted:
    """What the pass over the training part gives.

    Attributes:
        preprocessor: The fitted preprocessing.
        fragment_rows: Training rows per fragment of the source.
    """

    preprocessor: Preprocessor
    fragment_rows: npt.NDArray[np.int64]


def fit(
    part: Part,
    options: Mapping[str, ColumnOptions],
    labels: Sequence[LabelSpec],
    *,
    progress: Progress | None = None,
    batch_rows: int = READ_ROWS,
) -> Fitted:
    """Fits vocabularies, scalers and label statistics.

    Args:
        part: The training rows.
        options: Per feature column how it is encoded; columns that are not named are not read.
        labels: The tasks' labels.
        progress: Called with the number of rows after every batch.
        batch_rows: Rows read at a time; decides memory, not the result.

    Raises:
        UserError: Columns are missing, or values do not fit their column's role; all that one batch shows at once.
    """
    schema = part.source.schema
    features = {name: option for name, option in options.items() if option.kind != "drop"}
    encoders = [LabelEncoder(spec, tuple(schema.names), spec.classes) for spec in labels]
    raise_errors([*_option_problems(schema, features), *_label_problems(schema, encoders)])
    encoders = _with_classes(part, encoders, batch_rows)
    fitters, label_fitters = _Fitters(features, schema), [LabelFitter(encoder) for encoder in encoders]
    columns = tuple(dict.fromkeys((*features, *(name for encoder in encoders for name in _read_columns(encoder)))))
    fragment_rows = np.zeros(len(part.source.fragments), dtype=np.int64)
    for fragment in range(len(fragment_rows)):
        for batch in part.read(fragment, columns, batch_rows=batch_rows):
            fragment_rows[fragment] += len(batch)
            raise_errors([*fitters.update(batch), *_update_labels(batch, encoders, label_fitters)])
            if progress is not None:
                progress(len(batch))
    if not fragment_rows.sum():
        raise UserError(Problem(part.source.name, "has no training rows", "check the split"))
    fitted, spaces = fitters.finish()
    stats = {encoder.spec.task: fitter.finish() for encoder, fitter in zip(encoders, label_fitters, strict=True)}
    final = tuple(fitter.finish_encoder() for fitter in label_fitters)
    return Fitted(Preprocessor(fitted, spaces, final, stats), fragment_rows)


def count_rows(part: Part) -> npt.NDArray[np.int64]:
    """The part's rows per fragment; reads only what the split needs."""
    if part.split is None:
        return np.asarray([fragment.rows for fragment in part.source.fragments], dtype=np.int64)
    # reading no column at all would lose the number of rows
    read = part.split.columns or part.source.schema.names[:1]
    fragments = range(len(part.source.fragments))
    return np.asarray([sum(len(batch) for batch in part.read(index, read)) for index in fragments], dtype=np.int64)


class _Fitters:
    """One accumulator per column, and one per id space."""

    def __init__(self, options: Mapping[str, ColumnOptions], schema: pa.Schema) -> None:
        self._options = options
        self._numeric = {
            name: NumericFitter(option.encoding, option.impute)
            for name, option in options.items()
            if option.kind == "numeric"
        }
        self._times = {
            name: DatetimeFitter(name, option.unit) for name, option in options.items() if option.kind == "datetime"
        }
        self._space_of = _space_names(options)
        self._text = {
            space: any(held == "text" for held in _held(schema, options, space).values())
            for space in self._space_of.values()
        }
        hashed = {space for name, space in self._space_of.items() if options[name].hash_buckets}
        self._counters = {
            space: VocabularyCounter(text=text) for space, text in self._text.items() if space not in hashed
        }

    def update(self, batch: pa.RecordBatch) -> Iterator[Problem]:
        """Takes in one batch; yields what is wrong with its columns."""
        for name in self._options:
            try:
                self._update_column(name, batch.column(name))
            except UserError as error:
                yield from error.problems

    def finish(self) -> tuple[tuple[Column, ...], dict[str, IdSpace]]:
        spaces = {space: self._space(space) for space in dict.fromkeys(self._space_of.values())}
        return tuple(self._column(name, option, spaces) for name, option in self._options.items()), spaces

    def _update_column(self, name: str, array: pa.Array) -> None:
        option = self._options[name]
        if option.kind == "numeric":
            self._numeric[name].update(numbers(name, array))
        elif option.kind == "datetime":
            self._times[name].update(array)
        elif option.kind == "boolean":
            truths(name, array)
        elif self._space_of[name] in self._counters:
            values = list_items(name, array, option.separator)[0] if option.kind == "sequence" else array
            self._counters[self._space_of[name]].update(values)

    def _space(self, space: str) -> IdSpace:
        options = [self._options[name] for name, its in self._space_of.items() if its == space]
        buckets = [option.hash_buckets for option in options if option.hash_buckets]
        if buckets:
            return HashBuckets(max(buckets), text=self._text[space])
        limits = [option.max_vocabulary for option in options if option.max_vocabulary is not None]
        return self._counters[space].finish(
            min_count=min(option.min_count for option in options), max_vocabulary=max(limits, default=None)
        )

    def _column(self, name: str, option: ColumnOptions, spaces: Mapping[str, IdSpace]) -> Column:
        if option.kind == "numeric":
            return NumericColumn(self._numeric[name].finish(name))
        if option.kind == "datetime":
            return self._times[name].finish()
        if option.kind == "boolean":
            return BooleanColumn(name)
        space = spaces[self._space_of[name]]
        if option.kind == "sequence":
            return SequenceColumn(name, space, option.pooling, option.target, option.separator)
        return CategoricalColumn(name, space)


def _update_labels(
    batch: pa.RecordBatch, encoders: Sequence[LabelEncoder], fitters: Sequence[LabelFitter]
) -> Iterator[Problem]:
    for encoder, fitter in zip(encoders, fitters, strict=True):
        weight = encoder.spec.weight
        try:
            values, observed, _ = encoder.encode(batch)
            fitter.update(values, observed, sample_weights(weight, batch.column(weight)) if weight else None)
        except UserError as error:
            yield from error.problems


def _read_columns(encoder: LabelEncoder) -> tuple[str, ...]:
    return (*encoder.columns, *((encoder.spec.weight,) if encoder.spec.weight else ()))


def _with_classes(part: Part, encoders: Sequence[LabelEncoder], batch_rows: int) -> list[LabelEncoder]:
    """Finds the classes of multiclass labels of text; reads nothing where there are none."""
    schema = part.source.schema
    finders = {
        encoder.spec.task: ClassFinder(encoder)
        for encoder in encoders
        if encoder.spec.kind == "multiclass" and encoder.classes is None and encoder.is_text(schema)
    }
    if not finders:
        return list(encoders)
    columns = tuple(
        dict.fromkeys(name for encoder in encoders if encoder.spec.task in finders for name in encoder.columns)
    )
    for batch in part.scan(columns, batch_rows=batch_rows):
        for finder in finders.values():
            finder.update(batch)
    return [finders[encoder.spec.task].finish() if encoder.spec.task in finders else encoder for encoder in encoders]


def _space_names(options: Mapping[str, ColumnOptions]) -> dict[str, str]:
    return {
        name: option.vocabulary or name
        for name, option in options.items()
        if option.kind in ("categorical", "sequence")
    }


def _held(schema: pa.Schema, options: Mapping[str, ColumnOptions], space: str) -> dict[str, str]:
    """Per column of an id space, whether it holds text or numbers; columns without any value are left out."""
    found = {}
    for name, its in _space_names(options).items():
        kind = schema.field(name).type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        if its == space and not pa.types.is_null(kind):
            found[name] = "text" if is_text(kind) else "numbers"
    return found


def _option_problems(schema: pa.Schema, options: Mapping[str, ColumnOptions]) -> list[Problem]:
    """Columns that do not exist, attention targets that are no categories, vocabularies of text and numbers."""
    problems = []
    for name, option in options.items():
        if name not in schema.names:
            problems.append(Problem(f"features.{name}", f"column '{name}' does not exist", suggest(name, schema.names)))
        target = options.get(option.target) if option.target else None
        if option.target and (target is None or target.kind != "categorical"):
            categorical = [other for other, its in options.items() if its.kind == "categorical"]
            what = f"'{option.target}' is not a categorical feature"
            problems.append(Problem(f"features.{name}.target", what, suggest(option.target, categorical)))
    if problems:
        return problems
    for space in dict.fromkeys(_space_names(options).values()):
        held = _held(schema, options, space)
        if len(set(held.values())) > 1:
            listed = ", ".join(f"'{name}' ({what})" for name, what in held.items())
            what = f"is shared by text and numbers: {listed}"
            problems.append(Problem(f"vocabulary '{space}'", what, "give them separate vocabularies"))
    return problems


def _label_problems(schema: pa.Schema, encoders: Sequence[LabelEncoder]) -> Iterator[Problem]:
    for encoder in encoders:
        spec = encoder.spec
        try:
            _ = encoder.columns
        except UserError as error:
            yield from error.problems
        for key, column in (("weight", spec.weight), ("group", spec.group)):
            if column is not None and column not in schema.names:
                what = f"column '{column}' does not exist"
                yield Problem(f"tasks.{spec.task}.{key}", what, suggest(column, schema.names))
