"""The leaderboard as tables: made once, shown by a terminal and written as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polytask.comparing.analysis import Analysis, Entry
from polytask.comparing.statistics import Interval, Values

UP, DOWN, LEVEL = "▲", "▼", "·"
_STYLES = {UP: "green", DOWN: "red"}
ON_SCREEN = 6
"""Tasks with a table of their own on a terminal; the file has them all."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts.

    Attributes:
        title: Above it.
        headings: Of the columns; all but the first hold numbers.
        rows: The cells.
        caption: How to read it.
        bold: The row that is marked.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    bold: int | None = None

    def markdown(self) -> str:
        """As text that Markdown shows as a table."""
        lines = [self.headings, ("---", *["---:"] * (len(self.headings) - 1))]
        lines += [(f"**{row[0]}**", *row[1:]) if number == self.bold else row for number, row in enumerate(self.rows)]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"## {self.title}\n\n{body}\n\n{self.caption}\n"

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(
            title=self.title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False,
            caption=self.caption, caption_justify="left", caption_style="dim",
        )  # fmt: skip
        for number, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if number else "left", no_wrap=bool(number), overflow="fold")
        for number, row in enumerate(self.rows):
            texts = [Text(cell, style=_STYLES.get(cell[:1], "")) for cell in row]
            table.add_row(*texts, style="bold" if number == self.bold else "")
        return table


def overall(found: Analysis) -> Grid:
    """All methods, the candidates in the order in which validation has them."""
    many = len(found.seeds) > 1
    rows = []
    for entry in found.entries:
        single = entry.method.kind == "single"
        mean, chosen = ("0", "0") if single else (_percent(entry.delta.mean), _percent(entry.validation))
        spread = ("" if single else _range(entry.delta, _percent),) if many else ()
        tests = (_p(entry.versus_baseline), _p(entry.versus_leader)) if many else ()
        rows.append((_name(entry), mean, *spread, chosen, _number(entry.rank, ".2f"), *tests))
    intervals, tests = (("95 % interval",), ("p baseline", "p leader")) if many else ((), ())
    headings = ("method", "Δm", *intervals, "Δm validation", "rank", *tests)
    caption = (
        f"Δm: mean over tasks of the relative gain over one network per task, on the {found.part} part, "
        f"{_seeds(found)}. Validation chooses."
    )
    if many:
        best = "" if found.best_baseline is None else f" ({found.best_baseline.method.name})"
        caption += f" p: paired t test on Δm against the better baseline{best} and against the leader, Holm-corrected."
    return Grid("Overall", headings, tuple(rows), caption, _leader(found))


def seesaw(found: Analysis) -> Grid:
    """Who gains and who pays, per task."""
    rows = [
        (_name(entry), *(_marked(gain) for gain in entry.gains))
        for entry in found.entries
        if entry.method.kind != "single"
    ]
    caption = "Gain over the task's own network in its metric, positive is better."
    if len(found.seeds) > 1:
        cells = len(rows) * len(found.measures)
        caption += (
            f" {UP} and {DOWN}: the 95 % interval over seeds excludes 0, so that chance alone would mark about "
            f"{0.05 * cells:.0f} of {cells} cells; {LEVEL}: it does not."
        )
    headings = ("method", *(f"{one.task} ({one.metric})" for one in found.measures))
    return Grid("Seesaw", headings, tuple(rows), caption, _leader(found))


def of_task(found: Analysis, index: int) -> Grid:
    """One task."""
    measure, many = found.measures[index], len(found.seeds) > 1
    rows = []
    for entry in found.entries:
        gain = entry.gains[index]
        shown = [_marked(gain), *([_range(gain, _gain)] if many else [])]
        single = entry.method.kind == "single"
        rows.append((_name(entry), _spread(entry.scores[index]), *(["" for _ in shown] if single else shown)))
    better = "higher" if measure.higher_is_better else "lower"
    seeds = "mean ± standard deviation over seeds" if many else "one seed"
    caption = f"{found.part} part, {seeds}; {better} is better; gains are positive where better."
    headings = ("method", measure.metric, "gain", *(["95 % interval"] if many else []))
    return Grid(measure.task, headings, tuple(rows), caption, _leader(found))


