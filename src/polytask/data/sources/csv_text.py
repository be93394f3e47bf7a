"""Reading the text of one CSV file in blocks, and saying where it is broken."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as arrow_csv

from polytask.errors import Problem, UserError

if TYPE_CHECKING:
    import _csv

BLOCK_BYTES = 4 << 20
_SHOWN = 3
_RAGGED_LIMIT = 100_000  # enough to know that the file is broken


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How CSV files are written.

    Attributes:
        separator: One character; by default a tab for ``.tsv`` files, else a comma, or the semicolon, tab or bar that
            divides both the first two lines where no comma does.
        null_tokens: Cells that mean "missing"; add ``"?"`` where the file uses it.
        strip: Drop spaces after the separator (``a, b``); by default seen from the first lines.
        quoting: Whether ``"`` encloses text; False for files that use it as a plain character.
        encoding: For example ``"latin-1"``.
        column_names: For files without a header line.
    """

    separator: str | None = None
    null_tokens: tuple[str, ...] = ("", "NA", "NaN", "null", "None")
    strip: bool | None = None
    quoting: bool = True
    encoding: str = "utf-8"
    column_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and len(self.separator) != 1:
            raise UserError(Problem("csv separator", f"must be one character, found {self.separator!r}"))
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise UserError(Problem("csv encoding", f"'{self.encoding}' is unknown", "try 'utf-8'")) from error


def _divider(first: list[str] | None, second: list[str] | None) -> str | None:
    """What else than the separator divides two records of one cell each into as many cells; None: nothing.

    Example:
        >>> _divider(["user;click"], ["7;1"])
        ';'
    """
    if first is None or second is None or len(first) != 1 or len(second) != 1:
        return None
    counts = {mark: first[0].count(mark) for mark in ";\t|" if first[0].count(mark) == second[0].count(mark) > 0}
    return max(counts, key=lambda mark: counts[mark]) if counts else None


