"""The operations of `polytask.data.expressions` on Arrow arrays, with their type rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Literal = bool | int | float | str

_COMPARE: dict[str, Callable[..., pa.Array]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_ARITHMETIC: dict[str, Callable[..., pa.Array]] = {
    "+": pc.add_checked,
    "-": pc.subtract_checked,
    "*": pc.multiply_checked,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class TypeMistake(Exception):  # noqa: N818 (a mistake of the user's, turned into a UserError by the caller)
    """Operands that do not go together."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Operand:
    """A column, a result, or literals.

    Attributes:
        values: An Arrow array; a tuple for literals.
        name: How messages call it.
    """

    values: Any
    name: str

    @staticmethod
    def of_column(array: pa.Array, name: str) -> Operand:
        """A column of the table."""
        return Operand(array, f"column '{name}'")

    @staticmethod
    def of_literals(values: tuple[Literal, ...]) -> Operand:
        """One literal, or the list after ``in``."""
        return Operand(values, ", ".join(repr(value) for value in values))

    @property
    def array(self) -> pa.Array:
        """The values of a column or a result."""
        return self.values

    @property
    def is_literal(self) -> bool:
        """Whether it has no rows of its own."""
        return isinstance(self.values, tuple)

    @property
    def type(self) -> pa.DataType:
        """Its type, that of the values for dictionaries."""
        kind = self.values.type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    @property
    def group(self) -> str:
        """``number``, ``text``, ``boolean``, ``time``, ``null``, or the name of a type that cannot be compared."""
        if self.is_literal:
            groups = {
                "boolean" if isinstance(v, bool) else "text" if isinstance(v, str) else "number" for v in self.values
            }
            if len(groups) > 1:
                raise TypeMistake(f"the list {self.name} mixes text, numbers or booleans", "use values of one type")
            return groups.pop()
        return _group(self.type)

    def __str__(self) -> str:
        return f"{self.name} is {self.group}" if self.is_literal else f"{self.name} is {self.group} ({self.type})"


def apply(kind: str, operands: Sequence[Operand]) -> Operand:
    """Evaluates one operation.

    Raises:
        TypeMistake: The operands do not go together, or integers overflow.
    """
    if kind in ("and", "or", "not"):
        return _logic(kind, operands)
    if kind == "isnull":
        return Operand(_is_missing(_rows(operands[0], "isnull()").array), "isnull()")
    if kind == "abs":
        return Operand(pc.abs_checked(_number(_rows(operands[0], "abs()"), "abs()")), "abs()")
    if kind in ("+", "-", "*", "/"):
        return _arithmetic(kind, *operands)
    left, right = operands
    if left.is_literal and right.is_literal:
        raise TypeMistake(f"{left.name} {kind} {right.name} compares two constants", "name a column on one side")
    if left.is_literal:
        left, right, kind = right, left, _MIRRORED.get(kind, kind)
    _check_comparable(kind, left, right)
    if right.is_literal:
        return Operand(_on_distinct(left, lambda values: _against_literals(kind, values, right, left)), f"'{kind}'")
    return Operand(_compare_columns(kind, left, right), f"'{kind}'")


