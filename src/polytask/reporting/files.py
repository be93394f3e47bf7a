"""Files as far as they can be read: what cannot is noted, not raised."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a report cannot show, why, and what makes it.

    Attributes:
        where: The section, or the file.
        what: Why it is not there.
        remedy: The command or option that makes it.
    """

    where: str
    what: str
    remedy: str = ""


@dataclass
class Gaps:
    """What is missing, in the order in which it was noticed.

    Attributes:
        found: All of it, each once.
    """

    found: list[Gap] = field(default_factory=list)

    def add(self, where: object, what: str, remedy: str = "") -> None:
        """Notes one."""
        gap = Gap(str(where), what, remedy)
        if gap not in self.found:
            self.found.append(gap)


def read_json(file: Path, gaps: Gaps) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file, and with a gap where it cannot be read."""
    return _read(file, gaps, json.loads)


def read_toml(file: Path, gaps: Gaps) -> dict[str, Any] | None:
    """The tables of a TOML file; None where there is no file, and with a gap where it cannot be read."""
    return _read(file, gaps, tomllib.loads)


def read_text(file: Path, gaps: Gaps) -> str | None:
    """The text of a file; None where there is none, and with a gap where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8") if file.exists() else None
    except (OSError, ValueError) as error:
        gaps.add(file, f"cannot be read ({type(error).__name__})")
        return None


def read_lines(file: Path, gaps: Gaps) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, one after the other; broken lines are counted and left out.

    The last line may be half: the run may be writing it, or a crash may have cut it.
    """
    broken, last = 0, False
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                broken += last
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    last = True
                    continue
                last = not isinstance(record, dict)
                if not last:
                    yield record
    except FileNotFoundError:
        return
    except OSError as error:
        gaps.add(file, f"cannot be read ({type(error).__name__})")
    if broken:
        gaps.add(file, f"{broken:,} lines are no records and were left out")


def _read(file: Path, gaps: Gaps, parse: Any) -> dict[str, Any] | None:
    text = read_text(file, gaps)
    if text is None:
        return None
    try:
        found = parse(text)
    except (ValueError, RecursionError) as error:
        gaps.add(file, f"cannot be read ({' '.join(str(error).split())[:120]})")
        return None
    if not isinstance(found, dict):
        gaps.add(file, f"holds a {type(found).__name__}, not named values")
        return None
    return found
