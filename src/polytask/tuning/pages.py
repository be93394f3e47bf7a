"""The leaderboard of a sweep as tables, for a terminal and as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from polytask.comparing.tables import Grid
from polytask.tuning.methods import Method
from polytask.tuning.result import Numbered, Sweep
from polytask.tuning.trial import Objective

OF_FRONT = 12
"""Points of the front on a terminal; the file has them all."""


def sentences(found: Sweep) -> Iterator[str]:
    """What came of it, in words."""
    best = found.best
    if best is None:
        yield "No trial was complete: there is nothing to choose."
        return
    yield f"Best on the validation part: {best.method.name}, trial {best.trial.index}, {_values(best, found)}."
    if len(found.objectives) > 1:
        count = len(found.front)
        yield f"{count} trials are on the front." if count > 1 else "It beats all others in all objectives."
    own = _own(found, best.method)
    if own is not None and own.trial.params == best.method.start() and len(own.trial.params) == len(best.method.space):
        if own is best:
            yield "These are the file's own settings: the search found none that are better."
        else:
            yield f"The file's own settings: {_values(own, found)}."
    chosen = "Validation scores chose among many trials and flatter those they chose"
    tested = any("test" in scores for scores in found.finals.values())
    yield f"{chosen}; test scores, of the trainings at the end, chose nothing." if tested else f"{chosen}."


def methods(found: Sweep) -> Grid:
    """A line per method, the best first."""
    rows = []
    ordered = sorted(found.methods, key=lambda one: _order(found, one))
    for method in ordered:
        own = [one for one in found.numbered if one.method is method]
        states = [one.outcome.state for one in own]
        best, first = found.best_of(method), _own(found, method)
        rows.append((
            method.name, str(len(own)), str(states.count("pruned")), str(states.count("failed")),
            *_numbers(best, found.objectives), *_numbers(first, found.objectives[:1])[: len(found.objectives) == 1],
            "-" if best is None else str(best.trial.index), *_final(found, method),
        ))  # fmt: skip
    wanted = [f"{one.name} {'↑' if one.higher_is_better else '↓'}" for one in found.objectives]
    single = ("trial 0",) if len(found.objectives) == 1 else ()
    headings = ("method", "trials", "stopped", "failed", *wanted, *single, "best trial", *_final_headings(found))
    caption = (
        "Objectives: on the validation part, of the best trial"
        + (" (of its front, the one with the best mean score)" if len(found.objectives) > 1 else "")
        + ". mean: share of the constant prediction's loss that is saved, mean over tasks."
    )
    if single:
        caption += " Trial 0 has the file's own values where the space has them."
    if _final_headings(found):
        caption += f" {_part(found)}: of the best trial's configuration, trained again."
    return Grid("Methods", headings, tuple(rows), caption, 0 if found.best is not None else None)


def settings(found: Sweep) -> Grid:
    """The best values per method, with what decided."""
    keys = dict.fromkeys(key for method in found.methods for key in method.space)
    ordered = sorted(found.methods, key=lambda one: _order(found, one))
    rows = [
        (key, *(_cell(found, method, key) for method in ordered))
        for key in keys
    ]  # fmt: skip
    caption = "Values of each method's best trial."
    if any(found.importances.values()):
        caption += " In brackets the key's share in what separates good trials from others (PED-ANOVA)."
    return Grid("Settings", ("key", *(method.name for method in ordered)), tuple(rows), caption)


def front(found: Sweep, most: int | None = None) -> Grid:
    """The trials that no other beats in every objective."""
    first = found.objectives[0]
    ordered = sorted(found.front, key=lambda one: -first.gain(one.outcome.values[0]))
    rows = [
        (str(one.number), one.method.name, *_numbers(one, found.objectives), f"{one.outcome.score:.4f}")
        for one in ordered[:most]
    ]
    headings = ("number", "method", *(f"{one.name} {'↑' if one.higher_is_better else '↓'}" for one in found.objectives))
    caption = "No other trial is better in all objectives (validation part). front/NUMBER.toml trains each."
    if most is not None and len(ordered) > most:
        caption += f" {len(ordered) - most} more are in sweep.md."
    bold = next((row for row, one in enumerate(ordered[:most]) if one is found.best), None)
    return Grid("Front", (*headings, "mean"), tuple(rows), caption, bold)


def grids(found: Sweep, most: int | None = None) -> Iterator[Grid]:
    """All tables."""
    yield methods(found)
    if found.best is not None:
        yield settings(found)
        if len(found.objectives) > 1:
            yield front(found, most)


def failures(found: Sweep) -> list[str]:
    """What failed, and why."""
    lines = [
        f"{one.method.name}, trial {one.trial.index}: {one.outcome.what}"
        for one in found.numbered
        if one.outcome.state == "failed"
    ]
    return lines + [f"{name}, trained again: {what}" for name, what in found.failures.items()]


def show(found: Sweep, console: Console) -> None:
    """Prints everything."""
    for grid in grids(found, OF_FRONT):
        console.print()
        console.print(grid.rich())
    if lines := failures(found):
        console.print()
        console.print(Text("Failures", style="bold"))
        for line in lines[:10]:
            console.print(Text(f"  {line}", style="red"), soft_wrap=True)
        if len(lines) > 10:
            console.print(f"  {len(lines) - 10} more are in sweep.md", highlight=False)
    console.print()
    for sentence in sentences(found):
        console.print(Text(sentence))


def markdown(found: Sweep, figure: str | None) -> str:
    """The whole page."""
    parts = ["# Sweep\n", "\n".join(f"- {sentence}" for sentence in sentences(found)) + "\n"]
    if figure is not None:
        text = "The best trial so far of every method" if len(found.objectives) == 1 else "The front of all trials"
        parts.append(f"![{text}]({figure})\n")
    parts += [grid.markdown() for grid in grids(found)]
    if lines := failures(found):
        parts.append("## Failures\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
    return "\n".join(parts)


def _order(found: Sweep, method: Method) -> tuple[bool, float]:
    best = found.best_of(method)
    if best is None:
        return True, 0.0
    single = len(found.objectives) == 1
    return False, -(found.objectives[0].gain(best.outcome.values[0]) if single else best.outcome.score)


def _own(found: Sweep, method: Method) -> Numbered | None:
    """The trial of the file's own values, if it was complete."""
    first = (one for one in found.numbered if one.method is method and one.trial.index == 0)
    return next((one for one in first if one.outcome.state == "complete"), None)


