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

MOST = 24
DIAGONAL: Spec = {
    "data": {"values": [{"at": 0}, {"at": 1}]},
    "mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1, "color": {"expr": "soft"}},
    "encoding": {"x": {"field": "at", "type": "quantitative"}, "y": {"field": "at", "type": "quantitative"}},
}


def calibration(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Per task a calibration curve and a gain curve, where the kind of the task has them."""
    section = Section("calibration", "Calibration and gain")
    found: dict[str, list[Chart]] = {"calibration": [], "gain": []}
    for run in runs:
        tasks = run.diagnostics.get("tasks") or {}
        for task, own in tasks.items():
            name = f"{task}, {run.name}" if len(runs) > 1 else task
            if own.get("calibration"):
                found["calibration"].append(_calibration(name, own["calibration"]))
            if own.get("gain"):
                found["gain"].append(_gain(name, own["gain"]))
    section.blocks += [*found["calibration"][:MOST], *found["gain"][:MOST]]
    if len(found["calibration"]) > MOST:
        section.say(f"The first {MOST} of {len(found['calibration'])} tasks are shown.")
    if not section.blocks:
        gaps.add(section.title, *why(runs, "no task of this run has such curves"))
    return section


def _calibration(task: str, found: Mapping[str, Any]) -> Chart:
    predicted, observed = (np.array([known(one) for one in found[name]]) for name in ("predicted", "observed"))
    rows = np.array([known(one) for one in found["rows"]])
    kept = np.isfinite(predicted) & np.isfinite(observed) & (rows > 0)
    predicted, observed, rows = predicted[kept], observed[kept], rows[kept]
    error = float((rows * np.abs(predicted - observed)).sum() / rows.sum()) if rows.size else float("nan")
    lean = float((rows * (predicted - observed)).sum() / (rows * observed).sum()) if (rows * observed).sum() else 0.0
    way = "too high" if lean > 0 else "too low"
    caption = f"{task}: predictions are off by {number(error, 2)} on average over the bins"
    caption += f", in sum {percent(abs(lean))} {way}." if abs(lean) > 0.005 else ", and right in sum."
    top = float(max(predicted.max(initial=0.0), observed.max(initial=0.0))) or 1.0
    limits = {"domain": [0, min(1.0, 1.08 * top)], "zero": True, "nice": False}
    curve: Spec = {
        "mark": {"type": "line", "point": {"size": 30}, "clip": True},
        "encoding": {
            "x": charts.axis("predicted", "predicted", scale=limits),
            "y": charts.axis("observed", "observed rate", scale=limits),
            "tooltip": charts.tooltip("predicted", "observed", "rows"),
        },
    }
    diagonal = DIAGONAL | {"mark": {**DIAGONAL["mark"], "clip": True}}
    data = {"predicted": predicted.tolist(), "observed": observed.tolist(), "rows": rows.tolist()}
    return Chart(f"{task}: calibration", {"layer": [diagonal, curve], "height": 200}, data, caption, small=True)


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
            "x": charts.axis("share", "share of rows, highest predictions first", axis={"format": "%"}),
            "y": charts.axis("captured", "share of the total", axis={"format": "%"}),
            "tooltip": charts.tooltip("share", "captured"),
        },
    }
    data = {"share": share.tolist(), "captured": captured.tolist()}
    return Chart(f"{task}: gain", {"layer": [DIAGONAL, curve], "height": 200}, data, caption, small=True)