def costs(found: Analysis) -> Grid:
    """What every method costs."""
    rows = []
    for entry in found.entries:
        cost = entry.cost
        parameters = f"{cost.parameters:,}" if cost.parameters else "-"
        speed, memory = _number(cost.rows_per_second, ",.0f"), _number(cost.memory, ",.0f")
        failed = f"{entry.failed} of {entry.runs}" if entry.failed else "0"
        rows.append((_name(entry), _number(cost.seconds, ",.1f"), parameters, speed, memory, failed))
    headings = ("method", "training s", "parameters", "rows/s", "memory MiB", "failed")
    caption = (
        "Per seed, for all tasks: models of single tasks are added up. Parameters of trees: leaf values. rows/s: "
        "inference on encoded rows, all tasks. Memory: peak of the process, data included."
    )
    return Grid("Costs", headings, tuple(rows), caption, _leader(found))


def grids(found: Analysis) -> Iterator[Grid]:
    """All tables."""
    yield overall(found)
    yield seesaw(found)
    for index in range(len(found.measures)):
        yield of_task(found, index)
    yield costs(found)


def show(found: Analysis, sentences: Sequence[str], failures: Sequence[tuple[str, str]], console: Console) -> None:
    """Prints the tables and the verdict."""
    shown = list(grids(found))
    if len(found.measures) > ON_SCREEN:
        shown = [shown[0], shown[1], shown[-1]]
    for grid in shown:
        console.print()
        console.print(grid.rich())
    if failures:
        console.print()
        console.print(Text("Failures", style="bold"))
        for run, what in failures:
            console.print(
                Text.assemble(("  " + run, "red"), f": {what.splitlines()[0] if what else ''}"), soft_wrap=True
            )
    console.print()
    console.print(Text("Verdict", style="bold"))
    for sentence in sentences:
        console.print(Text(sentence))


def markdown(found: Analysis, sentences: Sequence[str], failures: Sequence[tuple[str, str]], figure: str | None) -> str:
    """The whole page."""
    parts = ["# Comparison\n", "\n".join(f"- {sentence}" for sentence in sentences) + "\n"]
    if figure is not None:
        parts.append(f"![Gain of every method over one network per task, with 95 % intervals]({figure})\n")
    parts += [grid.markdown() for grid in grids(found)]
    if failures:
        lines = [f"- {run}: {what.splitlines()[0] if what else ''}" for run, what in failures]
        parts.append("## Failures\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _leader(found: Analysis) -> int | None:
    return 0 if found.leader is not None else None  # candidates are sorted


def _name(entry: Entry) -> str:
    return entry.method.name


def _seeds(found: Analysis) -> str:
    return "one seed" if len(found.seeds) == 1 else f"{len(found.seeds)} seeds"


def _spread(values: Values) -> str:
    known = values[~np.isnan(values)]
    if not known.size:
        return "-"
    return f"{known.mean():.4f}" + (f" ± {known.std(ddof=1):.4f}" if known.size > 1 else "")


def _marked(gain: Interval) -> str:
    if math.isnan(gain.mean):
        return "-"
    if math.isnan(gain.low):
        return _gain(gain.mean)
    return f"{(LEVEL, UP, DOWN)[gain.sign]} {_gain(gain.mean)}"


def _range(gain: Interval, shown: object) -> str:
    assert callable(shown)
    return "" if math.isnan(gain.low) else f"{shown(gain.low)} to {shown(gain.high)}"


def _gain(value: float) -> str:
    """With its sign, but for what rounds to 0.

    Example:
        >>> _gain(0.01234), _gain(-0.00001)
        ('+0.0123', '0.0000')
    """
    text = _number(value, "+.4f")
    return text[1:] if text in ("+0.0000", "-0.0000") else text


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.2f} %"


def _p(value: float) -> str:
    return "" if math.isnan(value) else "< .001" if value < 0.001 else f"{value:.3f}"[1 - int(value >= 1) :]


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
