"""A finished grouping: what Python gets, and what its folder holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polytask.comparing.result import Comparison
from polytask.comparing.statistics import interval
from polytask.comparing.tables import Grid
from polytask.errors import MissingExtraError, Problem
from polytask.files import whole_file, write_json
from polytask.grouping.affinity import Affinity, Unit, named
from polytask.grouping.choice import Candidate, Choice
from polytask.grouping.figure import draw
from polytask.grouping.words import in_words, verdict
from polytask.training.folder import CONFIG

AFFINITY, PAGE, FIGURE = "affinity.json", "grouping.md", "affinity.png"
CHECK = "check"


@dataclass(frozen=True, eq=False)
class Grouping:
    """A finished grouping.

    Attributes:
        path: Its folder.
        affinity: How much each task helps each other one.
        choice: The groupings that were looked at, and the suggested one.
        configs: One ready configuration per group of the suggestion.
        check: The suggestion, one model of all and single-task networks compared; None if that was not asked for.
    """

    path: Path
    affinity: Affinity
    choice: Choice
    configs: tuple[Path, ...]
    check: Comparison | None = None

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The suggested groups."""
        return tuple(named(group.tasks, self.affinity.tasks) for group in self.choice.suggested.groups)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, sentence by sentence."""
        checked = () if self.check is None else tuple(f"Trained: {one}" for one in self.check.sentences[:1])
        return (*verdict(self.affinity, self.choice), *checked)

    @property
    def verdict(self) -> str:
        """What the affinities say, in plain words."""
        return " ".join(self.sentences)

    def grids(self) -> Iterator[Grid]:
        """The tables: groupings, then affinities."""
        yield self._groupings()
        yield self._matrix()

    def _groupings(self) -> Grid:
        rows, unit = [], self.affinity.unit
        for candidate in self.choice.candidates:
            groups = " ".join(in_words(self.affinity, candidate, number) for number in range(len(candidate.groups)))
            behind, best = candidate.behind, candidate is self.choice.best
            ends = "" if behind.count < 2 else f" [{unit.number(behind.low)}, {unit.number(behind.high)}]"
            shown = "" if best else f"{unit.number(behind.mean)}{ends} {unit.name}"
            rows.append((groups, str(len(candidate.groups)), unit.signed(candidate.score), shown))
        caption = (
            "Score: mean over tasks of the mean affinity of the other members of its group towards it, 0 for a task "
            "alone."
        )
        if len(self.affinity.samples) > 1:
            caption += f" Behind the best: with its 95 % interval over {self.affinity.of}."
        bold = self.choice.candidates.index(self.choice.suggested)
        return Grid("Groupings", ("grouping", "groups", "score", "behind the best"), tuple(rows), caption, bold)

    def _matrix(self) -> Grid:
        affinity = self.affinity
        mean, samples, tasks, unit = affinity.mean, affinity.samples, affinity.tasks, affinity.unit
        count = range(len(tasks))
        rows = [(tasks[i], *(_cell(unit, mean[i, j], samples[:, i, j]) for j in count)) for i in count]
        caption = f"From the task of the row to that of the column, in {unit.name} of the column's loss"
        caption += f"; ▲ and ▼ where the 95 % interval over {affinity.of} excludes 0." if len(samples) > 1 else "."
        return Grid("Affinities", ("task", *tasks), tuple(rows), caption)

    def write(self, facts: Mapping[str, Any]) -> str | None:
        """Writes ``affinity.json``, ``grouping.md`` and the figure; returns why there is no figure, if so.

        Args:
            facts: What else belongs into the JSON: configuration, environment.
        """
        missing = None
        try:
            draw(self.affinity, self.choice.suggested.groups, self.path / FIGURE)
        except MissingExtraError as error:
            missing = str(error)
        with whole_file(self.path / PAGE) as partial:
            partial.write_text(self._page(missing is None), encoding="utf-8")
        write_json(self.path / AFFINITY, {**self._json(), **facts})
        return missing

    def _page(self, figure: bool) -> str:
        parts = ["# Task grouping\n", "\n".join(f"- {sentence}" for sentence in self.sentences) + "\n"]
        if figure:
            parts.append(f"![Affinities between tasks, groups framed]({FIGURE})\n")
        parts += [grid.markdown() for grid in self.grids()]
        lines = [f"- `{file.name}`: {', '.join(group)}" for file, group in zip(self.configs, self.groups, strict=True)]
        parts.append("## To train\n\n" + "\n".join(lines) + "\n")
        if self.check is not None:
            parts.append(f"## Trained\n\nSee [{CHECK}/leaderboard.md]({CHECK}/leaderboard.md).\n")
        if self.affinity.failures:
            failed = [f"- {run}: {what.splitlines()[0] if what else ''}" for run, what in self.affinity.failures]
            parts.append("## Failures\n\n" + "\n".join(failed) + "\n")
        return "\n".join(parts)

    def _json(self) -> dict[str, Any]:
        affinity, choice = self.affinity, self.choice
        return {
            "format": 1,
            "method": affinity.method,
            "tasks": list(affinity.tasks),
            "affinity": affinity.mean.tolist(),
            "spread": affinity.spread.tolist() if len(affinity.samples) > 1 else None,
            "samples": affinity.of,
            **self._candidate(choice.suggested),
            "candidates": [self._candidate(candidate) for candidate in choice.candidates],
            "exact": choice.exact,
            "units": [list(named(unit, affinity.tasks)) for unit in affinity.units],
            "verdict": list(self.sentences),
            "configs": [file.name for file in self.configs],
        }

    def _candidate(self, candidate: Candidate) -> dict[str, Any]:
        tasks = self.affinity.tasks
        return {
            "groups": [list(named(group.tasks, tasks)) for group in candidate.groups],
            "serves": [list(named(group.serves, tasks)) for group in candidate.groups],
            "score": candidate.score,
            "behind": asdict(candidate.behind),
        }


def _cell(unit: Unit, mean: float, samples: np.ndarray) -> str:
    if mean != mean:
        return "-"
    found = interval(samples)
    mark = "" if found.count < 2 else ("· ", "▲ ", "▼ ")[found.sign]
    return f"{mark}{unit.number(mean, '+.3g')}"


def place_problems(out: Path) -> list[Problem]:
    """Why the grouping of a run cannot go into a folder: something else is in it."""
    if not out.exists():
        return []
    names = {file.name for file in out.iterdir()} if out.is_dir() else {out.name}
    if out.is_dir() and CONFIG not in names and (AFFINITY in names or names <= {CHECK}):
        return []
    return [Problem(str(out), "exists and is no grouping of a run", "name a new folder with --out")]
