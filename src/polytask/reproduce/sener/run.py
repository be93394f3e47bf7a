"""The experiment from its file to results, tables and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from polytask.files import make_folder, whole_file, write_json
from polytask.reproduce.claims import Finding
from polytask.reproduce.figures import require_matplotlib
from polytask.reproduce.sener.claims import CLAIMS, Judge
from polytask.reproduce.sener.experiment import Group, SenerExpected, SenerExperiment, load_sener
from polytask.reproduce.sener.figure import draw_accuracies
from polytask.reproduce.sener.images import absent
from polytask.reproduce.sener.measured import Row, rows
from polytask.reproduce.sener.speed import step_seconds
from polytask.reproduce.sener.study import study
from polytask.reproduce.sener.table import markdown
from polytask.reproduce.sener.work import Lab, Workshop, workshop
from polytask.reproduce.settings import enter

RESULTS, TABLES, CELLS = "results.json", "tables.md", "cells"
MAY_GROW = ("title", "seeds", "claims")


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What was measured on one data set.

    Attributes:
        group: Its settings.
        skipped: Why nothing was; empty if something was.
        tasks: Names of the tasks.
        rows: The table.
        findings: Per claim its statements; none where a method is missing.
    """

    group: Group
    skipped: str = ""
    tasks: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    findings: Mapping[str, list[Finding]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SenerReproduction:
    """A finished reproduction.

    Attributes:
        experiment: Its settings.
        expected: What was published.
        groups: What was measured.
    """

    experiment: SenerExperiment
    expected: SenerExpected
    groups: list[GroupResult]


def reproduce_sener(
    folder: Path,
    out: Path,
    *,
    quick: bool = False,
    resume: bool = False,
    workers: int = 1,
    console: Console | None = None,
) -> SenerReproduction:
    """Trains every method, evaluates the claims, and writes ``results.json``, ``tables.md`` and the figures.

    Every training is kept in ``out`` as soon as it is done; ``resume`` goes on from there, with more seeds if the file
    has more now. CelebA is skipped, with the reason, where its images are absent.

    Args:
        folder: With ``experiment.toml`` and ``expected.toml``.
        out: The folder to write.
        quick: One epoch on few images, one learning rate and two seeds, to see that everything works.
        resume: Go on with what ``out`` holds.
        workers: Trainings at a time, each in a process with one thread.
        console: Where progress is shown; None: nowhere.

    Raises:
        UserError: The files or the data are at fault, a package is missing, or ``out`` holds something else.
    """
    experiment, expected = load_sener(folder)
    experiment = experiment.quick() if quick else experiment
    require_matplotlib()
    reasons = [absent(group) for group in experiment.groups]
    enter(out, experiment.model_dump(mode="json"), free=MAY_GROW, resume=resume)
    threads, lab = torch.get_num_threads(), Lab(experiment)
    cells = workshop(lab, experiment, out / CELLS, workers, console)
    try:
        torch.set_num_threads(1)
        groups = [
            GroupResult(group, skipped=reason) if reason else _group(experiment, number, lab, cells, out)
            for number, (group, reason) in enumerate(zip(experiment.groups, reasons, strict=True))
        ]
    finally:
        torch.set_num_threads(threads)
    result = SenerReproduction(experiment, expected, groups)
    write_json(out / RESULTS, _record(result, quick=quick))
    with whole_file(out / TABLES) as partial:
        partial.write_text(markdown(result), encoding="utf-8")
    for found in groups:
        if len(found.tasks) == 2:
            draw_accuracies(out / f"{found.group.name}.png", found.group, found.tasks, found.rows, expected)
    return result


def _group(experiment: SenerExperiment, number: int, lab: Lab, workshop: Workshop, out: Path) -> GroupResult:
    group, parts = experiment.groups[number], lab.parts(number)
    tasks, images = parts["train"].tasks, {name: len(part) for name, part in parts.items()}
    steps = _speed(experiment, number, lab, out / CELLS / group.name / "speed.json")
    table = rows(group, tasks, images, study(experiment, number, tasks, workshop), steps)
    judge = Judge(table, tasks, experiment.claims, seed=experiment.seed)
    return GroupResult(group, "", tasks, table, {key: list(made(judge)) for key, made in CLAIMS.items()})


def _speed(experiment: SenerExperiment, number: int, lab: Lab, file: Path) -> Mapping[str, list[float]]:
    """Timed once and kept; before the trainings, which would disturb it."""
    if file.is_file():
        kept: dict[str, list[float]] = json.loads(file.read_text(encoding="utf-8"))
        return kept
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        images = lab.parts(number)["train"]
        found = step_seconds(
            experiment.groups[number], images, rounds=experiment.speed_rounds, seed=experiment.seed
        )  # fmt: skip
    make_folder(file.parent)
    write_json(file, found)
    return found


def _record(result: SenerReproduction, *, quick: bool) -> dict[str, Any]:
    """What ``results.json`` holds."""
    experiment, expected = result.experiment, result.expected
    return {
        "title": experiment.title,
        "paper": experiment.paper,
        "quick": quick,
        "seeds": experiment.seeds,
        "torch": torch.__version__,
        "groups": [
            {
                "name": found.group.name,
                "skipped": found.skipped,
                "tasks": list(found.tasks),
                "methods": [row.as_json() for row in found.rows],
                "claims": [
                    {
                        **claim.model_dump(),
                        "held": all(one.held for one in found.findings[claim.key]),
                        "statements": [_statement(one) for one in found.findings[claim.key]],
                    }
                    for claim in expected.claims
                    if found.findings.get(claim.key)
                ],
                "published": [row.model_dump() for row in expected.published if row.group == found.group.name],
            }
            for found in result.groups
        ],
        "source": expected.source,
    }


def _statement(finding: Finding) -> dict[str, Any]:
    return {
        "text": finding.text, "estimate": finding.estimate, "interval": [finding.low, finding.high],
        "above": finding.above, "below": finding.below, "held": finding.held,
    }  # fmt: skip
