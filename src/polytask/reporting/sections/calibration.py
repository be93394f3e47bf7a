"""Do predictions mean what they say, and how much of the events do the first rows hold?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section, Spec
from polytask.reporting.files import Gaps
from polytask.reporting.metrics import label
from polytask.reporting.runs import Run
from polytask.reporting.sections.common import why
from polytask.reporting.words import count, known, listed, number, percent

MANY = 12
DIAGONAL: Spec = {
    "data": {"values": [{"at": 0}, {"at": 1}]},
    "mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1, "color": {"expr": "soft"}},
    "encoding": {"x": {"field": "at", "type": "quantitative"}, "y": {"field": "at", "type": "quantitative"}},
}
GAIN: Spec = {
    "layer": [
        DIAGONAL,
        {
            "mark": {"type": "line"},
            "encoding": {
                "x": charts.axis("share", "share of rows, highest first", axis={"format": "%"}),
                "y": charts.axis("captured", "share of the total", axis={"format": "%"}),
                "tooltip": charts.tooltip("share", "captured"),
            },
        },
    ]
}


def calibration(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Per task a calibration curve and a gain curve, where the kind of the task has them."""
    section = Section("calibration", "Calibration and gain")
    curves: dict[str, tuple[float, Chart]] = {}
    gains: dict[str, tuple[float, Chart]] = {}
    for run in runs:
        section.say(*decided(run.seeds[0].decisions, f"{run.name}: " if len(runs) > 1 else ""))
        for task, own in (run.diagnostics.get("tasks") or {}).items():
            name = f"{task}, {run.name}" if len(runs) > 1 else task
            if own.get("calibration"):
                curves[name] = _calibration(name, own["calibration"], str(own.get("kind", "")))
            if own.get("gain"):
                gains[name] = _gain(name, own["gain"])
    off, hold = "Error as a share of the range of values", "Share of the total in the 20 % with the highest predictions"
    section.blocks += _one_or_many("Calibration", curves, _calibration_spec("observed", None), off)
    section.blocks += _one_or_many("Gain", gains, GAIN, hold)
    if not any(isinstance(block, Chart) for block in section.blocks):
        gaps.add(section.title, *why(runs, "no task of this run has such curves"))
    return section


