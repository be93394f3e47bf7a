"""The run folder: a new one, or the same run taken up again."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from polytask.config import Config, dump_config
from polytask.errors import Problem, UserError, raise_errors
from polytask.files import make_folder, read_json, whole_file, write_json
from polytask.tables import Tables
from polytask.training.environment import describe_environment, fingerprints

CONFIG, ENVIRONMENT, RECORDS, LOCK = "config.toml", "environment.json", "records.jsonl", ".lock"
Command = Literal["train", "compare", "sweep", "pareto", "group"]
WORKS: Mapping[str, str] = {
    "train": "a run", "compare": "a comparison", "sweep": "a sweep", "pareto": "a front", "group": "a grouping",
}  # fmt: skip
"""What each command makes."""


def check_folder(out: Path, config: Config, tables: Tables, *, resume: bool, command: Command = "train") -> None:
    """Refuses a folder in which this run cannot be begun or taken up again; writes nothing.

    Args:
        out: The run folder.
        config: The configuration, with absolute paths.
        tables: The open tables.
        resume: Whether the run may have been begun before.
        command: What is to be done in it.

    Raises:
        UserError: The folder holds something else, or a run with another configuration or other data; every
            difference is named.
    """
    if not (out / CONFIG).exists():
        if out.exists() and (not out.is_dir() or any(file.name != LOCK for file in out.iterdir())):
            raise UserError(Problem(str(out), "exists and is no run folder", "name a new folder with --out"))
        return
    check_command(out, command)
    if not resume:
        remedy = "add --resume to go on with it, or name another --out"
        raise UserError(Problem(str(out), f"holds {WORKS[command]} already", remedy))
    problems = differences(out, config)
    marks = _known_data(out / ENVIRONMENT)
    problems += [
        Problem(f"{part} part", "is not the data that this run was begun with", "use the same data, or a new --out")
        for part, mark in (fingerprints(tables) if marks else {}).items()
        if marks.get(part, mark) != mark
    ]
    raise_errors(problems)


def check_command(out: Path, command: Command) -> None:
    """Refuses a folder that another command has begun.

    Raises:
        UserError: It has, and its files would be mixed with those of this one.
    """
    try:
        found = read_json(out / ENVIRONMENT)["command"]
    except (OSError, ValueError, LookupError, TypeError):
        return  # of before it was written down, or damaged, which is found when data are compared
    if found != command:
        what = f"holds {WORKS.get(str(found), 'something else')}, made by polytask {found}"
        raise UserError(Problem(str(out), what, f"name another --out for {WORKS[command]}"))


@contextmanager
def run_folder(out: Path, config: Config, tables: Tables, *, command: Command = "train") -> Iterator[None]:
    """Begins the run folder with its configuration and environment; a begun one is left as it is.

    Meanwhile no other process can do the same. Where the block finds the user at fault before any step is trained, the
    folder that it began is removed again.

    Raises:
        UserError: Another process is at work in the folder.
    """
    make_folder(out)
    with _alone(out):
        fresh = not (out / CONFIG).exists()
        if fresh:
            write_json(out / ENVIRONMENT, {"command": command, **describe_environment(tables)})
            with whole_file(out / CONFIG) as partial:
                partial.write_text(dump_config(config), encoding="utf-8")
        try:
            yield
        except UserError:
            if fresh and not any(file.stat().st_size for file in out.rglob(RECORDS)):
                shutil.rmtree(out)
            raise


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Holds the folder's lock, which ends with the process whatever becomes of it."""
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        remedy = "wait for its end, or name another --out"
        raise UserError(Problem(str(out), "another polytask process is at work in it", remedy)) from error
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise UserError(Problem(str(out / LOCK), what, "name another --out")) from error
    try:
        yield
    finally:
        lock.release()


def differences(out: Path, config: Config) -> list[Problem]:
    """How a configuration differs from the one of a run folder, key by key.

    Raises:
        UserError: The folder's configuration cannot be read.
    """
    try:
        before = tomllib.loads((out / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(Problem(str(out / CONFIG), f"cannot be read ({error})", "name a new folder")) from error
    return _differences(before, tomllib.loads(dump_config(config)), "")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> list[Problem]:
    problems = []
    for key in sorted(old.keys() | new.keys()):
        where, before, after = f"{path}{key}", old.get(key), new.get(key)
        if where == "train.log":
            continue  # who else looks on is no part of the run
        if isinstance(before, dict) and isinstance(after, dict):
            problems += _differences(before, after, f"{where}.")
        elif before != after:
            what = f"was {_shown(before)} when this run was begun, is {_shown(after)} now"
            problems.append(Problem(where, what, "set it back, or use a new --out"))
    return problems


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _known_data(file: Path) -> Mapping[str, str]:
    try:
        found = read_json(file)["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"cannot be read ({type(error).__name__}), so that the data cannot be compared"
        raise UserError(Problem(str(file), what, "name a new folder with --out")) from error
    return dict(found)
