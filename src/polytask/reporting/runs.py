"""A run folder as a report reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from polytask.reporting.files import Gaps, read_json, read_lines, read_text, read_toml
from polytask.reporting.records import POINTS, Curves, read_curves
from polytask.reporting.words import known

Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]
MARKS = ("config.toml", "records.jsonl", "scores.json", "seeds", "baselines")
FEWEST_POINTS, ALL_POINTS = 60, 12_000


@dataclass(frozen=True)
class Training:
    """One seed of a run.

    Attributes:
        seed: Its number; None where that is not known.
        folder: Where it lies.
        scores: Its ``scores.json``; empty while it goes on.
        curves: What its records say.
        fusion: Its ``fusion.json``; empty where no score is fused.
        decisions: What its bundle makes of predictions: calibration, thresholds, fusion; empty without.
    """

    seed: int | None
    folder: Path
    scores: Mapping[str, Any]
    curves: Curves
    fusion: Mapping[str, Any] = field(default_factory=dict)
    decisions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> Scores:
        """``{part: {task: {metric: value}}}``."""
        return _parts(self.scores)


@dataclass
class Run:
    """A run folder, as far as it can be read.

    Attributes:
        folder: Where it lies.
        name: What it is called beside others.
        config: Its configuration; empty where it cannot be read.
        config_text: The same as text.
        environment: Versions, machine, data.
        seeds: Its trainings.
        baselines: Per task, scores of its single-task network by seed.
        diagnostics: ``diagnostics.json`` of the first seed; empty without.
        compared: Whether it is the leader of a comparison, which says the rest.
        planned: How many seeds its configuration asks for.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    seeds: list[Training]
    baselines: Mapping[str, Mapping[int | None, Scores]]
    diagnostics: Mapping[str, Any]
    compared: bool = False
    planned: int = 1

    @property
    def finished(self) -> int:
        """Seeds with scores."""
        return sum(bool(training.scores) for training in self.seeds)

    @cached_property
    def tasks(self) -> list[str]:
        """Names, in the order of losses and weights."""
        named = self.config.get("tasks")
        if isinstance(named, dict) and named:
            return list(named)
        for training in self.seeds:
            for record in (*training.curves.evaluations[-1:], *training.parts.values()):
                scores = record.get("scores", record)
                if isinstance(scores, Mapping):
                    return list(scores)
        width = max((training.curves.losses.shape[1] for training in self.seeds), default=0)
        return [f"task {number}" for number in range(width)]

    def task(self, name: str) -> Mapping[str, Any]:
        """A task's table of the configuration; empty where that is not known."""
        table = self.config.get("tasks")
        own = table.get(name) if isinstance(table, dict) else None
        return own if isinstance(own, dict) else {}

    @property
    def part(self) -> str:
        """The part whose scores are reported."""
        return "test" if any("test" in training.parts for training in self.seeds) else "validation"

    def values(self, task: str, metric: str, part: str | None = None) -> dict[int | None, float]:
        """A task's metric by seed, as far as there is one."""
        scores = {one.seed: one.parts for one in self.seeds}
        return _values(scores, part or self.part, task, metric)

    def alone(self, task: str, metric: str, part: str | None = None) -> dict[int | None, float]:
        """The same of its single-task network."""
        return _values(self.baselines.get(task, {}), part or self.part, task, metric)

    def shown_scores(self) -> dict[str, Mapping[str, Any]]:
        """Scores of the first finished seed on the reported part, joint tasks of chains among them."""
        for training in self.seeds:
            if self.part in training.parts:
                return dict(training.parts[self.part])
        return {}

    @property
    def method(self) -> str:
        """Architecture and balancer."""
        parts = [self.config.get(table) for table in ("sharing", "balancer")]
        used = [str(part["use"]) for part in parts if isinstance(part, dict) and "use" in part]
        return " + ".join(used) or self.name


def is_run(folder: Path) -> bool:
    """Whether a folder looks like one of a run."""
    return any((folder / mark).exists() for mark in MARKS)


def read_run(folder: Path, gaps: Gaps, *, name: str | None = None, curves: int = 1) -> Run:
    """Reads a run folder, whole or not, finished or not.

    Args:
        folder: Where it lies.
        gaps: Gets what cannot be read.
        name: What to call it; the folder's name if left out.
        curves: How many runs share the page's points.
    """
    config = read_toml(folder / "config.toml", gaps) or {}
    if not config:
        gaps.add(folder / "config.toml", "is missing or cannot be read, so that kinds of tasks and options are unknown")
    several = _numbered(folder / "seeds")
    places = several or {None: folder}
    tasks = config.get("tasks")
    width = max(len(tasks) if isinstance(tasks, dict) else 1, 1)
    points = min(POINTS, max(FEWEST_POINTS, ALL_POINTS // (width * len(places) * max(curves, 1))))
    seeds = [_training(number, place, gaps, points) for number, place in places.items()]
    if not several and isinstance(seeds[0].scores.get("seed"), int):
        seeds = [replace(seeds[0], seed=seeds[0].scores["seed"])]
    wanted = _get(config, "train", "seeds")
    diagnostics = read_json(seeds[0].folder / "diagnostics.json", gaps) or {}
    return Run(
        folder, name or folder.resolve().name, config, read_text(folder / "config.toml", gaps) or "",
        read_json(folder / "environment.json", gaps) or {}, seeds, _baselines(folder / "baselines", gaps), diagnostics,
        planned=wanted if isinstance(wanted, int) else len(seeds),
    )  # fmt: skip


def _training(seed: int | None, folder: Path, gaps: Gaps, points: int) -> Training:
    curves = read_curves(read_lines(folder / "records.jsonl", gaps), points=points)
    scores, fusion = (read_json(folder / name, gaps) or {} for name in ("scores.json", "fusion.json"))
    schema = read_json(folder / "bundle" / "schema.json", gaps) or {}
    decisions = schema.get("decisions")
    return Training(seed, folder, scores, curves, fusion, decisions if isinstance(decisions, dict) else {})


def _baselines(folder: Path, gaps: Gaps) -> dict[str, dict[int | None, Scores]]:
    found: dict[str, dict[int | None, Scores]] = {}
    for own in sorted(folder.iterdir()) if folder.is_dir() else []:
        places = _numbered(own / "seeds") or {None: own}
        read = {number: read_json(place / "scores.json", gaps) for number, place in places.items()}
        scores = {
            (score.get("seed") if number is None and isinstance(score.get("seed"), int) else number): _parts(score)
            for number, score in read.items()
            if score
        }
        if scores:
            found[own.name] = scores
    return found


def _numbered(folder: Path) -> dict[int | None, Path]:
    """Folders of seeds in their order."""
    if not folder.is_dir():
        return {}
    places = sorted(int(place.name) for place in folder.iterdir() if place.is_dir() and place.name.isdecimal())
    return {number: folder / str(number) for number in places}


def _parts(scores: Mapping[str, Any]) -> Scores:
    """``scores.json`` without what is no score."""
    parts = scores.get("scores")
    if not isinstance(parts, dict):
        return {}
    return {
        part: {task: metrics for task, metrics in tasks.items() if isinstance(metrics, dict)}
        for part, tasks in parts.items()
        if isinstance(tasks, dict)
    }


def _values(scores: Mapping[int | None, Scores], part: str, task: str, metric: str) -> dict[int | None, float]:
    found = {seed: known(own.get(part, {}).get(task, {}).get(metric)) for seed, own in scores.items()}
    return {seed: value for seed, value in found.items() if value == value}


def _get(table: Any, *keys: str) -> Any:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table
