"""Predictions for a whole file: streamed in, streamed out, with a count of what had to be guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

from polytask.data.preprocessor import Counts
from polytask.data.sources import TableSource, open_source
from polytask.data.sources.files import find_files
from polytask.errors import Problem, UserError
from polytask.files import make_folder, whole_file
from polytask.serving.bundle import Bundle, load_bundle


@dataclass(frozen=True, slots=True)
class PredictSummary:
    """What a prediction did.

    Attributes:
        rows: Rows predicted.
        unseen: Per column, values that training had not seen; they share the out-of-vocabulary row.
        missing: Per column, values that were null, NaN or infinite.
        path: The file written.
    """

    rows: int
    unseen: Mapping[str, int]
    missing: Mapping[str, int]
    path: Path

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'s' * (self.rows != 1)}"
        strange = [name for name, count in self.unseen.items() if count >= self.rows > 1]
        lines = [f"{rows} -> {self.path}", *counted(self.unseen, self.missing)]
        if strange:
            found = "no value of these columns was seen in training; do they hold the same kind of ids?"
            lines.append(f"warning  {found} {', '.join(strange)}")
        return "\n".join(lines)


def counted(unseen: Mapping[str, int], missing: Mapping[str, int]) -> list[str]:
    """Sentences on what had to be guessed, the most frequent first; none where nothing was.

    Example:
        >>> counted({"user": 3, "item": 1200}, {})
        ['values not seen in training: item 1,200, user 3']
    """
    lines = []
    for what, counts in (("not seen in training", unseen), ("missing or infinite", missing)):
        if counts:
            ordered = sorted(counts.items(), key=lambda item: -item[1])
            lines.append(f"values {what}: " + ", ".join(f"{name} {count:,}" for name, count in ordered))
    return lines


def predict_to(
    bundle: Bundle, data: Any, out: Path, *, keys: Sequence[str] | None = None, console: Console | None = None
) -> PredictSummary:
    """Writes the predictions of ``data`` to a Parquet file, which appears whole or not at all.

    Args:
        bundle: The model.
        data: What `polytask.data.sources.open_source` opens.
        out: The Parquet file.
        keys: Columns to pass through; by default those of the configuration that the data has.
        console: Where progress is shown.

    Raises:
        UserError: The data does not fit the bundle, or ``out`` is one of its files.
    """
    if out.is_dir():
        raise UserError(Problem(str(out), "is a folder", "name the Parquet file to write"))
    source = open_source(data)
    _spare_input(data, source, out)
    if out.suffix.lower() in (".csv", ".tsv", ".json", ".txt"):
        raise UserError(Problem(str(out), "predictions are written as Parquet", f"name it {out.stem}.parquet"))
    counts = Counts()
    names = bundle.keys(source, keys)
    make_folder(out.parent)
    quiet = console is None or not console.is_terminal
    with whole_file(out) as partial, Progress(console=console, transient=True, disable=quiet) as progress:
        bar = progress.add_task("predict", total=source.rows)
        with pq.ParquetWriter(partial, bundle.schema(source, names), compression="zstd") as writer:
            for batch in bundle.stream(source, names, counts):
                writer.write_batch(batch)
                progress.update(bar, advance=len(batch))
    return PredictSummary(counts.rows, dict(counts.unseen), dict(counts.missing), out)


def _spare_input(data: Any, source: TableSource, out: Path) -> None:
    """Predictions must not replace the rows that they are for."""
    if not source.files or not isinstance(data, str | Path | list | tuple):
        return
    if out.resolve() in {file.resolve() for file in find_files(data)[1]}:
        raise UserError(Problem(str(out), "is one of the files to predict", "name another file with --out"))


def predict(bundle: Path | str | Bundle, data: Any, *, keys: Sequence[str] | None = None) -> pa.Table:
    """Predictions of a bundle for raw rows, in memory; see `Bundle.predict`."""
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    return loaded.predict(data, keys=keys)
