"""``tracking.json``: what each logger calls the run, and how many lines of ``records.jsonl`` it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polytask.errors import Problem, UserError
from polytask.files import read_json, write_json

FILE = "tracking.json"


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of one logger.

    Attributes:
        id: What it calls the run.
        records: Lines of ``records.jsonl`` that it has.
    """

    id: str
    records: int


def read_known(folder: Path) -> dict[str, Known]:
    """Per logger what a run folder remembers of it; nothing without the file.

    Raises:
        UserError: The file cannot be read.
    """
    file = folder / FILE
    if not file.exists():
        return {}
    try:
        loggers = read_json(file)["loggers"]
        return {name: Known(str(known["id"]), int(known["records"])) for name, known in loggers.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "delete it: the loggers then begin new runs"
        raise UserError(Problem(str(file), f"cannot be read ({type(error).__name__}: {error})", remedy)) from error


def write_known(folder: Path, known: dict[str, Known]) -> None:
    """Writes the file."""
    loggers = {name: {"id": one.id, "records": one.records} for name, one in known.items()}
    write_json(folder / FILE, {"format": 1, "loggers": loggers})
