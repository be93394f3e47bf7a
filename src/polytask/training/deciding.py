"""The last act of a run: what the configuration asks of predictions is fitted on the validation rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from polytask.config import Config
from polytask.deciding import Rows, decide
from polytask.decisions import Decisions, in_words
from polytask.errors import Problem
from polytask.model import Model
from polytask.serving import Bundle
from polytask.training.prepared import Prepared

FUSION = "fusion.json"


def decide_on(
    config: Config, model: Model, prepared: Prepared, folder: Path, tell: Callable[[Problem], None]
) -> Decisions:
    """Fits calibration, thresholds and the fused score, and writes `fusion.json`.

    Args:
        config: What to fit.
        model: With the weights that are kept, in any mode; it is put into evaluation mode.
        prepared: The data.
        folder: The run folder.
        tell: Hears what was fitted, and what could not be: that is a warning here, since training must not be lost.
    """
    parts = {name: Rows(part.scan, part.source.schema.names) for name, part in prepared.parts.items()}
    bundle = Bundle(config, prepared.preprocessor, model.eval(), {})
    others = {name: rows for name, rows in parts.items() if name == "test"}
    found = decide(bundle, parts["validation"], others)
    for problem in found.problems:
        tell(replace(problem, severity="warning"))
    for line in in_words(found.decisions):
        name, _, words = line.partition(": ")
        tell(Problem(name, words, severity="note"))
    if found.trade_off is not None:
        found.trade_off.save(folder / FUSION)
    return found.decisions
