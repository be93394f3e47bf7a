"""Scores of a bundle on new labelled rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from polytask.config import FusionConfig
from polytask.data.expressions import parse
from polytask.data.parts import READ_ROWS
from polytask.data.preprocessor import Counts
from polytask.data.reader import to_batch
from polytask.data.sources import TableSource, open_source
from polytask.deciding import Rows
from polytask.deciding.fusing import reached_on
from polytask.decisions import SCORE
from polytask.errors import UserError
from polytask.evaluation.gates import GateReport, UnitReport, report_gates
from polytask.evaluation.scores import Scores, score
from polytask.serving import Bundle, load_bundle
from polytask.serving.prediction import counted
from polytask.types import Batch


def evaluate_bundle(bundle: Bundle, data: Any, console: Console | None = None) -> Scores:
    """Scores every task on rows that carry its label, inside its own sample space.

    Args:
        bundle: The model.
        data: Labelled rows: what `polytask.data.sources.open_source` opens.
        console: Where progress is shown.

    Returns:
        ``{task: {metric: value}}``; NaN where a metric is undefined on these rows. Predictions are calibrated where the
        bundle says so. A bundle with a fused score has an entry ``score`` too, if the data has the columns for it.

    Raises:
        UserError: The data lacks columns, or holds labels outside a task's values.
    """
    source = open_source(data)
    bundle.preprocessor.check(source.schema, labels=True)
    counts = Counts()
    quiet = console is None or not console.is_terminal
    with Progress(console=console, transient=True, disable=quiet) as progress:
        bar = progress.add_task("evaluate", total=source.rows)

        def shown() -> Iterator[Batch]:
            for batch in _batches(bundle, source, counts):
                yield batch
                progress.update(bar, advance=len(batch))

        scores = score(bundle.model, shown(), bundle.preprocessor.groups, bundle.decisions)
    if console is not None:
        _tell(counts, console)
    return {**scores, **_ranked(bundle, source)}


def _ranked(bundle: Bundle, source: TableSource) -> Scores:
    """What the fused score reaches: its objective, and the ranking quality of the tasks with floors."""
    fusion, names = bundle.decisions.fusion, source.schema.names
    if fusion is None or fusion.group not in names or not _readable(bundle, fusion.value, names):
        return {}
    config = FusionConfig(value=fusion.value, group=fusion.group, objective=fusion.objective, at=fusion.at)
    rows = Rows(source.scan, names).labelled(bundle, config)
    reached = reached_on(fusion, rows, bundle.decisions, bundle.probabilities)
    kinds = {name: "gauc" if name in bundle.probabilities else "ndcg" for name in fusion.floors}
    floors = {f"{name}_{metric}": reached[name] for name, metric in kinds.items()}
    return {SCORE: {fusion.objective: reached["objective"], **floors, "rows": len(rows)}}


def _readable(bundle: Bundle, value: str, names: Sequence[str]) -> bool:
    """Whether the table has the columns of a value that the bundle could read once."""
    if value in bundle.probabilities + bundle.values:
        return True
    try:
        return bool(parse(value, names))
    except UserError:
        return False


def bundle_gates(bundle: Bundle, data: Any) -> tuple[list[GateReport], list[UnitReport]]:
    """What the gates of a bundle do on some rows; labels are not needed. See `polytask.evaluation.report_gates`.

    Raises:
        UserError: The data lacks columns.
    """
    source, preprocessor = open_source(data), bundle.preprocessor
    preprocessor.check(source.schema, labels=False)
    raw = source.scan(preprocessor.feature_columns(), batch_rows=READ_ROWS)
    return report_gates(bundle.model, (to_batch(preprocessor.encode(rows), preprocessor) for rows in raw))


def evaluate(bundle: Path | str | Bundle, data: Any) -> Scores:
    """Scores of a bundle, or of the bundle at a path, on labelled rows; see `evaluate_bundle`."""
    return evaluate_bundle(bundle if isinstance(bundle, Bundle) else load_bundle(bundle), data)


def _tell(counts: Counts, console: Console) -> None:
    lines = counted(counts.unseen, counts.missing)
    lines += [
        f"{rows:,} rows of {task} have a class that training had not seen; they are not scored"
        for task, rows in counts.unknown_labels.items()
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _batches(bundle: Bundle, source: TableSource, counts: Counts) -> Iterator[Batch]:
    preprocessor = bundle.preprocessor
    for raw in source.scan(preprocessor.columns_read(), batch_rows=READ_ROWS):
        yield to_batch(preprocessor.encode(raw, labels=True, counts=counts), preprocessor)
