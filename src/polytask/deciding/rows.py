"""What the fits read: raw predictions of a bundle beside labels, values and groups of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.expressions import parse
from polytask.data.labels import group_keys
from polytask.data.preprocessor import Counts
from polytask.data.reader import to_batch
from polytask.data.readings import numbers
from polytask.errors import Problem, UserError
from polytask.serving import Bundle

Scan = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Labelled:
    """Rows in memory.

    Attributes:
        predictions: As the model gives them, before any calibration.
        labels: Per prediction its labels.
        observed: Per prediction where there is one.
        weights: Sample weights, of the tasks that have some.
        value: The value that a fused score is to rank by; None where none was asked for.
        groups: The group of each row; None likewise.
    """

    predictions: Mapping[str, Array]
    labels: Mapping[str, Array]
    observed: Mapping[str, npt.NDArray[np.bool_]]
    weights: Mapping[str, Array]
    value: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]] | None = None
    groups: npt.NDArray[np.int64] | None = None

    def of(self, name: str) -> tuple[Array, Array, Array | None]:
        """Predictions, labels and weights of the rows that have a label."""
        kept = self.observed[name]
        weights = self.weights.get(name)
        return self.predictions[name][kept], self.labels[name][kept], None if weights is None else weights[kept]

    def __len__(self) -> int:
        return len(next(iter(self.observed.values())))


def label_rows(
    bundle: Bundle,
    scan: Scan,
    names: Sequence[str],
    *,
    value: str | None = None,
    group: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Labelled:
    """Predicts rows and keeps what the fits need.

    Args:
        bundle: The model; what it has decided before is not looked at.
        scan: Gives raw rows with the named columns, in batches.
        names: Columns of the table.
        value: A task whose label, or an expression over columns whose result, is the value of a row.
        group: The column of groups.
        progress: Called with rows as they are read.

    Raises:
        UserError: An expression cannot be read, or there are no rows.
    """
    preprocessor, model = bundle.preprocessor, bundle.model
    expression = None if value is None or value in bundle.probabilities + bundle.values else parse(value, names)
    wanted = [*preprocessor.columns_read(), *(expression.columns if expression else ()), *((group,) if group else ())]
    device = next(model.parameters()).device
    pieces: list[list[dict[str, Array]]] = []
    for raw in scan(tuple(dict.fromkeys(wanted))):
        batch = model.with_joints(to_batch(preprocessor.encode(raw, labels=True, counts=Counts()), preprocessor))
        found = {name: p.float().cpu().numpy() for name, p in model.predict(batch.features.to(device)).items()}
        more: dict[str, Array] = {} if group is None else {"group": group_keys(raw.column(group))}
        if expression is not None:
            column = numbers(expression.text, expression.evaluate(raw)).cast(pa.float64(), safe=False)
            more["value"] = pc.fill_null(column, np.nan).to_numpy(zero_copy_only=False)
        tensors = (batch.labels, batch.observed, batch.weights)
        pieces.append([found, *({name: one.numpy() for name, one in own.items()} for own in tensors), more])
        if progress is not None:
            progress(len(raw))
    if not pieces:
        raise UserError(Problem("data", "has no rows", "name a table with labelled rows"))
    predictions, labels, observed, weights, extra = (
        {name: np.concatenate([piece[name] for piece in column]) for name in column[0]}
        for column in zip(*pieces, strict=True)
    )
    own = None
    if value is not None:
        own = (labels[value].astype(np.float64), observed[value]) if expression is None else _known(extra["value"])
    return Labelled(predictions, labels, observed, weights, own, extra.get("group"))


def _known(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    return values, np.isfinite(values)
