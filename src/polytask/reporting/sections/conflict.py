"""Whose gradients pull against each other, how unequal they are, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Chart, Section
from polytask.reporting.charts import Values
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.sections.gates import table
from polytask.reporting.words import count, listed, number, percent

MOMENTS, MOST_PAIRS, MOST_TASKS = 24, 8, 16
NOTICEABLE = 0.05
"""A mean cosine nearer to 0 is called no conflict."""


def conflict(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Cosines, magnitudes and conditioning of the tasks' gradients at the shared representation."""
    section = Section("conflict", "Gradient conflict")
    for run in runs:
        names = run.tasks
        found = [
            (probe["step"], table(probe["gramian"]))
            for probe in run.seeds[0].curves.probes
            if probe.get("gramian") and len(probe["gramian"]) == len(names) > 1
        ]
        if found:
            _show(section, f"{run.name}: " if len(runs) > 1 else "", names, *map(list, zip(*found, strict=True)))
    if not section.blocks:
        alone = all(len(run.tasks) < 2 for run in runs)
        what = "one task has no conflict" if alone else "the records hold no probes of the gradients"
        gaps.add(section.title, what, "" if alone else "polytask train writes them where tasks share something")
    return section


def cosines(gramian: Values) -> Values:
    """Cosines of the gradients; NaN for tasks without one."""
    norms = np.sqrt(np.where(np.diag(gramian) > 0, np.diag(gramian), np.nan))
    return np.clip(gramian / norms[:, None] / norms[None], -1, 1)


def condition(gramian: Values) -> float:
    """Largest over smallest eigenvalue of the Gramian of the tasks with gradients; infinite where it is singular."""
    present = np.isfinite(np.diag(gramian)) & (np.diag(gramian) > 0)
    own = gramian[np.ix_(present, present)]
    if present.sum() < 2 or not np.isfinite(own).all():
        return float("nan")
    values = np.linalg.eigvalsh(own)
    return float(values[-1] / values[0]) if values[0] > 1e-12 * values[-1] else float("inf")


def _show(section: Section, prefix: str, names: Sequence[str], steps: list[int], gramians: list[Values]) -> None:
    angles = np.stack([cosines(one) for one in gramians])
    pairs = list(combinations(range(len(names)), 2))
    with np.errstate(invalid="ignore"):
        means = {pair: _mean(angles[:, pair[0], pair[1]]) for pair in pairs}
        negative = {
            pair: _mean(np.where(np.isfinite(own := angles[:, pair[0], pair[1]]), own < 0, np.nan)) for pair in pairs
        }
    section.say(*_words(names, means, negative, len(steps)))
    every = max(1, -(-len(steps) // (MOMENTS if len(names) <= 12 else 6)))
    kept = [*range(0, len(steps) - 1, every), len(steps) - 1]
    whole = len(kept) > 1
    worst = min((pair for pair in pairs if means[pair] == means[pair]), key=means.__getitem__, default=pairs[0])
    caption = "Cosines of the gradients at the shared representation; lowest on average: "
    caption += f"{_pair(names, worst)}, {number(means[worst], 2)}."
    section.blocks.append(
        charts.matrix(
            f"{prefix}Cosines", names, names, [angles[place] for place in kept] if whole else angles[kept[0]], caption,
            moments=[str(steps[place]) for place in kept] if whole else (), signed=True, limits=(-1, 1), unit="cosine",
            row="", column="",
        )
    )  # fmt: skip
    if len(steps) < 2:
        return
    shown = sorted(pairs, key=lambda pair: np.nan_to_num(means[pair], nan=2.0))[:MOST_PAIRS]
    curves = {_pair(names, pair): angles[:, pair[0], pair[1]] for pair in shown}
    few = f"The {len(shown)} pairs with the lowest cosines of {len(pairs)}. " if len(shown) < len(pairs) else ""
    often = ", ".join(f"{_pair(names, pair)} {percent(negative[pair], 0)}" for pair in shown[:4])
    data = charts.series(steps, curves)
    section.blocks.append(
        charts.lines(
            f"{prefix}Cosines over time",
            data,
            f"{few}Share of probes below 0: {often}.",
            y="cosine",
            colour="",
            zero=True,
        )
    )
    norms = np.sqrt(np.stack([np.where(np.diag(one) > 0, np.diag(one), np.nan) for one in gramians]))
    section.blocks.append(_magnitudes(prefix, names, steps, norms))
    conditions = [condition(one) for one in gramians]
    data = charts.series(steps, {"condition number": np.where(np.isfinite(conditions), conditions, np.nan)})
    if data["step"]:
        middle = float(np.nanmedian(np.where(np.isfinite(conditions), conditions, np.nan)))
        caption = f"The median is {number(middle, 3)}; great numbers mean that some mixture of the tasks hardly moves."
        title = f"{prefix}Condition number of the Gramian"
        section.blocks.append(
            charts.lines(title, data, caption, y="condition number", colour=None, log=True, height=200)
        )


def _magnitudes(prefix: str, names: Sequence[str], steps: list[int], norms: Values) -> Chart:
    with np.errstate(invalid="ignore"):
        ratios = norms / np.exp(np.array([[_mean(np.log(row))] for row in norms]))
    averages = [_mean(column) for column in ratios.T]
    known = [place for place, value in enumerate(averages) if value == value]
    shown = sorted(known, key=lambda place: -abs(np.log(averages[place])))[:MOST_TASKS]
    caption = "No gradient is known."
    if known:
        high, low = max(known, key=averages.__getitem__), min(known, key=averages.__getitem__)
        caption = (
            f"Norms over their geometric mean. {names[high]} has the largest gradients, "
            f"{number(averages[high] / averages[low], 3)} times those of {names[low]} on average."
        )
    data = charts.series(steps, {names[place]: ratios[:, place] for place in sorted(shown)})
    return charts.lines(f"{prefix}Magnitude ratios", data, caption, y="norm / geometric mean", colour="", log=True)


def _words(
    names: Sequence[str], means: dict[tuple[int, int], float], negative: dict[tuple[int, int], float], probes: int
) -> list[str]:
    known = [pair for pair in means if means[pair] == means[pair]]
    if not known:
        return ["No pair of tasks had gradients at the same time."]
    worst = min(known, key=means.__getitem__)
    share = percent(negative[worst], 0)
    lowest = (
        f"{_pair(names, worst)}, {number(means[worst], 2)} on average, below 0 in {share} of {count(probes, 'probe')}"
    )
    if means[worst] > -NOTICEABLE:
        return [f"No pair of tasks conflicts noticeably; the lowest cosine is that of {lowest}."]
    found = f"The greatest conflict is between {lowest}."
    often = [pair for pair in known if negative[pair] > 0.5 and means[pair] <= -NOTICEABLE and pair != worst]
    if often:
        found += f" Below 0 more often than not: {listed([_pair(names, pair) for pair in often], most=5)}."
    return [found]


def _pair(names: Sequence[str], pair: tuple[int, int]) -> str:
    return f"{names[pair[0]]} and {names[pair[1]]}"


def _mean(values: Values) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
