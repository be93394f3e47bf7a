"""What each task takes from each expert: at the end, over time, by segment, and what is wrong with it in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from polytask.reporting import charts
from polytask.reporting.blocks import Section, Table
from polytask.reporting.charts import Values
from polytask.reporting.files import Gaps
from polytask.reporting.metrics import label
from polytask.reporting.runs import Run
from polytask.reporting.sections.common import why
from polytask.reporting.words import count, known, listed, number, percent

POLARISED, OWNED, UNUSED, DEAD, EVEN = 0.98, 0.8, 0.01, 0.98, 0.95
MOMENTS, MOST_CURVES = 24, 8


def gates(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Heat maps of the gates with findings in words."""
    section = Section("gates", "Gates and experts")
    for run in runs:
        last = run.diagnostics.get("gates") or []
        levels = {level["level"]: level for level in last} or _last_probe(run)
        prefix = f"{run.name}: " if len(runs) > 1 else ""
        for name, level in levels.items():
            _level(section, prefix, name, level, run)
        section.say(*_dead_units(run.diagnostics.get("units") or []))
        _segments(section, prefix, run.diagnostics.get("segments"), levels)
    if not section.blocks:
        gaps.add(section.title, *why(runs, "the architecture has no gates"))
    return section


def _level(section: Section, prefix: str, name: str, level: Mapping[str, Any], run: Run) -> None:
    rows, mean = [str(row) for row in level["rows"]], table(level["mean"])
    experts = [str(expert) for expert in range(mean.shape[1])]
    found = list(findings(rows, mean, level.get("entropy")))
    steps, moments = _over_time(run, name, mean.shape)
    if len(steps) > 1 and run.diagnostics.get("gates"):
        found.append(f"This is said of the kept weights on {run.part} rows; the map shows the probes.")
    title = f"{prefix}{name}: weight of each expert"
    section.blocks.append(
        charts.matrix(
            f"{title}, over time" if len(steps) > 1 else title, rows, experts, moments if len(steps) > 1 else mean,
            " ".join(found), moments=[str(step) for step in steps] if len(steps) > 1 else (), row="gate",
            column="expert", unit="weight",
        )
    )  # fmt: skip
    entropies = _entropies(run, name, rows)
    if entropies["step"]:
        ends = dict(zip(entropies["series"], entropies["value"], strict=True))
        lowest = min(ends, key=ends.__getitem__)
        caption = "1 is an even mixture of the experts, 0 all weight on one. At the last probe "
        caption += f"{lowest} is most decided, {number(ends[lowest], 2)}."
        if len(ends) < len(rows):
            caption = f"The {len(ends)} of {len(rows)} gates that end most decided. {caption}"
        title = f"{prefix}{name}: evenness of the gates"
        section.blocks.append(
            charts.lines(title, entropies, caption, y="entropy / log(experts)", colour="", height=200)
        )


def findings(rows: Sequence[str], mean: Values, entropy: Sequence[Any] | None) -> Iterator[str]:
    """What stands out in the gates of one level, a sentence each."""
    shares = np.abs(np.nan_to_num(mean))
    shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
    use = shares.mean(0)
    top = shares.max(1)
    polarised = [row for row, share in zip(rows, top, strict=True) if share > POLARISED]
    unused = [str(expert) for expert, share in enumerate(use) if share < UNUSED]
    if polarised and mean.shape[1] > 1:
        give = "give" if len(polarised) > 1 else "gives"
        yield f"Polarised: {listed(polarised)} {give} one expert nearly everything."
    if unused:
        yield f"Unused: no gate gives {_experts(unused)} more than {percent(UNUSED, 0)} on average."
    owned = {
        str(expert): rows[int(column.argmax())]
        for expert, column in enumerate(shares.T)
        if len(rows) > 1 and use[expert] >= UNUSED and column.max() > OWNED * column.sum()
    }
    if owned:
        yield f"Owned: {listed([f'expert {expert} by {row}' for expert, row in owned.items()])}."
    known_entropy = [known(one) for one in entropy or []]
    if known_entropy and min(known_entropy) > EVEN and mean.shape[1] > 1:
        yield "All gates mix the experts nearly evenly: they tell the tasks hardly apart."
    elif not polarised and not unused and not owned and len(rows) > 1 and mean.shape[1] > 1:
        first, second, distance = _furthest(rows, shares)
        yield "No expert is unused or owned by one gate."
        yield f"{first} and {second} differ most, in {percent(distance, 0)} of their weight."
    if mean.shape[1] == 1:
        yield "One expert: there is nothing to choose."


