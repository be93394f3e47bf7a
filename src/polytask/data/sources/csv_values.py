"""What the text of a CSV cell can be: kinds, column types, and the conversion of a column of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NULL, INTEGER, HUGE, FLOAT, BOOLEAN, DATE, TIME, ZONED, TEXT = range(9)
_NUMBERS = (INTEGER, HUGE, FLOAT)
_SPACE = " \t"
_INTEGER = r"^-?[0-9]+$"
_FLOAT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity|nan)$"
_BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?$"
_ZONED = _TIME[:-1] + r"(Z|[+-][0-9]{2}:?[0-9]{2})$"
_PARSED = {
    FLOAT: (_FLOAT, pa.float64()),
    BOOLEAN: (_BOOLEAN, pa.bool_()),
    DATE: (_DATE, pa.date32()),
    TIME: (_TIME, pa.timestamp("us")),
    ZONED: (_ZONED, pa.timestamp("us", "UTC")),
}


@dataclass(slots=True)
class ColumnSurvey:
    """How many cells of each kind one column has, and the first cell that is no number.

    Attributes:
        counts: Cells per kind, in the order NULL, INTEGER, HUGE, FLOAT, BOOLEAN, DATE, TIME, ZONED, TEXT.
        smallest: The smallest integer beyond 64 bits signed, 0 without one.
        largest: The largest one.
        odd_row: First row (from 0) that is neither null nor a number.
        odd_value: What stands there.
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(9, dtype=np.int64))
    smallest: int = 0
    largest: int = 0
    odd_row: int | None = None
    odd_value: str = ""
    _negative: bool = False

    def add(self, cells: pa.DictionaryArray, first_row: int) -> None:
        """Counts the cells of one block that starts at row ``first_row``."""
        values = cells.dictionary
        kinds = self._kinds(values)
        codes = np.append(kinds, NULL)[pc.fill_null(cells.indices, len(kinds)).to_numpy()]
        self.counts += np.bincount(codes, minlength=9)
        if self.odd_row is None and (odd := np.flatnonzero(codes > FLOAT)).size:
            self.odd_row = first_row + int(odd[0])
            self.odd_value = cells[int(odd[0])].as_py()

    def type(self) -> pa.DataType:
        """The narrowest type that holds every cell: text is what everything fits into."""
        found = {kind for kind in range(1, 9) if self.counts[kind]}
        if not found:
            return pa.null()
        if found <= {INTEGER, HUGE}:
            fits = self.smallest >= 0 and self.largest < 2**64 and not self._negative
            return pa.int64() if HUGE not in found else pa.uint64() if fits else pa.string()
        if found <= set(_NUMBERS):
            return pa.float64()
        if found <= {DATE, TIME}:
            return pa.timestamp("us") if TIME in found else pa.date32()
        only = {BOOLEAN: pa.bool_(), ZONED: pa.timestamp("us", "UTC")}
        return only[found.pop()] if len(found) == 1 and found <= set(only) else pa.string()

    def mixed(self) -> tuple[int, int]:
        """``(odd, filled)``: cells that are no number, and cells that are not null."""
        filled = int(self.counts[1:].sum())
        return filled - int(sum(self.counts[kind] for kind in _NUMBERS)), filled

    def _kinds(self, values: pa.StringArray) -> npt.NDArray[np.int64]:
        """The kind of every distinct cell; an expression only proposes, the conversion itself decides."""
        kinds = np.full(len(values), TEXT, dtype=np.int64)
        kinds[_true(values.is_null())] = NULL
        trimmed = pc.utf8_trim(values, _SPACE)
        integers = _true(pc.match_substring_regex(trimmed, _INTEGER))
        kinds[integers] = INTEGER
        self._note_huge(trimmed, kinds)
        for kind, (pattern, target) in _PARSED.items():
            rest = np.flatnonzero(kinds == TEXT)
            if not rest.size:
                break
            fits = rest[_true(pc.match_substring_regex(trimmed.take(pa.array(rest)), pattern))]
            if fits.size and _converts(trimmed.take(pa.array(fits)), target):
                kinds[fits] = kind
        return kinds

    def _note_huge(self, trimmed: pa.StringArray, kinds: npt.NDArray[np.int64]) -> None:
        """Integers that need more than 64 bits signed must not become floats silently."""
        integers = np.flatnonzero(kinds == INTEGER)
        if not integers.size:
            return
        texts = trimmed.take(pa.array(integers))
        self._negative = self._negative or bool(pc.any(pc.starts_with(texts, "-")).as_py())
        long = integers[_true(pc.greater(pc.utf8_length(texts), 18))]
        for row in long.tolist():  # distinct values of 19 digits and more only
            value = int(trimmed[row].as_py())
            if not -(2**63) <= value < 2**63:
                kinds[row] = HUGE
                self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)


def cells_of(column: pa.StringArray, null_tokens: Sequence[str], *, strip: bool) -> pa.DictionaryArray:
    """The cells of one block as a dictionary whose null tokens are null; ``strip`` drops leading spaces."""
    cells = (pc.utf8_ltrim(column, _SPACE) if strip else column).dictionary_encode()
    nulls = pc.is_in(cells.dictionary, value_set=pa.array(null_tokens, pa.string()))
    if not pc.any(nulls).as_py():
        return cells
    values = pc.if_else(nulls, pa.scalar(None, pa.string()), cells.dictionary)
    return pa.DictionaryArray.from_arrays(cells.indices, values)


def convert(cells: pa.DictionaryArray, target: pa.DataType) -> pa.Array:
    """The cells in the type that the survey found."""
    values = cells.dictionary
    if not pa.types.is_string(target):
        values = pc.utf8_trim(values, _SPACE)
        if pa.types.is_timestamp(target) and target.tz is None:
            values = pc.if_else(
                pc.match_substring_regex(values, _DATE), pc.binary_join_element_wise(values, "00:00", " "), values
            )
        values = pa.nulls(len(values), target) if pa.types.is_null(target) else values.cast(target)
    return values.take(cells.indices)


def _converts(values: pa.StringArray, target: pa.DataType) -> bool:
    try:
        values.cast(target)
    except pa.ArrowInvalid:
        return False
    return True


def _true(mask: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
