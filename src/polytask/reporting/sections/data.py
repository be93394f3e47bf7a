"""The labels: how often, how often together, how alike, and what the checks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Section, Table, Tone
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.sections.common import why
from polytask.reporting.sections.gates import table
from polytask.reporting.words import count, known, number, percent

MOST_CLASSES = 8
TONES = {"error": "bad", "warning": "bad"}


def data(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Of several runs on the same data, once."""
    section = Section("data", "Data")
    seen: list[Any] = []
    for run in runs:
        found = run.diagnostics.get("data")
        if found and found not in seen:
            seen.append(found)
            _show(section, f"{run.name}: " if len(seen) > 1 else "", found)
    if not section.blocks:
        gaps.add(section.title, *why(runs, "nothing is known of the labels"))
    return section


def _show(section: Section, prefix: str, found: Mapping[str, Any]) -> None:
    parts = {part: known(rows) for part, rows in (found.get("parts") or {}).items()}
    labels = found.get("labels") or {}
    if labels:
        section.blocks.append(_labels(prefix, labels, parts))
    names = list(labels)
    for key, title, signed in (
        ("overlap", "Labels observed together", False),
        ("correlation", "Correlation of labels", True),
    ):
        values = found.get(key)
        if values and len(values) == len(names) > 1:
            matrix = table(values)
            if key == "overlap" and (said := _together(matrix)):
                section.say(prefix + said)
                continue
            if not np.isfinite(matrix[~np.eye(len(names), dtype=bool)]).any():
                continue  # no two labels stand on the same row
            section.blocks.append(
                charts.matrix(
                    prefix + title, names, names, matrix, _pairs(key, names, matrix), signed=signed,
                    limits=(-1, 1) if signed else (0, 1), unit="correlation" if signed else "share of rows",
                    row="", column="",
                )
            )  # fmt: skip
    findings = found.get("findings") or []
    rows = [
        [
            str(one.get("where", "")),
            Tone(str(one.get("severity", "")), TONES.get(str(one.get("severity")), "")),
            str(one.get("what", "")),
            str(one.get("remedy", "")),
        ]
        for one in findings
    ]
    if rows:
        title = f"{prefix}What the checks found: {count(len(rows), 'finding')}"
        section.blocks.append(Table(["where", "severity", "what", "remedy"], rows, title=title))
    else:
        section.say(f"{prefix}The checks of the data found nothing.")


def _together(overlap: charts.Values) -> str:
    """What needs no map: all labels on every row, or no two on any."""
    others = overlap[~np.eye(len(overlap), dtype=bool)]
    if (others == 1).all():
        return "Every training row has the labels of all tasks."
    if (others == 0).all():
        return "No training row has the labels of two tasks: each task has its own rows."
    return ""


def _labels(prefix: str, labels: Mapping[str, Any], parts: Mapping[str, float]) -> Table:
    rows = []
    for task, own in labels.items():
        means, seen = own.get("mean") or {}, own.get("observed") or {}
        missing = 1 - known(seen.get("train")) / parts["train"] if parts.get("train") else float("nan")
        classes = own.get("classes") if own.get("kind") != "binary" else None  # of a binary task the mean says it
        shown = [f"{name}: {number(known(many))}" for name, many in list((classes or {}).items())[:MOST_CLASSES]]
        more = [f"{len(classes) - MOST_CLASSES} more"] if classes and len(classes) > MOST_CLASSES else []
        rows.append(
            [task, str(own.get("kind", "")), *(number(known(seen.get(part))) for part in parts), percent(missing),
             *(number(known(means.get(part))) for part in parts), number(known(own.get("std"))),
             ", ".join([*shown, *more])]
        )  # fmt: skip
    headings = ["task", "kind", *(f"rows, {part}" for part in parts), "missing in train"]
    headings += [*(f"mean, {part}" for part in parts), "std", "classes in train"]
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    caption = "Rows with the label, and its mean (for a binary task the rate): " + ", ".join(
        f"{part} has {number(rows_)} rows" for part, rows_ in parts.items()
    )
    return Table(headings, rows, title=f"{prefix}Labels", caption=caption + ".")


def _pairs(key: str, names: Sequence[str], values: charts.Values) -> str:
    others = np.where(np.eye(len(names), dtype=bool), np.nan, values)
    if key == "overlap":
        first, second = np.unravel_index(int(np.nanargmin(others)), others.shape)
        pair, share = f"{names[int(first)]} and {names[int(second)]}", percent(float(others[first, second]))
        return f"Share of training rows on which both labels are known; least for {pair}: {share}."
    first, second = np.unravel_index(int(np.nanargmax(np.abs(others))), others.shape)
    pair, value = f"{names[int(first)]} and {names[int(second)]}", number(float(others[first, second]), 2)
    return f"Pearson correlation where both are known; strongest between {pair}: {value}."
