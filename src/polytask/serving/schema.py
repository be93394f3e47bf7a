"""The parts of `schema.json` that are no preprocessing: format, scores, decisions, sums."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import polytask
from polytask.decisions import Decisions
from polytask.errors import Problem, UserError
from polytask.files import finite

FORMAT, PLAIN = 2, 1  # a bundle that decides nothing keeps the format that older versions read
WEIGHTS, VOCABULARIES = "model.safetensors", "vocabularies"
AllScores = Mapping[str, Mapping[str, Mapping[str, float]]]
SavedScores = dict[str, dict[str, dict[str, float | None]]]
_SCORES = TypeAdapter(SavedScores)


def new_schema(scores: AllScores, decisions: Decisions) -> dict[str, Any]:
    """What a new bundle's schema begins with."""
    number = FORMAT if decisions else PLAIN
    schema: dict[str, Any] = {"format": number, "polytask": polytask.__version__, "scores": finite(scores)}
    return {**schema, "decisions": finite(decisions.to_json())} if decisions else schema


def check_format(folder: Path, schema: Any) -> None:
    """Refuses a schema of another format, or of none."""
    if not isinstance(schema, dict) or type(schema.get("format")) is not int:
        raise ValueError("schema.json names no format")
    if schema["format"] not in (PLAIN, FORMAT):
        what = f"has format {schema['format']}, this polytask reads {PLAIN} and {FORMAT} "
        what += f"(it was written by {schema.get('polytask')})"
        raise UserError(Problem(f"bundle {folder}", what, "install the polytask version that wrote it, or train again"))


def read_scores(schema: Mapping[str, Any]) -> AllScores:
    """The scores of a schema; null is NaN again."""
    return {
        part: {
            task: {name: math.nan if value is None else value for name, value in metrics.items()}
            for task, metrics in tasks.items()
        }
        for part, tasks in _SCORES.validate_python(schema.get("scores", {})).items()
    }


def read_decisions(schema: Mapping[str, Any]) -> Decisions:
    """The decisions of a schema; none in a plain one."""
    found = Decisions.from_json(schema.get("decisions", {}))
    if bool(found) != (schema["format"] == FORMAT):
        raise ValueError(f"format {schema['format']} goes with {'no ' * (schema['format'] == PLAIN)}decisions")
    return found


def check_sums(folder: Path, schema: Mapping[str, Any]) -> None:
    """Compares weights and vocabularies with what was written; bundles of before there were sums have none."""
    sums = TypeAdapter(dict[str, str]).validate_python(schema.get("sha256", {}))
    known = [WEIGHTS, *(f"{VOCABULARIES}/{file.name}" for file in (folder / VOCABULARIES).glob("*.parquet"))]
    changed = [name for name in known if name in sums and sha256(folder / name) != sums[name]]
    if changed:
        raise ValueError(f"{', '.join(changed)} changed since the bundle was written")


def sha256(file: Path) -> str:
    """The sum of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
