"""CSV files as a table: read twice (types, then values), then kept and read as Parquet in a cache."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import pyarrow as pa
import pyarrow.parquet as pq

from polytask.data.sources.base import BATCH_ROWS
from polytask.data.sources.csv_text import CsvOptions, CsvText
from polytask.data.sources.csv_values import ColumnSurvey, cells_of, convert
from polytask.data.sources.files import Stamp, digest
from polytask.data.sources.parquet import ParquetSource
from polytask.errors import Problem, UserError

__all__ = ["CsvOptions", "cache_folder", "open_csv"]

_FORMAT = 1  # of the cached files; a new number makes old ones invisible
_PROBLEMS = b"polytask.problems"


def open_csv(
    files: Sequence[Path],
    *,
    name: str | None = None,
    options: CsvOptions | None = None,
    cache: Path | None = None,
    problems: Sequence[Problem] = (),
) -> ParquetSource:
    """Opens CSV files through their cached Parquet copies, which are made where they are missing.

    A column gets the narrowest type that holds every one of its cells (integers, floats, booleans, dates, timestamps,
    otherwise text), so that the types do not depend on the first rows. Integers beyond 64 bits become text.

    Args:
        files: The files, in order; compressed ones too.
        name: What messages call them.
        options: How they are written.
        cache: The folder for the copies; see `cache_folder`.
        problems: Warnings and notes to pass on.

    Raises:
        UserError: Ragged rows, repeated or empty names, text that does not decode, or types that differ across files.
    """
    options = options or CsvOptions()
    folder = cache if cache is not None else cache_folder()
    copies: list[Path] = []
    found: list[Problem] = list(problems)
    errors: list[Problem] = []
    for path in files:
        try:
            copy, warnings = _copy_of(path, options, folder)
            copies.append(copy)
            found.extend(warnings)
        except UserError as error:
            errors.extend(error.problems)
    if errors:
        raise UserError(errors)
    settings = json.dumps(asdict(options), sort_keys=True)
    digests = [digest(path) + settings for path in files]
    labels = [str(path) for path in files]
    return ParquetSource(copies, name=name, labels=labels, digests=digests, problems=found)


def cache_folder() -> Path:
    """``$POLYTASK_CACHE/csv``, else ``$XDG_CACHE_HOME/polytask/csv``, else ``~/.cache/polytask/csv``."""
    if own := os.environ.get("POLYTASK_CACHE"):
        return Path(own).expanduser() / "csv"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "polytask" / "csv"


def _copy_of(path: Path, options: CsvOptions, folder: Path) -> tuple[Path, list[Problem]]:
    stamp = Stamp.of(path)
    settings = json.dumps([_FORMAT, str(path.resolve()), asdict(options), asdict(stamp), digest(path)], sort_keys=True)
    copy = folder / f"{path.name.split('.')[0]}-{sha256(settings.encode()).hexdigest()[:24]}.parquet"
    if (kept := _kept_problems(copy)) is not None:
        return copy, kept
    text = CsvText(path, options)
    schema, warnings = _survey(text)
    _write(text, schema, warnings, copy)
    if Stamp.of(path) != stamp:
        copy.unlink()
        raise UserError(Problem(f"file '{path}'", "was changed while it was read", "start again"))
    return copy, warnings


def _kept_problems(copy: Path) -> list[Problem] | None:
    """The warnings stored in a cached copy, or None where there is no intact copy."""
    if not copy.exists():
        return None
    try:
        stored = pq.read_schema(copy).metadata
    except (pa.ArrowException, OSError):
        return None
    return [Problem(**problem) for problem in json.loads(stored[_PROBLEMS])]


def _survey(text: CsvText) -> tuple[pa.Schema, list[Problem]]:
    """First reading: what every column can be, and which rows are ragged."""
    columns = [ColumnSurvey() for _ in text.names]
    rows = 0
    for block in text.blocks():
        for survey, array in zip(columns, block.columns, strict=True):
            survey.add(cells_of(array, text.options.null_tokens, strip=text.strip), rows)
        rows += len(block)
    if not rows:
        raise UserError(Problem(f"file '{text.path}'", "has a header line but no rows", "write it again, or remove it"))
    schema = pa.schema([pa.field(name, survey.type()) for name, survey in zip(text.names, columns, strict=True)])
    return schema, [
        _mixed(text, name, survey) for name, survey in zip(text.names, columns, strict=True) if _is_mixed(survey)
    ]


def _is_mixed(survey: ColumnSurvey) -> bool:
    odd, filled = survey.mixed()
    return pa.types.is_string(survey.type()) and 0 < odd <= filled / 2


def _mixed(text: CsvText, name: str, survey: ColumnSurvey) -> Problem:
    odd, filled = survey.mixed()
    line = text.line_of(survey.odd_row or 0)
    where = f"on line {line}" if line is not None else f"in row {(survey.odd_row or 0) + 1:,}"
    what = (
        f"mixed types: {odd:,} of {filled:,} values are not numbers (first: {survey.odd_value!r} {where}), "
        "so the column is read as text"
    )
    remedy = f"repair them, or leave the cells empty if {survey.odd_value!r} means 'missing'"
    return Problem(f"column '{name}' of {text.path}", what, remedy, "warning")


def _write(text: CsvText, schema: pa.Schema, warnings: Sequence[Problem], copy: Path) -> None:
    """Second reading: the values, written aside and then renamed, so that a copy is complete or absent."""
    stored = json.dumps([asdict(warning) for warning in warnings])
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=copy.parent, prefix=f".{copy.stem}-", delete=False) as file:
            temporary = Path(file.name)
        try:
            with pq.ParquetWriter(
                temporary, schema.with_metadata({_PROBLEMS: stored.encode()}), compression="lz4"
            ) as out:
                for table in _row_groups(text, schema):
                    out.write_table(table, row_group_size=BATCH_ROWS)
            temporary.replace(copy)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        what = f"the copy of '{text.path}' cannot be written ({error.strerror or error})"
        remedy = "free some space, or set POLYTASK_CACHE to another folder"
        raise UserError(Problem(f"folder '{copy.parent}'", what, remedy)) from error


def _row_groups(text: CsvText, schema: pa.Schema) -> Iterator[pa.Table]:
    """The converted blocks, regrouped into tables of 65,536 rows."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for block in text.blocks():
        arrays = [
            convert(cells_of(array, text.options.null_tokens, strip=text.strip), field.type)
            for array, field in zip(block.columns, schema, strict=True)
        ]
        waiting.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        rows += len(block)
        while rows >= BATCH_ROWS:
            table = pa.Table.from_batches(waiting, schema=schema)
            yield table.slice(0, BATCH_ROWS)
            waiting = table.slice(BATCH_ROWS).to_batches()
            rows -= BATCH_ROWS
    if rows:
        yield pa.Table.from_batches(waiting, schema=schema)