def _experts(numbers: Sequence[str]) -> str:
    return f"expert{'s' * (len(numbers) > 1)} {listed(numbers)}"


def _furthest(rows: Sequence[str], shares: Values) -> tuple[str, str, float]:
    distances = np.abs(shares[:, None] - shares[None]).sum(-1) / 2
    first, second = np.unravel_index(int(distances.argmax()), distances.shape)
    return rows[int(first)], rows[int(second)], float(distances.max())


def _dead_units(units: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for bank in units:
        dead = [known(share) for share in bank["dead"]]
        whole = [str(expert) for expert, share in enumerate(dead) if share >= DEAD]
        if whole:
            yield f"Dead in {bank['bank']}: {_experts(whole)} is silent on all rows."
        elif dead and max(dead) >= 0.5:
            worst = int(np.argmax(dead))
            yield f"In {bank['bank']}, {percent(max(dead), 0)} of the units of expert {worst} are silent on all rows."


def _last_probe(run: Run) -> dict[str, Mapping[str, Any]]:
    for probe in reversed(run.seeds[0].curves.probes):
        if isinstance(probe.get("gates"), dict) and probe["gates"]:
            return dict(probe["gates"])
    return {}


def _over_time(run: Run, name: str, shape: tuple[int, ...]) -> tuple[list[int], list[Values]]:
    found = [
        (probe["step"], table(probe["gates"][name]["mean"]))
        for probe in run.seeds[0].curves.probes
        if name in (probe.get("gates") or {})
    ]
    found = [(step, mean) for step, mean in found if mean.shape == shape]
    every = max(1, -(-len(found) // MOMENTS))
    kept = [*found[:-1:every], *found[-1:]]
    return [step for step, _ in kept], [mean for _, mean in kept]


def _entropies(run: Run, name: str, rows: Sequence[str]) -> dict[str, list[Any]]:
    probes = [probe for probe in run.seeds[0].curves.probes if name in (probe.get("gates") or {})]
    if len(probes) < 2:
        return {"step": []}
    values = {
        row: [known(probe["gates"][name]["entropy"][place]) for probe in probes] for place, row in enumerate(rows)
    }
    lowest = sorted(rows, key=lambda row: np.nan_to_num(values[row][-1], nan=np.inf))[:MOST_CURVES]
    kept = {row: own for row, own in values.items() if row in lowest}
    return dict(charts.series([probe["step"] for probe in probes], kept))


def _segments(section: Section, prefix: str, found: Any, levels: Mapping[str, Mapping[str, Any]]) -> None:
    if not found:
        return
    values = [str(value) for value in found["values"]]
    for name, means in (found.get("gates") or {}).items():
        stacked = [table(mean) for mean in means]
        rows = (
            [str(row) for row in levels[name]["rows"]] if name in levels else [str(row) for row in range(len(means[0]))]
        )
        change = np.nanmax(stacked, axis=0) - np.nanmin(stacked, axis=0)
        row, expert = np.unravel_index(int(np.nanargmax(change)), change.shape)
        caption = (
            f"Gates by {found['column']}. They differ most for {rows[int(row)]} and expert {expert}: "
            f"its weight spans {number(float(np.nanmax(change)), 2)} over {count(len(values), 'value')}."
        )
        experts = [str(one) for one in range(stacked[0].shape[1])]
        section.blocks.append(
            charts.matrix(
                f"{prefix}{name}, by {found['column']}", rows, experts, stacked, caption, moments=values,
                moment=str(found["column"]), row="gate", column="expert", unit="weight",
            )
        )  # fmt: skip
    scores = found.get("scores") or {}
    if scores:
        rows_ = [["rows", "", *(number(many) for many in found["rows"])]]
        rows_ += [[task, label(str(own["metric"])), *map(number, own["values"])] for task, own in scores.items()]
        title = f"{prefix}Scores by {found['column']}"
        section.blocks.append(Table(["task", "metric", *values], rows_, title=title))


def table(rows: Sequence[Sequence[Any]]) -> Values:
    """A matrix of a file; NaN in the place of null."""
    return np.array([[known(cell) for cell in row] for row in rows], dtype=float).reshape(len(rows), -1)
