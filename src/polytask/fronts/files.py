"""Fronts as JSON, CSV and Parquet: the same columns in all of them, whole files or none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from polytask.errors import Problem, UserError, suggest
from polytask.files import whole_file
from polytask.fronts.front import Front

FORMAT = 1
ENDINGS = (".json", ".csv", ".parquet")
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError)


def write(front: Front, file: Path) -> None:
    """Writes by the ending of the name.

    Raises:
        UserError: If the ending is unknown, or the file cannot be written.
    """
    _check_ending(file)
    columns = _columns(front)
    with whole_file(file) as partial:
        if file.suffix == ".parquet":
            pq.write_table(pa.table(columns), partial)
        else:
            partial.write_text(_text(columns, file.suffix), encoding="utf-8", newline="")


def read(file: Path) -> Front:
    """Reads by the ending of the name.

    Raises:
        UserError: If the file does not exist, cannot be read, or holds no front.
    """
    _check_ending(file)
    try:
        content = file.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        raise UserError(Problem(str(file), what, "name a file that `write` has written")) from error
    try:
        return _front(_parsed(content, file.suffix))
    # of broken Parquet pages Arrow says OSError; what Front says of the values is none of these, and goes through
    except (*_DAMAGE, csv.Error, pa.ArrowException) as error:
        what = f"holds no front ({' '.join(str(error).split())})"
        raise UserError(Problem(str(file), what, "write it again, or remove it")) from error


def _check_ending(file: Path) -> None:
    if file.suffix not in ENDINGS:
        what = f"the ending '{file.suffix}' is unknown"
        raise UserError(Problem(str(file), what, suggest(file.suffix, ENDINGS)))


def _columns(front: Front) -> dict[str, Sequence[Any]]:
    columns: dict[str, Sequence[Any]] = {"label": list(front.labels), "seed": list(front.seeds)}
    columns |= {f"preference.{name}": front.preferences[:, task].tolist() for task, name in enumerate(front.names)}
    return columns | {
        f"{better}.{name}": front.values[:, task].tolist()
        for task, (name, better) in enumerate(zip(front.names, front.better, strict=True))
    }


def _text(columns: Mapping[str, Sequence[Any]], ending: str) -> str:
    if ending == ".json":
        return json.dumps({"format": FORMAT, "columns": columns}, indent=1, allow_nan=False) + "\n"
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return lines.getvalue()


def _parsed(content: bytes, ending: str) -> Mapping[str, Sequence[Any]]:
    if ending == ".parquet":
        return pq.read_table(pa.BufferReader(content)).to_pydict()
    text = content.decode("utf-8")
    if ending == ".json":
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, known is {FORMAT}")
        return found["columns"]
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if len(rows) < 2:
        raise ValueError("no row below the headings")
    return dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))


def _front(columns: Mapping[str, Sequence[Any]]) -> Front:
    kinds = [(*name.partition("."), cells) for name, cells in columns.items() if name not in ("label", "seed")]
    asked = {name: cells for kind, _, name, cells in kinds if kind == "preference"}
    reached = {name: (kind, cells) for kind, _, name, cells in kinds if kind != "preference"}
    if list(asked) != list(reached) or not asked:
        raise ValueError(f"preferences of {', '.join(asked) or 'no task'}, values of {', '.join(reached) or 'no task'}")
    return Front(
        [[float(cell) for cell in row] for row in zip(*asked.values(), strict=True)],
        [[float(cell) for cell in row] for row in zip(*(cells for _, cells in reached.values()), strict=True)],
        names=tuple(asked),
        better=tuple(kind for kind, _ in reached.values()),  # type: ignore[misc]  # checked by Front
        labels=[str(label) for label in columns["label"]],
        seeds=[int(seed) for seed in columns["seed"]],
    )
