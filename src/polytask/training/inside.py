"""The last thing that a run does: ``diagnostics.json`` beside a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from polytask.config import Config
from polytask.errors import Problem
from polytask.evaluation.diagnostics import FILE, diagnose
from polytask.files import write_json
from polytask.serving import load_bundle
from polytask.training.prepared import Prepared
from polytask.training.single import choose_device


def write_diagnostics(
    config: Config,
    prepared: Prepared,
    folder: Path,
    *,
    findings: Sequence[Problem] = (),
    tell: Callable[[Problem], None],
) -> None:
    """Looks inside the bundle of a finished run; what goes wrong costs the diagnostics, never the run.

    Args:
        config: Its `train.diagnostics` decides whether there are any.
        prepared: The data.
        folder: The run folder; diagnostics that are there stay.
        findings: Of the checks of the data.
        tell: Hears what went wrong.
    """
    if not config.train.diagnostics or (folder / FILE).exists():
        return
    try:
        device = str(choose_device(config.train.device))
        bundle = load_bundle(folder / "bundle", allow_code=config.allow_code, device=device)
        found = diagnose(
            bundle.model, bundle.preprocessor, prepared.parts, prepared.part_rows,
            decisions=bundle.decisions, segment=config.train.segment, findings=findings,
        )  # fmt: skip
        write_json(folder / FILE, found)
    except Exception as error:  # noqa: BLE001  # the run is finished and kept, whatever this raises
        what = f"could not be made ({type(error).__name__}: {error})"
        tell(Problem(FILE, what, "the run is complete without it", "warning"))