def decided(decisions: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """What the bundle makes of predictions before anybody sees them, a sentence per task."""
    calibrated = decisions.get("calibration") or {}
    for task, own in calibrated.items():
        change = listed([_change(metric, own) for metric in ("log_loss", "ece")])
        rows = count(int(known(own["rows"])), "validation row")
        yield f"{prefix}{task} is calibrated ({own['map']['method']}, {rows}), cross-fitted: {change}."
    if calibrated:
        yield f"{prefix}The curves are of calibrated predictions."
    for task, own in (decisions.get("thresholds") or {}).items():
        reached = own.get("reached") or {}
        found = listed(
            [
                f"{label(one)} {number(known(reached.get(one)))}"
                for one in ("precision", "recall", "f1")
                if one in reached
            ]
        )
        shown = f", with {found}" if found else ""
        missed = "; that is not what was asked for" if own.get("met") is False else ""
        yield f"{prefix}{task} is a yes from {number(known(own['value']))} on{shown}{missed}."


def _change(metric: str, own: Mapping[str, Any]) -> str:
    before, after = known(own["before"].get(metric)), known(own["after"].get(metric))
    return f"{label(metric)} {number(before)} to {number(after)}{' (worse)' if after > before else ''}"


def _one_or_many(title: str, found: Mapping[str, tuple[float, Chart]], spec: Spec, what: str) -> list[Chart]:
    """A small chart per task, or one for all with a list, which opens with the greatest number."""
    if len(found) < MANY:
        return [chart for _, chart in found.values()]
    sizes = {task: size for task, (size, _) in found.items() if size == size}
    most = max(sizes, key=sizes.__getitem__, default=next(iter(found)))
    least = min(sizes, key=sizes.__getitem__, default=most)
    columns = list(found[most][1].data)
    rows = [(task, *row) for task, (_, chart) in found.items() for row in zip(*chart.data.values(), strict=True)]
    caption = f"{title} of {len(found)} tasks, one at a time."
    if sizes:
        caption += f" {what}: most for {most} ({percent(sizes[most])}), least for {least} ({percent(sizes[least])})."
    else:
        caption += " No task has rows for more than two bins: these curves say little."
    data = charts.columns_of(("task", *columns), rows)
    return [Chart(title, charts.chooser({**spec, "height": 260}, list(found), most), data, caption)]


def _calibration(task: str, found: Mapping[str, Any], kind: str) -> tuple[float, Chart]:
    """The error as a share of the values' range, NaN for one or two bins, and the chart."""
    predicted, observed, rows = (
        np.array([known(one) for one in found[name]]) for name in ("predicted", "observed", "rows")
    )
    kept = np.isfinite(predicted) & np.isfinite(observed) & (rows > 0)
    predicted, observed, rows = predicted[kept], observed[kept], rows[kept]
    shares = rows / max(float(rows.sum()), 1.0)
    error, lean = float((shares * np.abs(predicted - observed)).sum()), float((shares * (predicted - observed)).sum())
    way = (
        "neither too high nor too low"
        if abs(lean) < 0.02 * abs(float((shares * observed).sum()))
        else (f"{number(abs(lean), 2)} too {'high' if lean > 0 else 'low'}")
    )
    caption = f"{task}: bins of predictions are off by {number(error, 2)} on average, and all together {way}."
    both = np.concatenate([predicted, observed, [0.0] if kind == "binary" else []])
    low, high = float(both.min(initial=np.inf)), float(both.max(initial=-np.inf))
    room = 0.04 * (high - low) or 1.0
    domain = [max(low - room, 0.0) if kind == "binary" else low - room, high + room]
    spec = _calibration_spec("observed rate" if kind == "binary" else "observed mean", domain)
    data = {"predicted": predicted.tolist(), "observed": observed.tolist(), "rows": rows.tolist()}
    chart = Chart(f"{task}: calibration", spec, data, caption, small=True)
    return error / (high - low) if len(rows) > 2 else math.nan, chart  # of one bin the error is the range


def _calibration_spec(observed: str, domain: Sequence[float] | None) -> Spec:
    """The curve with the diagonal; without a domain both reach from the least to the greatest value that is shown."""
    limits: Spec = {"nice": False} if domain is None else {"domain": list(domain), "nice": False}
    curve: Spec = {
        "mark": {"type": "line", "point": {"size": 30}},
        "encoding": {
            "x": charts.axis("predicted", "predicted", scale=limits),
            "y": charts.axis("observed", observed, scale=limits),
            "tooltip": charts.tooltip("predicted", "observed", "rows"),
        },
    }
    if domain is not None:
        return {"layer": [DIAGONAL | {"data": {"values": [{"at": at} for at in domain]}}, curve], "height": 200}
    ends = [{"op": op, "field": "at", "as": end} for op, end in (("min", "low"), ("max", "high"))]
    diagonal: Spec = {
        "transform": [{"fold": ["predicted", "observed"], "as": ["which", "at"]}, {"aggregate": ends}],
        "mark": {"type": "rule", "strokeDash": [4, 3]},
        "encoding": {
            "x": charts.axis("low", "predicted", scale=limits),
            "y": charts.axis("low", observed, scale=limits),
            "x2": {"field": "high"},
            "y2": {"field": "high"},
        },
    }
    return {"layer": [diagonal, curve]}


def _gain(task: str, found: Mapping[str, Any]) -> tuple[float, Chart]:
    """The share of the total in the first fifth, and the chart."""
    share, captured = (np.array([known(one) for one in found[name]]) for name in ("share", "captured"))
    kept = np.isfinite(share) & np.isfinite(captured)
    share, captured = share[kept], captured[kept]
    order = np.argsort(share, kind="stable")
    at = float(np.interp(0.2, share[order], captured[order])) if share.size else float("nan")
    caption = (
        f"{task}: the 20 % of rows with the highest predictions hold {percent(at, 0)} of the total; chance is 20 %."
    )
    data = {"share": share.tolist(), "captured": captured.tolist()}
    return at, Chart(f"{task}: gain", {**GAIN, "height": 200}, data, caption, small=True)
