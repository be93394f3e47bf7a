"""Columns that the configuration names and the tables lack, or hold in a form that the role cannot use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.checks.parts import Parts
from polytask.errors import Problem, suggest

_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


def missing_columns(parts: Parts, named: Mapping[str, Sequence[str]]) -> list[Problem]:
    """A problem per column that is named somewhere and does not exist.

    Args:
        parts: The tables.
        named: Per place in the configuration (``"data.drop"``), the columns named there.
    """
    names = parts.schema.names
    return [
        Problem(where, f"no column '{column}'", suggest(column, names))
        for where, columns in named.items()
        for column in columns
        if column not in names
    ]


def schema_differences(parts: Parts, needed: Sequence[str]) -> list[Problem]:
    """Columns that the table of another part lacks, or holds as another type."""
    first = parts.sources[0]
    problems = []
    for source in parts.sources[1:]:
        for column in needed:
            if column not in first.schema.names:
                continue
            if column not in source.schema.names:
                what = f"does not exist in {source.name}, but in {first.name}"
                problems.append(Problem(f"column '{column}'", what, suggest(column, source.schema.names)))
                continue
            ours, theirs = first.schema.field(column).type, source.schema.field(column).type
            if family(ours) != family(theirs) and "nothing" not in (family(ours), family(theirs)):
                what = f"holds {family(theirs)} in {source.name}, but {family(ours)} in {first.name}"
                problems.append(Problem(f"column '{column}'", what, "write both files with the same types"))
    return problems


def role_problems(kinds: Mapping[str, str], separators: Mapping[str, str], sample: pa.Table) -> list[Problem]:
    """Roles that the configuration gives to columns whose values do not fit.

    Args:
        kinds: The roles given by the user.
        separators: Columns whose text is split into a sequence.
        sample: Rows to look at.
    """
    problems = []
    for name, kind in kinds.items():
        if name not in sample.column_names:
            continue
        column = sample.column(name)
        held = family(column.type)
        what = remedy = ""
        if kind == "numeric" and held == "text":
            what, remedy = _text_as_numbers(column), 'clean the values, or say kind = "categorical"'
        elif kind == "datetime" and held not in ("times", "integers", "numbers", "nothing"):
            what, remedy = f"holds {held}", "give timestamps, dates, or numbers since 1970"
        elif kind == "sequence" and held != "lists" and not (held == "text" and name in separators):
            what, remedy = f"holds {held}", 'give lists, or text with separator = ","'
        elif kind in ("numeric", "categorical", "boolean") and held == "lists":
            what, remedy = "holds lists", 'say kind = "sequence"'
        elif kind == "boolean" and held not in ("booleans", "integers", "numbers", "nothing"):
            what, remedy = f"holds {held}", 'say kind = "categorical"'
        if what:
            problems.append(Problem(f"features.{name}", f'kind = "{kind}", but the column {what}', remedy))
    return problems


def family(kind: pa.DataType) -> str:
    """The sort of values in everyday words.

    Example:
        >>> family(pa.int8()), family(pa.dictionary(pa.int32(), pa.string())), family(pa.list_(pa.int64()))
        ('integers', 'text', 'lists')
    """
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    tests = (
        (pa.types.is_boolean, "booleans"),
        (pa.types.is_integer, "integers"),
        (pa.types.is_floating, "numbers"),
        (pa.types.is_decimal, "numbers"),
        (pa.types.is_temporal, "times"),
        (pa.types.is_string, "text"),
        (pa.types.is_large_string, "text"),
        (pa.types.is_list, "lists"),
        (pa.types.is_large_list, "lists"),
        (pa.types.is_null, "nothing"),
    )
    return next((word for test, word in tests if test(kind)), str(kind))


def _text_as_numbers(column: pa.ChunkedArray) -> str:
    text = column.cast(pa.string())
    wrong = text.filter(pc.invert(pc.fill_null(pc.match_substring_regex(text, _NUMBER), True)))
    if not len(wrong):
        return ""
    count = f"{len(wrong):,} of {len(text):,} sampled rows"
    return f"holds text that is no number in {count} (for example {wrong[0].as_py()!r})"
