"""From trained runs to points: scores of models for a preference, and of conditioned models at every preference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from polytask.comparing.outcome import Outcome
from polytask.config import Config
from polytask.errors import Problem, UserError
from polytask.evaluation.scores import Scores
from polytask.tradeoffs.grid import Preference
from polytask.tradeoffs.plan import Plan, Way, folder
from polytask.tradeoffs.points import Measure, Reached
from polytask.tradeoffs.scoring import scores_at
from polytask.training.prepared import Prepared

Finished = tuple[int, str, Mapping[str, Scores]]
"""Seed, folder and scores of a run."""


def gather(
    config: Config,
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    measures: Sequence[Measure],
    prepared: Prepared,
    out: Path,
    console: Console | None,
) -> tuple[tuple[Reached, ...], dict[str, str]]:
    """All points in the order of methods and preferences, and what failed with its reason.

    Raises:
        UserError: If nothing was reached.
    """
    failures = {key: outcome.failure.what for key, outcome in outcomes.items() if outcome.failure is not None}
    points = []
    for way in plan.ways:
        known = dict(_swept(plan, way, outcomes)) if not way.conditioned else {}
        if way.conditioned:
            known = _conditioned(config, plan, way, outcomes, prepared, out, console)
        for preference in plan.preferences:
            kept = []
            for seed, run, scores in known.get(preference, []):
                undefined = [
                    one.task for part in scores.values() for one in measures if math.isnan(part[one.task][one.metric])
                ]
                if undefined:
                    what = f"the metric of {', '.join(dict.fromkeys(undefined))} is undefined on these rows"
                    failures.setdefault(run, what)
                else:
                    kept.append((seed, run, scores))
            if kept:
                seeds, runs, own = zip(*kept, strict=True)
                points.append(Reached(way.label, preference, seeds, runs, own))
    if not points:
        raise UserError(Problem(key, what, "nothing is left of the front") for key, what in failures.items())
    return tuple(points), failures


def _swept(plan: Plan, way: Way, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[Preference, list[Finished]]]:
    for preference in plan.preferences:
        keys = {seed: str(Path(folder(way, preference), str(seed))) for seed in plan.seeds}
        yield (
            preference,
            [(seed, key, outcomes[key].scores) for seed, key in keys.items() if outcomes[key].failure is None],
        )


def _conditioned(
    config: Config,
    plan: Plan,
    way: Way,
    outcomes: Mapping[str, Outcome],
    prepared: Prepared,
    out: Path,
    console: Console | None,
) -> dict[Preference, list[Finished]]:
    found: dict[Preference, list[Finished]] = {preference: [] for preference in plan.preferences}
    keys = {seed: str(Path(way.folder, str(seed))) for seed in plan.seeds}
    alive = {seed: key for seed, key in keys.items() if outcomes[key].failure is None}
    with Progress(console=console, transient=True, disable=console is None or not console.is_terminal) as progress:
        bar = progress.add_task(f"scoring {way.label}", total=len(plan.preferences) * len(alive))
        for seed, key in alive.items():
            rows = scores_at(
                out / key, plan.preferences, lambda: prepared, device=config.train.device,
                allow_code=config.allow_code, advance=lambda: progress.advance(bar),
            )  # fmt: skip
            for preference, scores in zip(plan.preferences, rows, strict=True):
                found[preference].append((seed, key, scores))
    return found
