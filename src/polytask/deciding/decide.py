"""Decides what a bundle makes of its predictions, on validation rows: for training, and for bundles that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from polytask.chains import joint_name
from polytask.config import FusionConfig
from polytask.deciding.calibrators import Method, fit_calibration
from polytask.deciding.fusing import fit_fusion, reached_on
from polytask.deciding.rows import Labelled, Scan, label_rows
from polytask.deciding.thresholds import fit_threshold
from polytask.deciding.trade_off import TradeOff
from polytask.decisions import Calibrated, Decisions, Platt, Threshold
from polytask.decisions.threshold import Rule
from polytask.decisions.words import number, rule_text
from polytask.errors import Problem, UserError
from polytask.serving import Bundle

LEAST_ROWS = 10


@dataclass(frozen=True)
class Rows:
    """Labelled raw rows: a part of the data, or a whole table.

    Attributes:
        scan: Gives batches of the named columns.
        names: All columns.
        progress: Called with rows as they are read.
    """

    scan: Scan
    names: Sequence[str]
    progress: Callable[[int], None] | None = None

    def labelled(self, bundle: Bundle, fusion: FusionConfig | None = None) -> Labelled:
        """Predicted and in memory."""
        value, group = (None, None) if fusion is None else (fusion.value, fusion.group)
        return label_rows(bundle, self.scan, self.names, value=value, group=group, progress=self.progress)


@dataclass(frozen=True)
class Decided:
    """What was fitted.

    Attributes:
        decisions: For the bundle.
        trade_off: What the search for the score has seen; None without one.
        problems: What could not be fitted, as errors, and what one should know of what was.
    """

    decisions: Decisions
    trade_off: TradeOff | None
    problems: tuple[Problem, ...]


def decide(bundle: Bundle, validation: Rows, others: Mapping[str, Rows] | None = None) -> Decided:
    """Fits all that the bundle's configuration asks for; what cannot be fitted is left out and told.

    Args:
        bundle: With calibration, thresholds and fusion in its configuration.
        validation: The rows to fit on.
        others: Further parts, on which the fused score is measured.
    """
    config = bundle.config
    methods = {name: task.calibrate for name, task in config.tasks.items() if task.calibrate != "none"}
    rules = {name: task.threshold for name, task in config.tasks.items() if task.threshold is not None}
    if not (methods or rules or config.fusion):
        return Decided(Decisions(), None, ())
    rows = validation.labelled(bundle, config.fusion)
    decisions, problems = fit_tasks(rows, with_joints(bundle, methods), rules)
    if config.fusion is None:
        return Decided(decisions, None, tuple(problems))
    try:
        trade_off = fit_score(bundle, rows, decisions, config.fusion)
        other = {
            part: reached_on(trade_off.fusion, one.labelled(bundle, config.fusion), decisions, bundle.probabilities)
            for part, one in (others or {}).items()
        }
    except UserError as error:
        return Decided(decisions, None, (*problems, *error.problems))
    problems += floor_problems(trade_off)
    decisions = replace(decisions, fusion=trade_off.fusion)
    return Decided(decisions, replace(trade_off, other=other), tuple(problems))


def with_joints(bundle: Bundle, methods: Mapping[str, str]) -> dict[str, str]:
    """The methods, also for the joint probabilities of their tasks."""
    joints = {joint_name(name): method for name, method in methods.items() if name in bundle.model.joints}
    return {**methods, **joints}


def fit_tasks(
    rows: Labelled, methods: Mapping[str, str], rules: Mapping[str, Rule], kept: Mapping[str, Calibrated] | None = None
) -> tuple[Decisions, list[Problem]]:
    """Fits calibrations, then thresholds on what they make of the predictions.

    Args:
        rows: With raw predictions.
        methods: Per prediction how to calibrate it.
        rules: Per task how to cut it.
        kept: Calibrations that stay as they are.
    """
    calibration, problems = dict(kept or {}), []
    for name, method in methods.items():
        p, y, weights = rows.of(name)
        problem = _too_few(f"tasks.{name}.calibrate", y, classes=p.ndim > 1)
        if problem is not None:
            problems.append(problem)
            continue
        calibration[name] = fit_calibration(cast("Method", method), p, y, weights)
        problems += _calibration_notes(name, calibration[name])
    thresholds: dict[str, Threshold] = {}
    for name, rule in rules.items():
        p, y, weights = rows.of(name)
        if not (y > 0.5).any() or not (y < 0.5).any():
            what = f"all {len(y):,} labelled rows have the same label"
            problems.append(Problem(f"tasks.{name}.threshold", what, "fit it on more rows"))
            continue
        served = calibration[name].map(p.astype(np.float64)).astype(p.dtype) if name in calibration else p
        thresholds[name] = fit_threshold(rule, served, y, weights)
        problems += _threshold_notes(name, thresholds[name])
    return Decisions(calibration, thresholds), problems


def fit_score(bundle: Bundle, rows: Labelled, decisions: Decisions, config: FusionConfig, *, seed: int = 0) -> TradeOff:
    """Fits the fused score; names are the configuration's, or all predictions that are one number a row.

    Raises:
        UserError: The value or the groups do not allow it.
    """
    joints = {joint.name: name for name, joint in bundle.model.joints.items()}
    numbers = [*bundle.probabilities, *bundle.values]
    names = [name for name in rows.predictions if name in numbers]
    measured = [name for name in names if rows.observed[name].any()]
    fused = config.tasks or tuple(name for name in names if name not in joints.values())
    return fit_fusion(
        config, rows, decisions,
        probabilities=bundle.probabilities, names=fused, measured=measured, seed=seed,
    )  # fmt: skip


def floor_problems(trade_off: TradeOff) -> list[Problem]:
    """The floors that no weighting has met."""
    fusion = trade_off.fusion
    problems = []
    for task, floor in fusion.floors.items():
        reached = fusion.reached[task]
        if reached is None or reached < floor:
            best = max(point.quality[task] for point in trade_off.points)
            what = f"{trade_off.metrics[task]} {number(reached)} where {floor:g} was asked for"
            remedy = f"the highest that any weighting reached is {best:.4g}; lower the floor, or fuse more tasks"
            problems.append(Problem(f"fusion.floors.{task}", what, remedy, "warning"))
    return problems


def _too_few(where: str, y: np.ndarray, *, classes: bool) -> Problem | None:
    counts = [len(y)] if classes else [int((y > 0.5).sum()), int((y < 0.5).sum())]
    if min(counts) >= LEAST_ROWS:
        return None
    found = f"{counts[0]:,} labelled rows" if classes else f"{counts[0]:,} positive and {counts[1]:,} negative rows"
    each = "" if classes else " of each"
    return Problem(where, f"{found} are too few to calibrate on", f"give {LEAST_ROWS} or more{each}")


def _calibration_notes(name: str, own: Calibrated) -> list[Problem]:
    where, notes = f"tasks.{name}.calibrate", []
    if isinstance(own.map, Platt) and own.map.a <= 0:
        what = f"the fitted slope is {own.map.a:.3g}: larger predictions go with fewer positives on these rows"
        notes.append(Problem(where, what, "do not calibrate a task that has learnt nothing", "warning"))
    before, after = own.before["log_loss"], own.after["log_loss"]
    if before is not None and after is not None and after > 1.001 * before:  # less is no difference
        what = f"cross-fitted log loss rises from {before:.5g} to {after:.5g}"
        notes.append(Problem(where, what, "leave this task as it is, or calibrate on more rows", "warning"))
    return notes


def _threshold_notes(name: str, own: Threshold) -> list[Problem]:
    if own.met is not False or not isinstance(own.rule, dict):
        return []
    (wanted,) = own.rule
    what = f"{rule_text(own.rule)} is nowhere reached; the nearest is {number(own.reached[wanted])}"
    return [Problem(f"tasks.{name}.threshold", what, "ask for less", "warning")]
