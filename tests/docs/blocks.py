"""The code blocks of the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    page.relative_to(ROOT)
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
)
_BLOCK = re.compile(r"^```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: where it stands, its language, its title and its text."""

    page: Path
    line: int
    kind: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path, kind: str) -> Iterator[Block]:
    """The blocks of a page in one language, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        if match["kind"] == kind:
            line = text.count("\n", 0, match.start()) + 1
            yield Block(page, line, kind, match["title"] or "", match["text"])


def all_blocks(kind: str) -> list[Block]:
    """The blocks of all pages in one language."""
    return [block for page in PAGES for block in blocks(page, kind)]


def tour(page: str) -> Iterator[str]:
    """The command lines of a page, in order; those of make are not of this kind."""
    for block in blocks(Path(page), "console"):
        yield from (line for line in block.text.splitlines() if line.startswith("polytask"))
