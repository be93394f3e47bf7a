"""The record of a run: one JSON line per step, evaluation and probe, which a resumed run goes on with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from polytask.files import finite, whole_file
from polytask.training.loop import Record, Training


class RecordLog:
    """An open ``records.jsonl``.

    Args:
        stream: Where lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, record: Record) -> None:
        """Adds one line."""
        self._stream.write(json.dumps(finite(plain(record))) + "\n")

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self._stream.flush()


def plain(record: Record) -> dict[str, Any]:
    """A record as a dictionary, with its kind; what is undefined is still NaN."""
    return {"kind": record.kind, **{field.name: getattr(record, field.name) for field in dataclasses.fields(record)}}


@contextmanager
def record_log(file: Path, training: Training) -> Iterator[RecordLog]:
    """Opens the log of a run where ``training`` stands: records of what it will do again are dropped.

    Args:
        file: ``records.jsonl``; need not exist.
        training: The run, with its state loaded.
    """
    if file.exists():
        kept = [json.dumps(record) + "\n" for record in read_records(file) if not training.owes(record)]
        with whole_file(file) as partial:
            partial.write_text("".join(kept), encoding="utf-8")
    with file.open("a", encoding="utf-8", buffering=1) as stream:  # others read along, line by line
        yield RecordLog(stream)


def read_records(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a run in their JSON form, as far as they are whole; a crash may have left half a line."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                return
            yield record
