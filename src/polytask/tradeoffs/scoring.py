"""Scores of a conditioned model at preferences, kept beside it, so that none is computed twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from polytask.evaluation.scores import Scores
from polytask.files import read_json, with_nan, write_json
from polytask.tradeoffs.grid import Preference, rounded
from polytask.tradeoffs.kept import load_front
from polytask.tradeoffs.network import model_at
from polytask.training.prepared import Prepared
from polytask.training.single import choose_device, part_scores

FILE = "points.json"


def scores_at(
    folder: Path,
    preferences: Sequence[Preference],
    prepared: Callable[[], Prepared],
    *,
    device: str = "auto",
    allow_code: tuple[str, ...] = (),
    advance: Callable[[], None] = lambda: None,
) -> list[Mapping[str, Scores]]:
    """``{part: {task: {metric: value}}}`` of a conditioned model for every preference.

    Args:
        folder: Its run folder; what is computed is kept there.
        preferences: Of the traded tasks.
        prepared: Gives the data; called if something is missing.
        device: Where to compute.
        allow_code: Modules outside polytask that the configuration names.
        advance: Called after each preference.
    """
    known = _read(folder / FILE)
    missing = [one for one in preferences if one not in known]
    if missing:
        front, _, _ = load_front(folder, allow_code=allow_code)
        front.to(choose_device(device))
        for preference in missing:
            known[preference] = part_scores(model_at(front, preference), prepared())
            write_json(folder / FILE, {"points": [{"preference": one, "scores": own} for one, own in known.items()]})
            advance()
    return [known[one] for one in preferences]


def _read(file: Path) -> dict[Preference, Mapping[str, Scores]]:
    try:
        return {rounded(one["preference"]): with_nan(one["scores"]) for one in read_json(file)["points"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # measured again
