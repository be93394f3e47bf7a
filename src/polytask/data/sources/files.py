"""From what the user calls the data (file, folder, glob, list of them) to a list of files of one format."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from polytask.errors import Problem, UserError, suggest

Format = Literal["parquet", "csv"]

_PARQUET = (".parquet", ".pq", ".parq")
_TEXT = (".csv", ".tsv", ".txt", ".data")
_IN_FOLDERS = (*_PARQUET, ".csv", ".tsv")  # a README.txt beside the data is none of it
_COMPRESSED = (".gz", ".bz2", ".zst")
_SAMPLE = 1 << 16


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file looked like when it was opened.

    Attributes:
        size: Bytes.
        modified: Time of the last change in nanoseconds.
    """

    size: int
    modified: int

    @staticmethod
    def of(path: str | Path) -> Stamp:
        """Reads the stamp from the file system."""
        status = Path(path).stat()
        return Stamp(status.st_size, status.st_mtime_ns)


def find_files(data: str | Path | Sequence[str | Path]) -> tuple[Format, tuple[Path, ...]]:
    """All files that ``data`` names, with their common format.

    Folders are searched at all depths; hidden files and those that start with ``_`` (as ``_SUCCESS``) are passed over.

    Raises:
        UserError: Nothing is found, a file is empty or named twice, or formats are mixed.
    """
    items = [data] if isinstance(data, str | Path) else list(data)
    if not items:
        raise UserError(Problem("data", "the list of files is empty", "name at least one file"))
    problems: list[Problem] = []
    files: list[Path] = []
    for item in items:
        try:
            files.extend(_expand(item))
        except UserError as error:
            problems.extend(error.problems)
    repeated = sorted({str(path) for path in files if files.count(path) > 1}) if len(items) > 1 else []
    problems += [Problem(f"file '{path}'", "is named more than once", "name every file once") for path in repeated]
    formats: dict[Format, Path] = {}
    for path in dict.fromkeys(files):
        if path.stat().st_size == 0:
            problems.append(Problem(f"file '{path}'", "is empty (0 bytes)", "write it again, or remove it"))
        elif (found := format_of(path)) is None:
            what = f"is of no known type (known: {', '.join((*_PARQUET, *_TEXT))}, the latter also compressed)"
            problems.append(Problem(f"file '{path}'", what, "convert it to Parquet or CSV"))
        else:
            formats.setdefault(found, path)
    if len(formats) > 1:
        examples = " and ".join(f"'{path}'" for path in formats.values())
        problems.append(Problem("data", f"mixes Parquet and CSV files ({examples})", "use files of one format"))
    if problems:
        raise UserError(problems)
    return next(iter(formats)), tuple(files)


def format_of(path: Path) -> Format | None:
    """The format of a file by the end of its name, or by its first bytes where the name says nothing."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes = suffixes[:-1]
    if suffixes and suffixes[-1] in _PARQUET:
        return "parquet"
    if suffixes and suffixes[-1] in _TEXT:
        return "csv"
    with path.open("rb") as file:
        return "parquet" if file.read(4) == b"PAR1" else None


def digest(path: str | Path) -> str:
    """A hash of a file's size, first and last 64 KiB (for Parquet that includes the footer with all statistics)."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        found = sha256(str(size).encode())
        file.seek(0)
        found.update(file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        found.update(file.read(_SAMPLE))
    return found.hexdigest()[:32]


def hive_columns(data: str | Path | Sequence[str | Path], files: Sequence[Path]) -> tuple[Problem, ...]:
    """A warning where folders are named ``key=value``: such columns are not read."""
    if not isinstance(data, str | Path) or not Path(data).is_dir():
        return ()
    folders = {part.split("=", 1)[0] for path in files for part in path.relative_to(data).parts[:-1] if "=" in part}
    what = "is given by the names of folders only, and is not read"
    return tuple(
        Problem(f"column '{key}'", what, "write it into the files as well", "warning") for key in sorted(folders)
    )


def _expand(item: str | Path) -> list[Path]:
    path = Path(item).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and _is_data(file, path))
        if not found:
            raise UserError(Problem(f"folder '{path}'", "holds no Parquet or CSV file", "check the path"))
        return found
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns)
        if not (found := [match for match in matches if match.is_file()]):
            raise UserError(Problem(f"pattern '{path}'", "matches no file", "check the path and the wildcards"))
        return found
    if not path.parent.is_dir():
        raise UserError(
            Problem(f"file '{path}'", "does not exist", f"the folder '{path.parent}' does not exist either")
        )
    neighbours = sorted(file.name for file in path.parent.iterdir() if not file.name.startswith("."))
    hint = suggest(path.name, neighbours) if neighbours else f"the folder '{path.parent}' is empty"
    raise UserError(Problem(f"file '{path}'", "does not exist", hint))


def _is_data(file: Path, folder: Path) -> bool:
    if any(part.startswith((".", "_")) for part in file.relative_to(folder).parts):
        return False
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in _COMPRESSED]
    return bool(suffixes) and suffixes[-1] in _IN_FOLDERS
