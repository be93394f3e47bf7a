"""Do predictions mean what they say, and how much of the events do the first rows hold?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section, Spec
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.sections.common import why
from polytask.reporting.words import known, number, percent

MOST = 12
DIAGONAL: Spec = {
    "data": {"values": [{"at": 0}, {"at": 1}]},
    "mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1, "color": {"expr": "soft"}},
    "encoding": {"x": {"field": "at", "type": "quantitative"}, "y": {"field": "at", "type": "quantitative"}},
}


def calibration(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Per task a calibration curve and a gain curve, where the kind of the task has them."""
    section = Section("calibration", "Calibration and gain")
    curves: list[tuple[float, Chart]] = []
    gains: list[Chart] = []
    for run in runs:
        tasks = run.diagnostics.get("tasks") or {}
        for task, own in tasks.items():
            name = f"{task}, {run.name}" if len(runs) > 1 else task
            if own.get("calibration"):
                curves.append(_calibration(name, own["calibration"], str(own.get("kind", ""))))
            if own.get("gain"):
                gains.append(_gain(name, own["gain"]))
    if len(curves) > MOST:
        section.say(
            f"Of {len(curves)} curves of calibration, the {MOST} with the greatest error for their range are shown."
        )
        curves.sort(key=lambda one: -one[0])
    if len(gains) > MOST:
        section.say(f"Of {len(gains)} curves of gain, the first {MOST} are shown.")
    section.blocks += [*(chart for _, chart in curves[:MOST]), *gains[:MOST]]
    if not section.blocks:
        gaps.add(section.title, *why(runs, "no task of this run has such curves"))
    return section


def _calibration(task: str, found: Mapping[str, Any], kind: str) -> tuple[float, Chart]:
    """The error as a share of the values' range, and the chart."""
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
    limits = {"domain": domain, "nice": False}
    curve: Spec = {
        "mark": {"type": "line", "point": {"size": 30}},
        "encoding": {
            "x": charts.axis("predicted", "predicted", scale=limits),
            "y": charts.axis("observed", "observed rate" if kind == "binary" else "observed mean", scale=limits),
            "tooltip": charts.tooltip("predicted", "observed", "rows"),
        },
    }
    ends = {"data": {"values": [{"at": at} for at in domain]}}
    data = {"predicted": predicted.tolist(), "observed": observed.tolist(), "rows": rows.tolist()}
    chart = Chart(f"{task}: calibration", {"layer": [DIAGONAL | ends, curve], "height": 200}, data, caption, small=True)
    return error / (high - low) if high > low else 0.0, chart


def _gain(task: str, found: Mapping[str, Any]) -> Chart:
    share, captured = (np.array([known(one) for one in found[name]]) for name in ("share", "captured"))
    kept = np.isfinite(share) & np.isfinite(captured)
    share, captured = share[kept], captured[kept]
    order = np.argsort(share, kind="stable")
    at = float(np.interp(0.2, share[order], captured[order])) if share.size else float("nan")
    caption = (
        f"{task}: the 20 % of rows with the highest predictions hold {percent(at, 0)} of the total; chance is 20 %."
    )
    curve: Spec = {
        "mark": {"type": "line"},
        "encoding": {
            "x": charts.axis("share", "share of rows, highest first", axis={"format": "%"}),
            "y": charts.axis("captured", "share of the total", axis={"format": "%"}),
            "tooltip": charts.tooltip("share", "captured"),
        },
    }
    data = {"share": share.tolist(), "captured": captured.tolist()}
    return Chart(f"{task}: gain", {"layer": [DIAGONAL, curve], "height": 200}, data, caption, small=True)
