"""The tables of the paper with what was measured beside them, as text."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from polytask.reproduce.claims import Finding
from polytask.reproduce.sener.claims import RATIOS
from polytask.reproduce.sener.experiment import Group, SenerExpected
from polytask.reproduce.sener.figure import TITLES
from polytask.reproduce.sener.measured import Row, spread

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polytask.reproduce.sener.run import GroupResult, SenerReproduction

Lines = list[list[str]]


def group_lines(result: SenerReproduction, found: GroupResult) -> tuple[list[str], Lines]:
    """Headings and rows of one group: accuracies of two tasks, or the mean error of many."""
    group = found.group
    columns = ["error"] if group.data.source == "celeba" else ["left", "right"]
    headings = ["method", *(f"{column}, {kind}" for column in columns for kind in ("paper", "ours"))]
    headings += ["mean, ours"] * (len(columns) > 1) + ["learning rate", "s per epoch"]
    if found.skipped:
        published = [row for row in result.expected.published if row.group == group.name]
        cells = [[TITLES[row.method], *_published(row.values, columns)] for row in published]
        return headings, [[*line, *[""] * (len(headings) - len(line))] for line in cells]
    return headings, [_line(row, group, columns, result.expected) for row in found.rows]


def claim_lines(result: SenerReproduction, found: GroupResult) -> tuple[list[str], Lines]:
    """Headings and rows of the claims: of each its verdict, then its statements."""
    lines: Lines = []
    for claim in result.expected.claims:
        findings = found.findings.get(claim.key, [])
        lines.append([f"({claim.key})", verdict(findings), claim.text, "", ""])
        for one in findings:
            scale, unit = (1.0, "") if claim.key in RATIOS else (100.0, " points")
            interval = f"{scale * one.estimate:.2f} [{scale * one.low:.2f}, {scale * one.high:.2f}]{unit}"
            bounds = [f"{sign} {scale * at:g}" for sign, at in ((">", one.above), ("<", one.below)) if isfinite(at)]
            lines.append(["", verdict([one]), one.text, interval, ", ".join(bounds)])
    level = f"{100 * result.experiment.claims.level:g} % interval"
    return ["", "verdict", "claim", level, "must be"], lines


def verdict(findings: Sequence[Finding]) -> str:
    """Held, not held, or open: where an interval lies neither within its bounds nor outside of them.

    Example:
        >>> [verdict([Finding("", low, low, high, above=0.0, below=9.0)]) for low, high in ((1, 2), (-1, 2), (-2, -1))]
        ['held', 'open', 'not held']
    """
    if not findings:
        return "not tested"
    if all(one.held for one in findings):
        return "held"
    return "not held" if any(one.high <= one.above or one.low >= one.below for one in findings) else "open"


def markdown(result: SenerReproduction) -> str:
    """All tables of a reproduction."""
    parts = []
    for found in result.groups:
        parts += [f"## {found.group.title}", ""]
        if found.skipped:
            parts += [f"Skipped: {found.skipped}", ""]
        parts += _markdown(*group_lines(result, found))
        if not found.skipped:
            parts += _markdown(*claim_lines(result, found))
    return "\n".join([*parts, f"Paper: {result.expected.source}", ""])


def _line(row: Row, group: Group, columns: Sequence[str], expected: SenerExpected) -> list[str]:
    name = TITLES[row.method] if row.share is None else f"{TITLES[row.method]} {row.share:g} / {1 - row.share:g}"
    published = _published(expected.values(group.name, row.method) if row.share is None else {}, columns)
    accuracy = 100 * row.accuracy
    values = [100 - accuracy.mean(1)] if columns == ["error"] else [accuracy[:, n] for n in range(len(columns))]
    cells = [name + f" ({row.diverged} diverged)" * bool(row.diverged)]
    for number, value in enumerate(values):
        cells += [published[2 * number], _mean(value)]
    cells += [_mean(accuracy.mean(1))] * (len(columns) > 1)
    rates = dict.fromkeys(f"{rate:g}" for rate in row.learning_rates.values())
    return [*cells, ", ".join(rates), f"{row.epoch:.2f}"]


def _published(values: dict[str, float], columns: Sequence[str]) -> list[str]:
    """Each with an empty cell behind it."""
    return [cell for column in columns for cell in (f"{values[column]:.2f}" if column in values else "", "")]


def _mean(values: npt.NDArray[np.float64]) -> str:
    if not len(values):
        return "-"
    return f"{values.mean():.2f} ± {spread(values[:, None])[0]:.2f}"


def _markdown(headings: Sequence[str], lines: Lines) -> list[str]:
    rule = ["---"] * len(headings)
    return ["| " + " | ".join(cells) + " |" for cells in (headings, rule, *lines)] + [""]
