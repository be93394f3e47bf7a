"""Files and folders that appear whole or not at all: a crash at any moment leaves the old ones, or the new ones."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polytask.errors import Problem, UserError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the name ``folder`` when the block ends without an exception.

    What stood under that name before is replaced. Leftovers of an earlier crash are removed.

    Raises:
        UserError: No folder can be made there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     with whole_folder(Path(name, "result")) as partial:
        ...         _ = (partial / "a.txt").write_text("a")
        ...     [path.name for path in Path(name).rglob("*")]
        ['result', 'a.txt']
    """
    partial, stale = _beside(folder, "partial"), _beside(folder, "stale")
    for leftover in (partial, stale):
        shutil.rmtree(leftover, ignore_errors=True)
    make_folder(partial)
    try:
        yield partial
        for path in (*partial.rglob("*"), partial):
            _flush(path)
        if folder.exists():
            folder.rename(stale)
        partial.rename(folder)
        _flush(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Gives a path to write to, which takes the name ``file`` when the block ends without an exception.

    Raises:
        UserError: No file can be made there.
    """
    if file.is_dir():
        raise UserError(Problem(str(file), "is a folder", "name a file"))
    partial = _beside(file, "partial")
    try:
        partial.touch()
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise UserError(Problem(str(file), what, "name another file")) from error
    try:
        yield partial
        _flush(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def check_file(file: Path) -> None:
    """Says before long work that a file cannot be written.

    Raises:
        UserError: It is a folder, or its folder does not exist.
    """
    if file.is_dir():
        raise UserError(Problem(str(file), "is a folder", "name a file"))
    if not file.parent.is_dir():
        raise UserError(Problem(str(file), f"folder {file.parent} does not exist", "make it, or name another file"))


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, where they do not exist.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot be made ({error.strerror or error})"
        raise UserError(Problem(f"folder {folder}", what, "name another one")) from error


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Writes JSON that every reader understands: NaN and infinities become null."""
    with whole_file(file) as partial:
        partial.write_text(json.dumps(finite(value), indent=1), encoding="utf-8")


def read_json(file: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def finite(value: Any) -> Any:
    """The same nested value with null in the place of NaN and infinities.

    Example:
        >>> finite({"a": (1.0, math.nan)})
        {'a': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_nan(value: Any) -> Any:
    """The way back of `finite`, in dictionaries of any depth: null is NaN.

    Example:
        >>> with_nan({"click": {"auc": 0.7, "gauc": None}})
        {'click': {'auc': 0.7, 'gauc': nan}}
    """
    if isinstance(value, dict):
        return {key: with_nan(item) for key, item in value.items()}
    return math.nan if value is None else value


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _flush(path: Path) -> None:
    """Waits until a file, or the names inside a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
