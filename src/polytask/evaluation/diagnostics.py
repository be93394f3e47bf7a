"""Diagnostics: what a trained model does on held-out rows, and what its labels look like, in one JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from polytask.data.block import concatenate
from polytask.data.checks.parts import Parts
from polytask.data.parts import Part
from polytask.data.preprocessor import Preprocessor
from polytask.data.reader import to_batch
from polytask.decisions import Decisions
from polytask.errors import Problem
from polytask.evaluation.curves import calibration_curve, gain_curve
from polytask.evaluation.gates import report_gates
from polytask.evaluation.importance import Importances, permutation_importance
from polytask.evaluation.label_summary import summarize_labels
from polytask.evaluation.predicted import Predicted, predict_observed
from polytask.evaluation.segments import segment as divide
from polytask.model import PIECE, Model

FORMAT = 1
FILE = "diagnostics.json"
MOST_ROWS, MOST_CELLS, FEWEST_ROWS = 100_000, 20_000_000, 1_000
"""Of larger parts, and of wide tables, rows from all over them are read."""


def diagnose(
    model: Model,
    preprocessor: Preprocessor,
    parts: Mapping[str, Part],
    rows: Mapping[str, int],
    *,
    decisions: Decisions | None = None,
    segment: str | None = None,
    findings: Sequence[Problem] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Curves, importance of features, gates, segments and labels; the format is in the documentation of run folders.

    Args:
        model: In any mode; it is put back into it.
        preprocessor: How rows are encoded.
        parts: The data; the test part is looked at, without one the validation part.
        rows: Rows per part.
        decisions: Calibration that predictions go through before curves are drawn.
        segment: A raw column; its values are looked at apart.
        findings: Of the checks of the data.
        seed: Decides which rows are read of many, and what is shuffled how.
    """
    part = "test" if "test" in parts else "validation"
    extra = [] if segment is None else [segment]
    columns = list(dict.fromkeys([*preprocessor.columns_read(), *extra]))
    table = _sample(part, parts[part], columns, rows[part], seed)
    block = concatenate([preprocessor.encode(piece, labels=True) for piece in table.to_batches()])
    training = model.training
    model.eval()
    batch = to_batch(block, preprocessor)
    predicted = predict_observed(model, batch, decisions)
    pieces = (batch.slice(start, start + PIECE) for start in range(0, len(batch), PIECE))
    levels, units = report_gates(model, pieces)
    importance = permutation_importance(model, preprocessor, block, seed=seed)
    segments = None
    if segment is not None:
        segments = asdict(divide(model, preprocessor, block, segment, table.column(segment)))
    model.train(training)
    return {
        "format": FORMAT,
        "part": part,
        "rows": len(block),
        "tasks": {name: _task(made, importance) for name, made in predicted.items()},
        "importance": {"rows": importance.rows, "repeats": importance.repeats},
        "gates": [
            {"level": one.level, "rows": one.rows, "mean": one.mean, "entropy": one.entropy} for one in levels
        ],
        "units": [asdict(one) for one in units],
        "segments": segments,
        "data": _data(preprocessor, parts, rows, findings),
    }  # fmt: skip


def _task(made: Predicted, importance: Importances) -> dict[str, Any]:
    """Curves of what is one number a row; a probability per class has none."""
    curves: dict[str, Any] = {"calibration": None, "gain": None}
    if made.predictions.ndim == 1:
        calibration = calibration_curve(made.predictions, made.labels, made.weights)
        gain = gain_curve(made.predictions, made.labels, made.weights)
        curves["calibration"] = None if calibration is None else asdict(calibration)
        curves["gain"] = None if gain is None else asdict(gain)
    columns = {column: asdict(one) for column, one in importance.tasks[made.task.name].items()}
    return {"kind": made.task.kind, **curves, "importance": columns}


def _data(
    preprocessor: Preprocessor, parts: Mapping[str, Part], rows: Mapping[str, int], findings: Sequence[Problem]
) -> dict[str, Any]:
    summary = summarize_labels(parts, preprocessor.labels, rows)
    return {"parts": dict(rows), **asdict(summary), "findings": [asdict(problem) for problem in findings]}


def _sample(name: str, part: Part, columns: Sequence[str], rows: int, seed: int) -> pa.Table:
    """Rows of one part, all of them if they are not many."""
    wanted = min(MOST_ROWS, max(FEWEST_ROWS, MOST_CELLS // max(len(columns), 1)))
    tables = Parts({name: part})
    # a part may be some of the rows of its table
    found = tables.sample(columns, round(wanted * tables.rows / max(rows, 1)), seed=seed)
    return found[name].combine_chunks()  # type: ignore[index]