def _numbers(one: Numbered | None, objectives: Sequence[Objective]) -> tuple[str, ...]:
    if one is None:
        return ("-",) * len(objectives)
    return tuple(f"{value:.4f}" for value in one.outcome.values[: len(objectives)])


def _values(one: Numbered, found: Sweep) -> str:
    pairs = zip(found.objectives, one.outcome.values, strict=True)
    return ", ".join(f"{each.name} {value:.4f}" for each, value in pairs)


def _part(found: Sweep) -> str:
    return "test" if any("test" in scores for scores in found.finals.values()) else "validation"


def _measures(found: Sweep) -> list[tuple[str, str]]:
    """Tasks with their primary metrics, where something was trained again."""
    return [(one.task, one.metric) for one in found.measures] if found.finals else []


def _final_headings(found: Sweep) -> tuple[str, ...]:
    return tuple(f"{_part(found)} {task}.{metric}" for task, metric in _measures(found))


def _final(found: Sweep, method: Method) -> tuple[str, ...]:
    scores = found.finals.get(method.name, {}).get(_part(found), {})
    values = [scores.get(task, {}).get(metric, math.nan) for task, metric in _measures(found)]
    return tuple("-" if math.isnan(value) else f"{value:.4f}" for value in values)


def _cell(found: Sweep, method: Method, key: str) -> str:
    best = found.best_of(method)
    if best is None or key not in best.trial.params:
        return ""
    share = found.importances.get(method.name, {}).get(key)
    return shown(best.trial.params[key]) + ("" if share is None else f" ({100 * share:.0f} %)")


def shown(value: Any) -> str:
    """A value in few characters.

    Example:
        >>> shown(0.00123456), shown((128, 64)), shown("relu"), shown(8)
        ('0.001235', '[128, 64]', 'relu', '8')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
