"""The front in words and tables: a page of Markdown, and the same for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from polytask.tradeoffs.grid import shown

if TYPE_CHECKING:
    from polytask.tradeoffs.points import Reached
    from polytask.tradeoffs.result import TradeOff


def page(found: TradeOff, figure: str | None) -> str:
    """Everything as Markdown."""
    tasks = ", ".join(one.task for one in found.measures)
    lines = [f"# Trade-off between {tasks}", ""]
    lines += [f"{sentence}" for sentence in sentences(found)] + [""]
    if figure is not None:
        lines += [f"![The front]({figure})", ""]
    for part in found.parts:
        lines += [f"## Points on {part} rows", "", *_markdown(*_points(found, part)), ""]
    lines += ["## Hypervolume", "", _reference(found), "", *_markdown(*_volumes(found)), ""]
    if found.failures:
        lines += ["## Failures", "", *(f"- `{key}`: {what}" for key, what in found.failures.items()), ""]
    lines += [
        "`*` marks points that no other dominates on validation rows. Preferences are in the order of the tasks: "
        f"{tasks}. `loss` is in shares of the constant prediction's loss. Values are means over seeds.",
        "",
    ]
    return "\n".join(lines)


def show(found: TradeOff, console: Console) -> None:
    """The tables of the validation part and what was chosen, on a terminal."""
    headings, rows = _points(found, "validation")
    table = Table(title="Points on validation rows", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=number > 0)
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
    console.print()
    for sentence in sentences(found):
        console.print(sentence, highlight=False, markup=False)
    for key, what in found.failures.items():
        console.print(f"failed: {key}: {what}", style="red", highlight=False, markup=False, soft_wrap=True)


def sentences(found: TradeOff) -> Iterator[str]:
    """What was chosen, and what it costs."""
    count = int(found.front.efficient().sum())
    yield f"{count} of {len(found.planned)} points are efficient on validation rows."
    if found.chosen is None:
        yield "Nothing is chosen yet."
        return
    chosen, part = found.chosen, found.parts[-1]
    seeds = f", seed {chosen.seed} of {len(chosen.point.seeds)}" if len(chosen.point.seeds) > 1 else ""
    shares = ", ".join(
        f"{one.task} {share:.4g}" for one, share in zip(found.measures, chosen.point.preference, strict=True)
    )
    yield f"Chosen by {chosen.words}: {chosen.point.method} with the preference {shares}{seeds}."
    values = ", ".join(
        f"{one.task} {one.metric} {_number(chosen.scores[part][one.task][one.metric])}" for one in found.measures
    )
    yield f"Its {part} scores: {values}."


def _points(found: TradeOff, part: str) -> tuple[list[str], list[list[str]]]:
    efficient = iter(found.front.efficient().tolist())
    headings = ["method", "preference", ""]
    headings += [f"{one.task} {word}" for one in found.measures for word in (one.metric, "loss")]
    rows = [_row(found, point, part, point.planned and next(efficient)) for point in found.points]
    if found.baselines:
        cells = []
        for one in found.measures:
            own = [scores[part][one.task] for scores in found.baselines[one.task]]
            value = math.fsum(scores[one.metric] for scores in own) / len(own)
            cells += [_number(value), _number(1.0 - math.fsum(scores["improvement"] for scores in own) / len(own))]
        rows.append(["one network per task", "", "", *cells])
    return headings, rows


def _row(found: TradeOff, point: Reached, part: str, efficient: bool) -> list[str]:
    chosen = found.chosen is not None and found.chosen.point is point
    mark = ("*" if efficient else "") + (" chosen" if chosen else "")
    cells = []
    for one, value in zip(found.measures, point.values(part, found.measures), strict=True):
        cells += [_number(value), _number(point.loss(part, one.task))]
    return [point.method, shown(point.preference), mark, *cells]


def _volumes(found: TradeOff) -> tuple[list[str], list[list[str]]]:
    rows = [[method, *(f"{found.hypervolume(method, part):.4g}" for part in found.parts)] for method in found.methods]
    return ["method", *found.parts], rows


def _reference(found: TradeOff) -> str:
    point = ", ".join(
        f"{one.task} {one.metric} {_number(value)}" for one, value in zip(found.measures, found.reference, strict=True)
    )
    origin = "given" if found.given_reference else "the worst of the methods' ends on validation rows"
    return f"Reference: {point} ({origin})."


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}" if abs(value) < 100 else f"{value:,.2f}"
