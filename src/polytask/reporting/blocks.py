"""What a page is made of: sections of sentences, tables, charts, and one control."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

Spec = dict[str, Any]
Cell = str | float | int | None


@dataclass(frozen=True)
class Text:
    """Sentences.

    Attributes:
        sentences: One paragraph each.
    """

    kind: ClassVar[str] = "text"
    sentences: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """One figure: a Vega-Lite specification without its data, the data, and what it shows in words.

    Attributes:
        title: What it shows.
        spec: The specification; it reads the columns of ``data``.
        data: Columns of the same length.
        caption: The main message, computed from the data; it is the text alternative too.
        small: Whether it may stand beside others.
        listens: Whether the section's choice of a point is sent to it.
    """

    kind: ClassVar[str] = "chart"
    title: str
    spec: Spec
    data: Mapping[str, Sequence[Cell]]
    caption: str
    small: bool = False
    listens: bool = False

    @property
    def csv(self) -> str:
        """The data as CSV."""
        return as_csv(list(self.data), zip(*self.data.values(), strict=True))

    @property
    def controls(self) -> bool:
        """Whether there is something to set, which a picture has not."""
        return any("bind" in param for param in self.spec.get("params", ()))

    @property
    def payload(self) -> dict[str, Any]:
        """What the page's script reads."""
        numbers = {name: _is_number(values) for name, values in self.data.items()}
        parse = {name: "number" if number else "string" for name, number in numbers.items()}
        return {"spec": self.spec, "csv": self.csv, "parse": parse, "listens": self.listens}


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        headings: Of the columns.
        rows: Cells as they are shown; a cell may be a `Tone`.
        title: Above it.
        caption: Below it.
        folded: Whether it is closed at first.
        download: Whether the data are offered as CSV.
    """

    kind: ClassVar[str] = "table"
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    caption: str = ""
    folded: bool = False

    @cached_property
    def looks(self) -> list[str]:
        """Per column ``number``, ``long`` (for texts that wrap) or nothing."""
        columns = [[str(row[place]) for row in self.rows] for place in range(len(self.headings))]
        return [
            "number" if _numbers(cells) else "long" if max(map(len, cells), default=0) > 60 else "" for cells in columns
        ]

    @property
    def csv(self) -> str:
        """The table as CSV."""
        return as_csv(self.headings, [[str(cell).replace("−", "-") for cell in row] for row in self.rows])


@dataclass(frozen=True)
class Tone:
    """A cell that is good or bad news.

    Attributes:
        text: What is shown; its sign or arrow says the same as its colour.
        tone: ``good``, ``bad`` or empty.
    """

    text: str
    tone: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Source:
    """Text as it is in a file.

    Attributes:
        title: What it is.
        text: The text.
    """

    kind: ClassVar[str] = "source"
    title: str
    text: str


@dataclass(frozen=True)
class Tiles:
    """A few numbers to be seen first.

    Attributes:
        tiles: Per number its name, the number, a line below, and the tone of that line.
    """

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class Choice:
    """Sliders for a preference over tasks; the page's script finds the point of the front that it prefers.

    Attributes:
        tasks: Names.
        points: Values per point, as they are shown.
        scaled: The same from 0, the worst of the front, to 1, the best.
        start: The point that is chosen at first.
        start_is_chosen: Whether that is the point that was shipped, not only the middle.
    """

    kind: ClassVar[str] = "choice"
    tasks: Sequence[str]
    points: Sequence[Mapping[str, Any]]
    scaled: Sequence[Sequence[float]]
    start: int

    @property
    def payload(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {
            "tasks": list(self.tasks),
            "points": [dict(point) for point in self.points],
            "scaled": [list(row) for row in self.scaled],
            "start": self.start,
        }


Block = Text | Chart | Table | Source | Tiles | Choice


@dataclass
class Section:
    """A part of the page with a heading.

    Attributes:
        key: Its anchor.
        title: Its heading.
        blocks: What it shows; without any it is left out.
    """

    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)

    def say(self, *sentences: str) -> None:
        """Adds sentences, each a paragraph."""
        if sentences:
            self.blocks.append(Text(sentences))


def as_csv(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with numbers of five digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return stream.getvalue()


def _numbers(cells: Sequence[str]) -> bool:
    signs = set("0123456789.,+−-%±e –▲▼·")
    return any(cell.strip() for cell in cells) and all(set(cell.replace(" to ", "")) <= signs for cell in cells)


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return "" if value is None else value
    return f"{value:.5g}" if math.isfinite(value) else ""


def _is_number(values: Sequence[Cell]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)
