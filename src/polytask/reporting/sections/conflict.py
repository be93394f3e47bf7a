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

MOMENTS, MOST_PAIRS, MOST_TASKS = 24, 8, 8
NOTICEABLE, TINY = 0.05, 0.02
"""A mean cosine nearer to 0 is called no conflict; where all are nearer than the second, that is said of all."""
Pair = tuple[int, int]


def conflict(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Cosines, magnitudes and conditioning of the tasks' gradients at the shared representation."""
    section = Section("conflict", "Gradient conflict")
    for run in runs:
        found = [
            (probe["step"], table(probe["gramian"]))
            for probe in run.seeds[0].curves.probes
            if probe.get("gramian") and len(probe["gramian"]) == len(run.tasks) > 1
        ]
        if found:
            steps, gramians = map(list, zip(*found, strict=True))
            _show(section, f"{run.name}: " if len(runs) > 1 else "", run, steps, gramians)
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


def apart(run: Run, angles: Values) -> set[Pair]:
    """Pairs of tasks without a row in common: their gradients are orthogonal by construction.

    Args:
        run: Its diagnostics say how often two labels were observed together; of a run that goes on, cosines of exactly
            0 in every probe say the same.
        angles: Cosines, ``[probes, tasks, tasks]``.
    """
    found = run.diagnostics.get("data") or {}
    overlap, names = found.get("overlap"), list(found.get("labels") or {})
    together = table(overlap) if overlap and names == run.tasks and len(overlap) == len(names) else None
    pairs = combinations(range(len(run.tasks)), 2)
    return {
        (first, second)
        for first, second in pairs
        if (together is not None and together[first, second] == 0)
        or (np.isfinite(own := angles[:, first, second]).any() and (own[np.isfinite(own)] == 0).all())
    }


def _show(section: Section, prefix: str, run: Run, steps: list[int], gramians: list[Values]) -> None:
    angles, names = np.stack([cosines(one) for one in gramians]), run.tasks
    never = apart(run, angles)
    pairs = [pair for pair in combinations(range(len(names)), 2) if pair not in never]
    known = {pair: own[np.isfinite(own)] for pair in pairs if np.isfinite(own := angles[:, pair[0], pair[1]]).any()}
    section.say(*_apart(prefix, never, len(pairs)), *_words(prefix, names, known, len(steps), bool(pairs)))
    if known:
        _cosines(section, prefix, names, steps, angles, known)
    if len(steps) < 2:
        return
    norms = np.sqrt(np.stack([np.where(np.diag(one) > 0, np.diag(one), np.nan) for one in gramians]))
    section.blocks.append(_magnitudes(prefix, names, steps, norms))
    conditions = np.array([condition(one) for one in gramians])
    data = charts.series(steps, {"condition number": np.where(np.isfinite(conditions), conditions, np.nan)})
    if known and data["step"]:
        middle = float(np.median(conditions[np.isfinite(conditions)]))
        caption = f"The median is {number(middle, 3)}; great numbers mean that some mixture of the tasks hardly moves."
        title = f"{prefix}Condition number of the Gramian"
        section.blocks.append(
            charts.lines(title, data, caption, y="condition number", colour=None, log=True, height=200)
        )


def _cosines(
    section: Section, prefix: str, names: Sequence[str], steps: list[int], angles: Values, known: dict[Pair, Values]
) -> None:
    """A heat map over time of the tasks that have a pair, and curves of the lowest pairs."""
    means = {pair: float(own.mean()) for pair, own in known.items()}
    some = sorted({place for pair in known for place in pair})
    shown = np.full_like(angles, np.nan)
    for first, second in known:
        shown[:, first, second] = shown[:, second, first] = angles[:, first, second]
    shown = shown[:, some][:, :, some]
    every = max(1, -(-len(steps) // (MOMENTS if len(some) <= 12 else 6)))
    kept = [*range(0, len(steps) - 1, every), len(steps) - 1]
    whole, own = len(kept) > 1, [names[place] for place in some]
    least = sorted(known, key=means.__getitem__)
    caption = "Cosines of the gradients at the shared representation; lowest on average: "
    caption += f"{_pair(names, least[0])}, {number(means[least[0]], 2)}."
    section.blocks.append(
        charts.matrix(
            f"{prefix}Cosines", own, own, [shown[place] for place in kept] if whole else shown[kept[0]], caption,
            moments=[str(steps[place]) for place in kept] if whole else (), signed=True, unit="cosine", row="",
            column="",
        )
    )  # fmt: skip
    if len(steps) < 2:
        return
    lowest = least[:MOST_PAIRS]
    few = f"The {len(lowest)} pairs with the lowest cosines of {len(known)}. " if len(lowest) < len(known) else ""
    often = ", ".join(f"{_pair(names, pair)} {percent(_negative(known[pair]), 0)}" for pair in lowest[:4])
    section.blocks.append(
        charts.lines(
            f"{prefix}Cosines over time",
            charts.series(steps, {_pair(names, pair): angles[:, pair[0], pair[1]] for pair in lowest}),
            f"{few}Share of probes below 0: {often}.",
            y="cosine",
            colour="",
            zero=True,
        )
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
    if len(shown) < len(known):
        caption = f"The {len(shown)} of {len(known)} tasks whose norms differ most. {caption}"
    if len(known) < len(names):
        missing = [name for place, name in enumerate(names) if place not in known]
        caption += f" Without rows in the probes: {listed(missing)}."
    data = charts.series(steps, {names[place]: ratios[:, place] for place in sorted(shown)})
    return charts.lines(f"{prefix}Magnitude ratios", data, caption, y="norm / geometric mean", colour="", log=True)


def _apart(prefix: str, never: set[Pair], others: int) -> list[str]:
    if not never:
        return []
    if not others:
        return [
            f"{prefix}No row has the labels of two tasks. Gradients of such tasks at the representation are orthogonal "
            "by construction, so that cosines say nothing; what sharing brings shows in the scores."
        ]
    return [
        f"{prefix}{count(len(never), 'pair')} of tasks of {len(never) + others} have no row in common. Their gradients "
        "at the representation are orthogonal by construction; they are left out."
    ]


def _words(prefix: str, names: Sequence[str], known: dict[Pair, Values], probes: int, any_pair: bool) -> list[str]:
    if not known:
        return [f"{prefix}No pair of tasks had gradients at the same time."] if any_pair else []
    means = {pair: float(own.mean()) for pair, own in known.items()}
    worst, best = min(known, key=means.__getitem__), max(known, key=means.__getitem__)
    lowest = f"{_pair(names, worst)}, {number(means[worst], 2)} on average"
    often_below = f"below 0 in {percent(_negative(known[worst]), 0)} of {count(probes, 'probe')}"
    highest = f"; the highest that of {_pair(names, best)}, {number(means[best], 2)}" if len(known) > 1 else ""
    if max(map(abs, means.values())) < TINY:
        return [
            f"{prefix}All cosines are tiny: at the representation the tasks pull neither against each other nor "
            f"together. The lowest is that of {lowest}{highest}."
        ]
    if means[worst] > -NOTICEABLE:
        text = f"No pair of tasks conflicts noticeably; the lowest cosine is that of {lowest}, {often_below}{highest}."
        return [prefix + text]
    text = f"{prefix}The greatest conflict is between {lowest}, {often_below}."
    often = [pair for pair in known if _negative(known[pair]) > 0.5 and means[pair] <= -NOTICEABLE and pair != worst]
    if often:
        text += f" Below 0 more often than not: {listed([_pair(names, pair) for pair in often], most=5)}."
    return [text]


def _negative(values: Values) -> float:
    return float((values < 0).mean())


def _pair(names: Sequence[str], pair: tuple[int, int]) -> str:
    return f"{names[pair[0]]} and {names[pair[1]]}"


def _mean(values: Values) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
