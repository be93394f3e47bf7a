"""The few column types that the rest of polytask meets, and how everything else is brought to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from polytask.errors import Problem, UserError

TEXT = pa.dictionary(pa.int32(), pa.string())
_MANY = 3  # names of files listed in one message


def normal_type(kind: pa.DataType) -> pa.DataType | None:
    """The type in which a column of type ``kind`` arrives, or None where it is left out.

    Example:
        >>> normal_type(pa.large_string())
        DictionaryType(dictionary<values=string, indices=int32, ordered=0>)
        >>> normal_type(pa.decimal128(10, 2))
        DataType(double)
    """
    if pa.types.is_dictionary(kind):
        return normal_type(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return TEXT
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return pa.int64()
    if _is_list(kind):
        value = normal_type(kind.value_type)
        if value == TEXT:
            return pa.list_(pa.string())
        return pa.list_(value) if value is not None and pa.types.is_integer(value) else None
    plain = (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_null(kind)
    )
    return kind if plain else None


def normal_schema(schema: pa.Schema, name: str) -> tuple[pa.Schema, tuple[Problem, ...]]:
    """The schema in which the columns arrive, and notes on what was changed or left out.

    Raises:
        UserError: Two columns have the same name.
    """
    repeated = {column: count for column, count in Counter(schema.names).items() if count > 1}
    if repeated:
        raise UserError(
            Problem(f"column '{column}'", f"exists {count} times in {name}", "give every column its own name")
            for column, count in repeated.items()
        )
    fields: list[pa.Field] = []
    problems: list[Problem] = []
    for field in schema:
        target = normal_type(field.type)
        if target is None:
            what = f"has type {field.type}, which cannot be a feature or a label, and is left out"
            problems.append(Problem(f"column '{field.name}'", what, "flatten it into plain columns", "note"))
            continue
        if pa.types.is_decimal(field.type) or pa.types.is_time(field.type) or pa.types.is_duration(field.type):
            problems.append(Problem(f"column '{field.name}'", f"{field.type} is read as {target}", severity="note"))
        fields.append(pa.field(field.name, target))
    return pa.schema(fields), tuple(problems)


def to_normal(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Brings one array to its normal type.

    Raises:
        pyarrow.ArrowInvalid: A value does not fit, for example an integer beyond 2^53 in a float column.
    """
    if array.type == target:
        return array
    if target == TEXT:
        if not pa.types.is_dictionary(array.type):
            return array.cast(pa.string()).dictionary_encode()
        indices, values = array.indices.cast(pa.int32()), array.dictionary.cast(pa.string())
        return pa.DictionaryArray.from_arrays(indices, values)
    if pa.types.is_dictionary(array.type):
        return to_normal(array.dictionary_decode(), target)
    if _is_list(array.type) and pa.types.is_dictionary(array.type.value_type):
        return array.cast(pa.list_(array.type.value_type.value_type)).cast(target)
    if pa.types.is_time32(array.type):
        return array.cast(pa.int32()).cast(target)
    return array.cast(target)


def normal_batch(batch: pa.RecordBatch, columns: Sequence[str], schema: pa.Schema, name: str) -> pa.RecordBatch:
    """The given columns of ``batch``, in that order and in the types of ``schema``.

    Raises:
        UserError: A value does not fit into the column's type.
    """
    arrays: list[pa.Array] = []
    for column in columns:
        target = schema.field(column).type
        array = batch.column(batch.schema.get_field_index(column))
        try:
            arrays.append(to_normal(array, target))
        except pa.ArrowInvalid as error:
            what = f"a value of type {array.type} does not fit into {target} ({error})"
            raise UserError(Problem(f"column '{column}' of {name}", what, "write all files with one type")) from error
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def unify(schemas: Mapping[str, pa.Schema]) -> tuple[pa.Schema, tuple[Problem, ...]]:
    """One schema for several files, whose integer and float widths may differ.

    Args:
        schemas: Per file, its normal schema.

    Raises:
        UserError: A column is missing in some file, or has types that do not mix (text and number).
    """
    order = list(dict.fromkeys(column for schema in schemas.values() for column in schema.names))
    fields: list[pa.Field] = []
    problems: list[Problem] = []
    for column in order:
        found = {file: schema.field(column).type for file, schema in schemas.items() if column in schema.names}
        missing = [file for file in schemas if file not in found]
        if missing:
            what = f"missing in {len(missing)} of {len(schemas)} files ({_listed(missing)})"
            problems.append(Problem(f"column '{column}'", what, "give all files the same columns"))
            continue
        target = next(iter(found.values()))
        for kind in found.values():
            target = None if target is None else promote(target, kind)
        if target is None:
            problems.append(Problem(f"column '{column}'", f"mixed types across files: {_types(found)}", _SAME_TYPE))
            continue
        if pa.types.is_floating(target) and any(pa.types.is_integer(kind) for kind in found.values()):
            what = f"integer in some files, float in others: {_types(found)}; read as {target}"
            problems.append(Problem(f"column '{column}'", what, _SAME_TYPE, "warning"))
        fields.append(pa.field(column, target))
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise UserError(errors)
    return pa.schema(fields), tuple(problems)


_SAME_TYPE = "write the column with one type in all files"


def promote(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The smallest normal type that holds both without loss, or None.

    Example:
        >>> promote(pa.int8(), pa.uint16()), promote(pa.int64(), pa.uint64()), promote(pa.null(), TEXT) == TEXT
        (DataType(int32), None, True)
    """
    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if pa.types.is_integer(left) and pa.types.is_integer(right):
        return _promote_integers(left, right)
    if _is_number(left) and _is_number(right):
        return pa.float64()
    if pa.types.is_timestamp(left) and pa.types.is_timestamp(right) and left.tz == right.tz:
        units = ["s", "ms", "us", "ns"]
        return pa.timestamp(units[max(units.index(left.unit), units.index(right.unit))], left.tz)
    if _is_list(left) and _is_list(right):
        value = promote(left.value_type, right.value_type)
        return None if value is None else pa.list_(value)
    return None


def _promote_integers(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    signed = pa.types.is_signed_integer(left), pa.types.is_signed_integer(right)
    width = max(left.bit_width, right.bit_width)
    if signed[0] != signed[1]:
        unsigned = right if signed[0] else left
        width = max(width, 2 * unsigned.bit_width)
    by_width = {8: (pa.uint8(), pa.int8()), 16: (pa.uint16(), pa.int16())}
    by_width |= {32: (pa.uint32(), pa.int32()), 64: (pa.uint64(), pa.int64())}
    return by_width[width][any(signed)] if width in by_width else None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    views = (pa.types.is_list_view, pa.types.is_large_list_view)
    return any(test(kind) for test in (*lists, *views))


def _types(found: Mapping[str, pa.DataType]) -> str:
    files: dict[str, list[str]] = {}
    for file, kind in found.items():
        files.setdefault("text" if kind == TEXT else str(kind), []).append(file)
    return ", ".join(f"{kind} in {_listed(names)}" for kind, names in files.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MANY]) + (f" and {len(names) - _MANY} more" if len(names) > _MANY else "")
