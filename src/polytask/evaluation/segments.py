"""Gates and scores apart for the values of one column: do all kinds of rows use the same experts, and fare as well?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.block import Block
from polytask.data.preprocessor import Preprocessor
from polytask.data.reader import to_batch
from polytask.evaluation.gates import report_gates
from polytask.evaluation.predicted import measured_tasks
from polytask.evaluation.scores import score
from polytask.model import Model

MOST_VALUES = 8


@dataclass(frozen=True, slots=True)
class Segments:
    """Rows by the values of one column.

    Attributes:
        column: The column.
        values: The 8 most frequent values, in that order; None: missing.
        rows: Rows of each.
        gates: Per level and value, the mean weights ``[rows][experts]``.
        scores: Per task its ``metric``, and the ``values`` of that metric; NaN where it is undefined.
    """

    column: str
    values: tuple[str | int | bool | None, ...]
    rows: tuple[int, ...]
    gates: Mapping[str, tuple[tuple[tuple[float, ...], ...], ...]]
    scores: Mapping[str, Mapping[str, Any]]


def segment(
    model: Model, preprocessor: Preprocessor, block: Block, column: str, values: pa.Array | pa.ChunkedArray
) -> Segments:
    """Divides encoded rows by a raw column.

    Args:
        model: In any mode; it is put back into it.
        preprocessor: How the rows were encoded.
        block: Encoded, labelled rows.
        column: Its name.
        values: Its values in the same rows.
    """
    if pa.types.is_dictionary(values.type):  # its missing values have no code
        values = values.cast(values.type.value_type)
    codes = pc.dictionary_encode(values, null_encoding="encode")
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    numbers = codes.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(numbers, minlength=len(codes.dictionary))
    chosen = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    tasks, gates, scores = measured_tasks(model), {}, {}
    metrics = {name: task.primary_metric for name, task in tasks.items()}
    found: dict[str, list[Any]] = {name: [] for name in tasks}
    levels: dict[str, list[Any]] = {}
    for number in chosen:
        batch = to_batch(block.take(np.flatnonzero(numbers == number)), preprocessor)
        for level in report_gates(model, [batch])[0]:
            levels.setdefault(level.level, []).append(level.mean)
        own = score(model, [batch], preprocessor.groups)
        for name, metric in metrics.items():
            found[name].append(own[name][metric])
    gates = {name: tuple(means) for name, means in levels.items()}
    scores = {name: {"metric": metrics[name], "values": tuple(found[name])} for name in tasks}
    names = tuple(_plain(codes.dictionary[int(number)].as_py()) for number in chosen)
    return Segments(column, names, tuple(counts[chosen].tolist()), gates, scores)


def _plain(value: Any) -> str | int | bool | None:
    """As JSON has it."""
    return value if value is None or isinstance(value, bool | int | str) else str(value)
