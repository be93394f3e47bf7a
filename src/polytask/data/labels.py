"""Raw columns to labels: values, which of them are observed, sample weights and groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.expressions import Expression, parse
from polytask.data.hashing import hash_array
from polytask.data.keys import Mask, integer_keys, is_keyed, is_text
from polytask.data.readings import numbers
from polytask.data.spaces import sample_space
from polytask.errors import Problem, UserError
from polytask.specs import LabelSpec

CLASS_KINDS = ("binary", "multiclass", "ordinal")
MOST_CLASSES = 100_000  # a wrong column, such as a user id, must not become an output layer
_NO_GROUP = np.iinfo(np.int64).min

Values = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Classes = tuple[str | int | bool, ...]


@dataclass(frozen=True)
class LabelEncoder:
    """Reads one task's label from raw columns.

    Attributes:
        spec: What the configuration says.
        names: Columns of the table.
        classes: The label's values in class order: those that the configuration gives, or else those that the training
            rows have. ``None`` where labels are numbers.

    Raises:
        UserError: From every method: label or sample space cannot be read, or hold values that the task cannot have.

    Example:
        >>> encoder = LabelEncoder(LabelSpec("buy", "binary", "bought", where="click == 1"), ("click", "bought"))
        >>> values, observed, _ = encoder.encode(pa.record_batch({"click": [1, 1, 0], "bought": [1, None, 0]}))
        >>> values.tolist(), observed.tolist()
        ([1.0, 0.0, 0.0], [True, False, False])
    """

    spec: LabelSpec
    names: tuple[str, ...]
    classes: Classes | None = None

    @cached_property
    def _label(self) -> Expression:
        return parse(self.spec.label, self.names)

    @cached_property
    def _where(self) -> Expression | None:
        where = sample_space(self.spec, self.names)
        return parse(where, self.names) if where else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that define the label and the sample space: never features."""
        return tuple(dict.fromkeys((*self.label_columns, *self.space_columns)))

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Raw columns that the label itself reads."""
        return self._label.columns

    @property
    def space_columns(self) -> tuple[str, ...]:
        """Raw columns that the sample space reads."""
        return self._where.columns if self._where else ()

    def is_text(self, schema: pa.Schema) -> bool:
        """Whether the label's values are text, for columns of these types."""
        return is_text(self._label.type(schema))

    def encode(self, batch: pa.RecordBatch) -> tuple[Values, Mask, int]:
        """Labels, which of them are observed, and how many are left out because training never saw their class.

        Returns:
            Float32[rows] (0 where unobserved), Bool[rows]: known, finite, and inside the sample space; and that number.
        """
        values, observed = self._numbers(self._label.evaluate(batch))
        observed &= self.inside(batch)
        unknown = 0
        if self.classes is not None and self.spec.classes is None:
            # the classes were found in training; a new one can neither be predicted nor be scored
            fresh = observed & (values < 0)
            unknown = int(np.count_nonzero(fresh))
            observed &= ~fresh
        self._check(values[observed])
        return np.where(observed, values, 0.0).astype(np.float32), observed, unknown

    def inside(self, batch: pa.RecordBatch) -> Mask:
        """Which rows lie in the sample space; a missing answer means no."""
        if self._where is None:
            return np.ones(len(batch), np.bool_)
        inside = self._where.evaluate(batch)
        if not pa.types.is_boolean(inside.type):
            what = f"'{self.spec.where}' is not true or false"
            remedy = f'write a comparison, for example where = "{self.spec.where} == 1"'
            raise UserError(Problem(f"tasks.{self.spec.task}.where", what, remedy))
        found: Mask = pc.fill_null(inside, False).to_numpy(zero_copy_only=False)
        return found

    def words(self, batch: pa.RecordBatch) -> set[str]:
        """The distinct values of a text label inside the sample space."""
        distinct = pc.unique(self._label.evaluate(batch).filter(pa.array(self.inside(batch))))
        return {value for value in distinct.to_pylist() if value is not None}

    def _numbers(self, raw: pa.Array) -> tuple[Floats, Mask]:
        if self.classes is not None:
            return self._class_numbers(raw, self.classes)
        if is_text(raw.type):
            raise UserError(self._text_problem(raw))
        if pa.types.is_temporal(raw.type) or not (is_keyed(raw.type) or pa.types.is_null(raw.type)):
            raise UserError(Problem(self._place, f"is of type {raw.type}", "turn it into a number first"))
        values = pc.fill_null(raw.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
        return values, np.isfinite(values)

    def _class_numbers(self, raw: pa.Array, classes: Classes) -> tuple[Floats, Mask]:
        """Positions in ``classes``; -1 for other values."""
        if is_text(raw.type):
            words = pa.array([str(value) for value in classes], pa.string())
            text = raw.cast(pa.string())
            index = pc.fill_null(pc.index_in(text, value_set=words), -1)
            known = text.is_valid().to_numpy(zero_copy_only=False)
            return index.to_numpy(zero_copy_only=False).astype(np.float64), known
        if pa.types.is_temporal(raw.type) or not (is_keyed(raw.type) or pa.types.is_null(raw.type)):
            raise UserError(Problem(self._place, f"is of type {raw.type}", "turn it into a number or text first"))
        wanted = self._class_keys(classes, raw.type)
        keys, valid = integer_keys(raw)
        order = np.argsort(wanted)
        at = order[np.minimum(np.searchsorted(wanted[order], keys), len(wanted) - 1)]
        known = np.ones(len(keys), np.bool_) if valid is None else valid
        return np.where(wanted[at] == keys, at, -1).astype(np.float64), known

    def _class_keys(self, classes: Classes, kind: pa.DataType) -> npt.NDArray[np.int64]:
        try:
            return np.asarray([int(value) for value in classes], dtype=np.int64)
        except (ValueError, OverflowError) as error:
            what = f"holds values of type {kind}, but classes = {list(classes)!r} are text"
            raise UserError(Problem(self._place, what, "give the numbers that the column holds")) from error

    def _check(self, values: Floats) -> None:
        wrong = self._outside(values)
        if wrong is None or not wrong.any():
            return
        count = f"{int(np.count_nonzero(wrong)):,} of {len(values):,} rows"
        if self.classes is not None:
            what = f"holds values that are none of its classes ({count})"
            remedy = f"classes are {list(self.classes)!r}; add what is missing, or leave rows out with where"
        else:
            allowed = {"binary": "0 and 1", "count": "numbers from 0"}.get(
                self.spec.kind, f"class numbers from 0 below {MOST_CLASSES:,}"
            )
            what = f"holds values that a {self.spec.kind} label cannot have ({count}, first {values[wrong][0]:g})"
            remedy = f"it takes {allowed}; write an expression, choose another kind, or give classes"
        raise UserError(Problem(self._place, what, remedy))

    def _outside(self, values: Floats) -> Mask | None:
        if self.classes is not None:
            return values < 0
        if self.spec.kind == "binary":
            return (values != 0.0) & (values != 1.0)
        if self.spec.kind in CLASS_KINDS:
            return (values < 0) | (values != np.floor(values)) | (values >= MOST_CLASSES)
        return values < 0 if self.spec.kind == "count" else None

    @property
    def _place(self) -> str:
        return f"tasks.{self.spec.task}: label '{self.spec.label}'"

    def _text_problem(self, raw: pa.Array) -> Problem:
        words = raw.dictionary if isinstance(raw, pa.DictionaryArray) else raw
        values = sorted(value for value in pc.unique(words).to_pylist() if value is not None)
        listed = ", ".join(repr(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
        if self.spec.kind == "binary" and len(values) == 2:
            remedy = f"add classes = [{listed}] (negative, positive), or label = \"{self.spec.label} == '{values[1]}'\""
        else:
            remedy = "write an expression that gives a number, or give classes = [...]"
        return Problem(self._place, f"is text ({listed})", remedy)


def sample_weights(name: str, array: pa.Array) -> Values:
    """A weight column as floats; a missing weight counts as 0.

    Raises:
        UserError: A weight is negative or infinite, or the column holds no numbers.
    """
    values = pc.fill_null(numbers(name, array).cast(pa.float64(), safe=False), 0.0).to_numpy(zero_copy_only=False)
    weights = np.where(np.isnan(values), 0.0, values)
    wrong = (weights < 0.0) | np.isinf(weights)
    if wrong.any():
        what = f"is a sample weight, but {np.count_nonzero(wrong):,} of {len(weights):,} rows are negative or infinite"
        raise UserError(
            Problem(f"column '{name}'", f"{what} (first {weights[wrong][0]:g})", "give finite weights from 0")
        )
    return weights.astype(np.float32)


def group_keys(array: pa.Array) -> npt.NDArray[np.int64]:
    """User or query ids as integers: numbers as they are, text by its hash; rows without an id form one group."""
    if not (is_keyed(array.type) or pa.types.is_null(array.type)):
        return hash_array(array).view(np.int64)
    keys, known = integer_keys(array)
    # a copy: what Arrow owns may not be written to, and tensors want to share memory
    return keys.copy() if known is None else np.where(known, keys, _NO_GROUP)