def _group(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "time"
    return "boolean" if pa.types.is_boolean(kind) else "null" if pa.types.is_null(kind) else "a list"


def _check_comparable(kind: str, left: Operand, right: Operand) -> None:
    groups = {left.group, right.group}
    if "a list" in groups:
        culprit = left if left.group == "a list" else right
        raise TypeMistake(f"{culprit}, which cannot be compared", "use a column with one value a row")
    if len(groups) == 1 or "null" in groups or groups == {"number", "boolean"}:
        return
    if groups == {"time", "text"} and right.is_literal:
        return
    what = f"'{kind}' compares different types: {left}, {right}"
    if left.group == "text" and right.is_literal:
        remedy = f"put the value in quotes: {', '.join(repr(str(value)) for value in right.values)}"
    elif right.is_literal and right.group == "text":
        remedy = "write the number without quotes"
    else:
        remedy = "compare columns of one type"
    raise TypeMistake(what, remedy)


def _on_distinct(operand: Operand, function: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Applies ``function`` to the dictionary of an encoded column where that is shorter than the column."""
    array = operand.array
    if not pa.types.is_dictionary(array.type):
        return function(array)
    if len(array.dictionary) > len(array):
        return function(array.dictionary_decode())
    return function(array.dictionary).take(array.indices)


def _against_literals(kind: str, values: pa.Array, literals: Operand, column: Operand) -> pa.Array:
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), pa.bool_())
    values = _missing_as_null(values)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    typed = [_typed(value, values.type, kind, column) for value in literals.values]
    if kind in ("in", "not in"):
        inside = pc.is_in(values, value_set=pa.array([scalar for scalar in typed if scalar is not None], values.type))
        inside = pc.if_else(values.is_null(), pa.scalar(None, pa.bool_()), inside)
        return inside if kind == "in" else pc.invert(inside)
    if typed[0] is not None:
        return _COMPARE[kind](values, pa.scalar(typed[0], values.type))
    return _outside(kind, values, literals.values[0])


def _typed(value: Literal, kind: pa.DataType, operator: str, column: Operand) -> Any:
    """The literal as a Python value that ``kind`` holds exactly; None where it lies outside (300 for int8, 1.5)."""
    if pa.types.is_integer(kind):
        number = int(value) if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()) else value
        if not isinstance(number, int):
            return None
        low = -(2 ** (kind.bit_width - 1)) if pa.types.is_signed_integer(kind) else 0
        return number if low <= number < low + 2**kind.bit_width else None
    if pa.types.is_floating(kind):
        return float(value)
    if isinstance(value, str) and not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        try:
            return pa.array([value]).cast(kind)[0].as_py()
        except pa.ArrowInvalid as error:
            what = f"{column} '{operator}' {value!r}, which is no such date or time"
            raise TypeMistake(what, "write it as '2022-05-01' or '2022-05-01 13:00:00'") from error
    return value


def _outside(kind: str, values: pa.Array, literal: Literal) -> pa.Array:
    """Compares integers with a number that their type cannot hold, without rounding any of them."""
    number = float(literal)
    if number.is_integer() or number != number or abs(number) >= 2.0**63:  # beyond the range: every row agrees
        below = number > 0
        answer = {"==": False, "!=": True, "<": below, "<=": below, ">": not below, ">=": not below}[kind]
        return pc.if_else(values.is_null(), pa.scalar(None, pa.bool_()), pa.scalar(answer))
    if kind in ("==", "!="):
        return pc.if_else(values.is_null(), pa.scalar(None, pa.bool_()), pa.scalar(kind == "!="))
    floor = int(number // 1)  # v < 1.5 is v <= 1, v > 1.5 is v > 1
    return pc.less_equal(values, floor) if kind in ("<", "<=") else pc.greater(values, floor)


def _compare_columns(kind: str, left: Operand, right: Operand) -> pa.Array:
    first, second = (_missing_as_null(_decoded(operand.array)) for operand in (left, right))
    if left.group == "null" or right.group == "null":
        return pa.nulls(len(first), pa.bool_())
    first, second = _as_one_type(_boolean_as_integer(first), _boolean_as_integer(second))
    try:
        return _COMPARE[kind](first, second)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TypeMistake(f"'{kind}' cannot compare {left} with {right} ({error})", "bring them to one type") from error


def _as_one_type(first: pa.Array, second: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Floats beside integers of any width become float64 on both sides (float32 would round ids)."""
    kinds = first.type, second.type
    if first.type != second.type and any(pa.types.is_floating(kind) for kind in kinds):
        return first.cast(pa.float64(), safe=False), second.cast(pa.float64(), safe=False)
    return first, second


def _logic(kind: str, operands: Sequence[Operand]) -> Operand:
    for operand in operands:
        if operand.is_literal or operand.group not in ("boolean", "null"):
            remedy = f"write a comparison, for example {operand.name.removeprefix('column ').strip(chr(39))} == 1"
            raise TypeMistake(f"'{kind}' needs conditions, but {operand}", remedy)
    arrays = [operand.array.cast(pa.bool_()) for operand in operands]
    if kind == "not":
        return Operand(pc.invert(arrays[0]), "'not'")
    return Operand(reduce(pc.and_kleene if kind == "and" else pc.or_kleene, arrays), f"'{kind}'")


def _arithmetic(kind: str, left: Operand, right: Operand) -> Operand:
    if left.is_literal and right.is_literal:
        raise TypeMistake(f"{left.name} {kind} {right.name} computes with two constants", "write the result")
    first, second = _number(left, kind), _number(right, kind)
    if kind == "/" or pa.types.is_floating(first.type) or pa.types.is_floating(second.type):
        first, second = (_to_float64(values) for values in (first, second))
    try:
        computed = pc.divide(first, second) if kind == "/" else _ARITHMETIC[kind](first, second)
    except pa.ArrowInvalid as error:
        raise TypeMistake(f"{left.name} {kind} {right.name} overflows 64-bit integers", "add 0.0 first") from error
    return Operand(computed, f"'{kind}'")


def _number(operand: Operand, kind: str) -> Any:
    """A scalar or array of int64, uint64 or float64 / float32."""
    if operand.group not in ("number", "boolean", "null"):
        raise TypeMistake(f"'{kind}' needs numbers, but {operand}", "use a numeric column")
    if operand.is_literal:
        value = operand.values[0]
        return pa.scalar(float(value) if isinstance(value, float) else int(value))
    values = _missing_as_null(_decoded(operand.array))
    if pa.types.is_floating(values.type) or pa.types.is_uint64(values.type):
        return values
    return values.cast(pa.int64())


def _to_float64(values: Any) -> Any:
    return pc.cast(values, pa.float64(), safe=False)


def _rows(operand: Operand, function: str) -> Operand:
    if operand.is_literal:
        raise TypeMistake(f"{function} of the constant {operand.name}", "name a column")
    return operand


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _boolean_as_integer(array: pa.Array) -> pa.Array:
    return array.cast(pa.int8()) if pa.types.is_boolean(array.type) else array


def _missing_as_null(array: pa.Array) -> pa.Array:
    """NaN means missing in a table; compared as it is, it would turn into False."""
    if not pa.types.is_floating(array.type):
        return array
    return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)


def _is_missing(array: pa.Array) -> pa.Array:
    return pc.is_null(_decoded(array), nan_is_null=pa.types.is_floating(array.type))
