"""The few shapes of charts of the report, as Vega-Lite specifications over columns with fixed names.

Names from files are values of columns, never parts of a specification's expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from polytask.reporting.blocks import Cell, Chart, Spec

Values = npt.NDArray[np.float64]
CELLS_WITH_NUMBERS = 12


def axis(field: str, title: str | None, **options: Any) -> Spec:
    """A quantitative channel that need not begin at 0."""
    given = options.pop("scale", {})
    scale = (
        {"nice": False, "padding": 8, **given} if given.get("type") == "log" else {"zero": False, "nice": True, **given}
    )
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **options}


def names(field: str, title: str | None, **options: Any) -> Spec:
    """A nominal channel in the order of the data."""
    return {"field": field, "type": "nominal", "title": title, "sort": None, **options}


def tooltip(*fields: str) -> list[Spec]:
    """What a point says."""
    return [{"field": field} for field in fields]


def lines(
    title: str,
    data: Mapping[str, Sequence[Cell]],
    caption: str,
    *,
    y: str,
    colour: str | None,
    x: str = "step",
    points: bool = False,
    log: bool = False,
    zero: bool = False,
    small: bool = False,
    best: Sequence[int] = (),
    height: int = 260,
) -> Chart:
    """Curves over ``step``, with a line where the kept weights were reached.

    Args:
        title: Of the chart.
        data: ``step``, ``value``, ``series``.
        caption: Its message.
        y: Title of the vertical axis.
        colour: Title of the legend; None shows none.
        x: Title of the horizontal axis.
        points: Mark every point.
        log: A logarithmic vertical axis.
        zero: A line at 0.
        small: See `Chart`.
        best: Steps to mark.
        height: In pixels.
    """
    chosen = {"name": "shown", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"}
    curve: Spec = {
        "mark": {"type": "line", "point": {"size": 22} if points else False, "strokeWidth": 1.8, "clip": True},
        "params": [chosen] if colour is not None else [],
        "encoding": {
            "x": axis("step", x, scale={"nice": False}, axis={"tickMinStep": 1}),
            "y": axis("value", y, scale={"type": "log"} if log else {}),
            "color": names("series", colour, legend={} if colour is not None else None),
            "opacity": {"condition": {"param": "shown", "value": 1}, "value": 0.1} if colour else {"value": 1},
            "tooltip": tooltip("series", "step", "value"),
        },
    }
    layers = [curve]
    if zero:
        layers.insert(0, {"data": {"values": [{}]}, "mark": "rule", "encoding": {"y": {"datum": 0}}})
    if best:
        marks: Spec = {"data": {"values": [{"step": step} for step in sorted(set(best))]}}
        marks |= {
            "mark": {"type": "rule", "strokeDash": [4, 3]},
            "encoding": {"x": {"field": "step", "type": "quantitative"}},
        }
        layers.append(marks)
    return Chart(title, {"layer": layers, "height": height}, data, caption, small=small)


def chooser(spec: Spec, tasks: Sequence[str], start: str) -> Spec:
    """A chart that shows one task at a time: the rows whose column ``task`` is chosen from a list."""
    options = {"input": "select", "options": list(tasks), "name": "task "}
    params = [{"name": "chosen_task", "value": start, "bind": options}]
    return {**spec, "params": params, "transform": [{"filter": "datum.task === chosen_task"}]}


def series(steps: Sequence[int], columns: Mapping[str, Sequence[float] | Values]) -> dict[str, list[Cell]]:
    """Columns ``step``, ``value`` and ``series`` of several curves over the same steps; points without a value fall."""
    rows = [
        (int(step), float(value), name)
        for name, values in columns.items()
        for step, value in zip(steps, values, strict=True)
        if np.isfinite(value)
    ]
    return columns_of(("step", "value", "series"), rows)


def columns_of(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> dict[str, list[Cell]]:
    """Rows turned into columns."""
    return {heading: [row[place] for row in rows] for place, heading in enumerate(headings)}


def matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Values | Sequence[Values],
    caption: str,
    *,
    moments: Sequence[str] = (),
    moment: str = "step",
    row: str = "task",
    column: str = "task",
    signed: bool = False,
    limits: tuple[float, float] | None = None,
    unit: str = "value",
    small: bool = False,
) -> Chart:
    """A heat map, or several behind a slider or a list.

    Args:
        title: Of the chart.
        rows: Names.
        columns: Names.
        values: ``[rows, columns]``, or one such matrix per moment; NaN leaves a cell empty.
        caption: Its message.
        moments: What the matrices belong to; with two or more there is a control.
        moment: What the moments are.
        row: What the rows are.
        column: What the columns are.
        signed: Colours diverge from 0.
        limits: Of the colours; those of the values if left out.
        unit: Of the values.
        small: See `Chart`.
    """
    stacked = np.stack([np.asarray(values, dtype=float)] if not moments else list(values))
    known = stacked[np.isfinite(stacked)]
    low, high = limits or (float(known.min(initial=0.0)), float(known.max(initial=1e-9)))
    if signed:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    table = [
        (index, label, name, other, None if not np.isfinite(value) else float(value))
        for index, label in enumerate(moments or [""])
        for name, cells in zip(rows, stacked[index], strict=True)
        for other, value in zip(columns, cells, strict=True)
    ]
    data = columns_of(("at", "when", "row", "column", "value"), table)
    if not moments:
        data = {name: cells for name, cells in data.items() if name not in ("at", "when")}
    scale: Spec = {"domain": [low, high], "clamp": True, "interpolate": "rgb"} | ({"domainMid": 0} if signed else {})
    legend = {"title": unit, "gradientLength": 120, "orient": "right" if len(rows) > 3 else "bottom"}
    # domains are given, since a row without any value would move to the end
    base: Spec = {
        "x": names(
            "column",
            column,
            scale={"domain": list(columns)},
            axis={"labelAngle": -40 if max(map(len, columns), default=0) > 3 else 0},
        ),
        "y": names("row", row, scale={"domain": list(rows)}),
    }
    cells: Spec = {
        "mark": {"type": "rect", "cornerRadius": 2},
        "encoding": base
        | {
            "color": {"field": "value", "type": "quantitative", "scale": scale, "legend": legend},
            "tooltip": tooltip(*(["when"] if moments else []), "row", "column", "value"),
        },
    }
    layers = [cells]
    if len(columns) <= CELLS_WITH_NUMBERS:
        # on strong colours the paper's colour is read best, on pale ones the ink
        strong = f"abs(datum.value) > {0.5 * high}" if signed else f"datum.value > {low + 0.55 * (high - low)}"
        text = {"condition": {"test": strong, "value": {"expr": "paper"}}, "value": {"expr": "ink"}}
        digits = ",.0f" if high >= 100 else ".2~f" if high >= 0.5 else ".2~g"
        numbers = {"field": "value", "type": "quantitative", "format": digits}
        layers.append(
            {
                "transform": [{"filter": "isValid(datum.value)"}],
                "mark": {"type": "text", "fontSize": 11},
                "encoding": base | {"text": numbers, "color": text},
            }
        )
    spec: Spec = {"layer": layers, "height": (30 if len(rows) <= 12 else 18) * len(rows)}
    if len(moments) > 1:
        spec |= {"params": _controls(moment, moments), "transform": [{"filter": "datum.at === moment"}]}
        if moment == "step":
            spec["title"] = {"text": {"expr": "'step ' + steps[moment]"}, "anchor": "start", "fontSize": 12}
    return Chart(title, spec, data, caption, small=small)


def _controls(what: str, moments: Sequence[str]) -> list[Spec]:
    last = len(moments) - 1
    if what == "step":
        bind: Spec = {"input": "range", "min": 0, "max": last, "step": 1, "name": "time "}
        steps = [int(moment) for moment in moments]
        return [{"name": "moment", "value": last, "bind": bind}, {"name": "steps", "value": steps}]
    options = {"input": "select", "options": list(range(len(moments))), "labels": list(moments), "name": f"{what} "}
    return [{"name": "moment", "value": 0, "bind": options}]