@dataclass(slots=True)
class CsvText:
    """One file with all options settled, and its header read.

    Args:
        path: The file; ``.gz``, ``.bz2`` and ``.zst`` are decompressed.
        options: As the user gave them.

    Attributes:
        names: The column names.
        strip: Whether spaces after the separator are dropped.
        separator: The character between cells.

    Raises:
        UserError: The header is missing, has empty or repeated names, or the text cannot be decoded.
    """

    path: Path
    options: CsvOptions
    names: tuple[str, ...] = ()
    strip: bool = False
    separator: str = ","
    _header_lines: int = 0
    _ragged: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        tabs = ".tsv" in [suffix.lower() for suffix in self.path.suffixes]
        self.separator = self.options.separator or ("\t" if tabs else ",")
        try:
            first, second, header_lines = self._first_lines()
            if self.options.separator is None and (other := _divider(first, second)) is not None:
                self.separator = other
                first, second, header_lines = self._first_lines()
        except UnicodeError as error:
            raise self._undecodable() from error
        except (OSError, EOFError, csv.Error, pa.ArrowException) as error:
            raise UserError(Problem(self._where, f"cannot be read ({error})", "check the file")) from error
        if first is None:
            raise UserError(Problem(self._where, "has no lines", "write it again, or remove it"))
        spaced = [
            len(record) > 1 and all(cell.startswith(" ") for cell in record[1:]) for record in (first, second or first)
        ]
        self.strip = all(spaced) if self.options.strip is None else self.options.strip
        if self.options.column_names is None:
            self.names, self._header_lines = tuple(cell.strip() for cell in first), header_lines
        else:
            self.names = self.options.column_names
        self._check_names()

    def _first_lines(self) -> tuple[list[str] | None, list[str] | None, int]:
        """The first two records, and how many lines the first one takes."""
        with self._open() as text:
            reader = self._reader(text, strip=False)
            first = next((record for record in reader if record), None)
            lines = reader.line_num
            return first, next((record for record in reader if record), None), lines

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """All cells as text, a few megabytes at a time; the columns are named ``0``, ``1``, ...

        Raises:
            UserError: Rows have too few or too many cells, or text cannot be decoded; said at the end of the file.
        """
        self._ragged.clear()
        keys = [str(number) for number in range(len(self.names))]
        separator, quote = self.separator, '"' if self.options.quoting else False
        try:
            with pa.input_stream(self.path, compression="detect") as stream:
                yield from arrow_csv.open_csv(
                    stream,
                    read_options=arrow_csv.ReadOptions(
                        use_threads=False,
                        block_size=BLOCK_BYTES,
                        column_names=keys,
                        skip_rows=self._header_lines,
                        encoding=self.options.encoding,
                    ),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=separator,
                        quote_char=quote,
                        newlines_in_values=self.options.quoting,
                        invalid_row_handler=self._note_ragged,
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(keys, pa.string()), null_values=[], strings_can_be_null=False
                    ),
                )
        except UnicodeError as error:
            raise self._undecodable() from error
        except (pa.ArrowException, OSError, EOFError) as error:
            raise self._unreadable(error) from error
        if self._ragged:
            raise UserError(self._ragged_problem())

    def line_of(self, row: int) -> int | None:
        """The line (from 1) at which data row ``row`` (from 0) ends; None where Python's reader disagrees."""
        skipped = 0 if self.options.column_names is not None else 1
        try:
            with self._open() as text:
                reader = self._reader(text, strip=self.strip)
                filled = (record for record in reader if record)
                return reader.line_num if next(islice(filled, row + skipped, None), None) is not None else None
        except (csv.Error, UnicodeError):
            return None

    @property
    def _where(self) -> str:
        return f"file '{self.path}'"

    def _open(self) -> io.TextIOWrapper:
        stream = pa.input_stream(self.path, compression="detect")
        encoding = "utf-8-sig" if codecs.lookup(self.options.encoding).name == "utf-8" else self.options.encoding
        return io.TextIOWrapper(io.BufferedReader(stream), encoding=encoding, newline="")

    def _reader(self, text: io.TextIOWrapper, *, strip: bool) -> _csv.Reader:
        return csv.reader(
            text,
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.options.quoting else csv.QUOTE_NONE,
            skipinitialspace=strip,
        )

    def _check_names(self) -> None:
        problems: list[Problem] = []
        empty = [number for number, name in enumerate(self.names, 1) if not name]
        headless = "or add a header line if the file has none"
        if empty:
            remedy = f"name it (a pandas index: write with index=False), {headless}"
            problems.append(Problem(self._where, f"column {empty[0]} has no name in the header line", remedy))
        for name in dict.fromkeys(self.names):
            if name and (count := self.names.count(name)) > 1:
                what = f"{count} columns are named '{name}'"
                problems.append(Problem(self._where, what, f"give every column its own name, {headless}"))
        if len(self.names) == 1 and self.options.separator is None:
            likely = next((mark for mark in ";\t|," if mark in self.names[0]), None)
            if likely is not None:
                what = f"has a single column, named {self.names[0]!r}"
                problems.append(
                    Problem(
                        self._where,
                        what,
                        f"the separator seems to be {likely!r}: write commas, and the same number in each line",
                    )
                )
        if problems:
            raise UserError(problems)

    def _note_ragged(self, row: arrow_csv.InvalidRow) -> str:
        self._ragged.append(row.actual_columns)
        return "skip" if len(self._ragged) < _RAGGED_LIMIT else "error"

    def _ragged_problem(self) -> Problem:
        width, lines = len(self.names), []
        try:
            with self._open() as text:
                reader = self._reader(text, strip=self.strip)
                ragged = ((reader.line_num, len(record)) for record in reader if record and len(record) != width)
                lines = [f"line {line} has {found}" for line, found in islice(ragged, _SHOWN)]
        except csv.Error:
            lines = []
        at_least = "at least " if len(self._ragged) >= _RAGGED_LIMIT else ""
        where = f": {', '.join(lines)}" if lines else f" (the first has {self._ragged[0]})"
        what = f"{at_least}{len(self._ragged):,} ragged rows; expected {width} fields as in the header{where}"
        return Problem(self._where, what, "quote text that contains the separator, or repair these lines")

    def _unreadable(self, error: Exception) -> UserError:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if self._ragged:
            return UserError(self._ragged_problem())
        if "UTF8" in text:
            return self._undecodable()
        if "straddling" in text:
            what = f"a row is longer than {BLOCK_BYTES >> 20} MiB, probably because a quotation mark is never closed"
            return UserError(
                Problem(self._where, what, "repair it, or set quoting=False if quotes are plain characters")
            )
        return UserError(Problem(self._where, f"cannot be read ({text})", "the file seems damaged; write it again"))

    def _undecodable(self) -> UserError:
        """Finds the first byte that does not decode."""
        decoder = codecs.getincrementaldecoder(self.options.encoding)()
        line, start = 1, 0
        with pa.input_stream(self.path, compression="detect") as stream:
            while chunk := stream.read(1 << 20):
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError as error:
                    at = max(0, error.start - pending)
                    line += chunk[:at].count(b"\n")
                    what = f"line {line} (byte {start + at:,}) is not {self.options.encoding}: found 0x{chunk[at]:02x}"
                    return UserError(Problem(self._where, what, "convert the file to UTF-8"))
                line += chunk.count(b"\n")
                start += len(chunk)
        return UserError(Problem(self._where, f"is not {self.options.encoding}", "set its encoding"))
