"""Sections to one HTML file that holds its scripts, styles and data."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import polytask
from polytask.files import finite
from polytask.reporting.blocks import Block, Section
from polytask.reporting.files import Gap

SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")


@dataclass(frozen=True)
class Page:
    """What a report says.

    Attributes:
        title: What was trained.
        verdict: One sentence on whether it was worth it.
        head: Blocks below the verdict.
        sections: In their order.
        gaps: What is not there.
    """

    title: str
    verdict: str
    head: Sequence[Block]
    sections: Sequence[Section]
    gaps: Sequence[Gap]


def render(page: Page, *, refresh: float | None = None) -> str:
    """The page as HTML.

    All that comes from files is escaped: as HTML by the templates, within scripts as JSON without ``<``.

    Args:
        page: What it says.
        refresh: Seconds after which a browser loads it again; None for a finished run.
    """
    environment = Environment(
        loader=PackageLoader("polytask.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"json": _json, "slug": _slug, "tone": lambda cell: getattr(cell, "tone", "")}
    macros = environment.get_template("blocks.html").module

    def show(block: Block) -> Any:
        return getattr(macros, block.kind)(block)

    scripts = [*(_asset("assets", name) for name in SCRIPTS), _asset("templates", "report.js")]
    return environment.get_template("report.html").render(
        title=page.title,
        verdict=page.verdict,
        head=page.head,
        sections=[section for section in page.sections if section.blocks],
        gaps=page.gaps,
        refresh=None if refresh is None else f"{refresh:g}",
        version=polytask.__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        style=_asset("templates", "report.css"),
        scripts=scripts,
        show=show,
    )


def _asset(folder: str, name: str) -> Markup:
    """A file of this package, which needs no escaping."""
    return Markup(resources.files("polytask.reporting").joinpath(folder, name).read_text(encoding="utf-8"))


def _json(value: Any) -> Markup:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(finite(value), ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "data"
