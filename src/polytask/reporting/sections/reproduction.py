"""How to do it again: commands, configuration, versions, machine, seeds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.reporting.blocks import Section, Source, Table
from polytask.reporting.files import Gaps
from polytask.reporting.runs import Run
from polytask.reporting.words import count, listed, number


def reproduction(runs: Sequence[Run], gaps: Gaps) -> Section:
    """Per run its commands, facts and the exact configuration."""
    section = Section("reproduce", "How to do it again")
    facts = [_facts(run) for run in runs]
    names = list(dict.fromkeys(name for own in facts for name in own))
    rows = [[name, *(own.get(name, "–") for own in facts)] for name in names]
    section.blocks.append(Table(["", *(run.name for run in runs)], rows))
    for run in runs:
        which = f" of {run.name}" if len(runs) > 1 else ""
        if run.config_text:
            section.blocks.append(Source(f"Commands{which}", _commands(run)))
            section.blocks.append(Source(f"Configuration{which}, with all defaults", run.config_text))
        if not run.environment and not run.compared:
            gaps.add(run.folder / "environment.json", "is missing or cannot be read, so that versions are unknown")
    return section


def _facts(run: Run) -> dict[str, str]:
    first = next((training.scores for training in run.seeds if training.scores), {})
    rows = first.get("part_rows")
    seconds = [training.scores.get("seconds") for training in run.seeds if training.scores]
    found = {
        "folder": str(run.folder),
        "method": run.method,
        "tasks": listed(run.tasks, most=8),
        "seeds": listed([str(training.seed) for training in run.seeds if training.seed is not None], most=12),
        "rows": ", ".join(f"{part} {number(many)}" for part, many in rows.items()) if isinstance(rows, dict) else "",
        "parameters": number(first.get("parameters")),
        "steps": number(first.get("steps")),
        "kept step": ", ".join(number(training.scores.get("best_step")) for training in run.seeds if training.scores),
        "training, s per seed": ", ".join(number(one, 3) for one in seconds),
    }
    return {name: value for name, value in {**found, **_environment(run.environment)}.items() if value not in ("", "–")}


def _environment(found: Mapping[str, Any]) -> dict[str, str]:
    packages, data = found.get("packages"), found.get("data")
    shown = {
        name: str(found[name]) for name in ("polytask", "python", "platform", "threads", "cuda") if found.get(name)
    }
    if isinstance(packages, dict):
        shown |= {str(name): str(version) for name, version in packages.items()}
    if isinstance(data, dict):
        shown |= {f"{part} table": str(mark) for part, mark in data.items()}
    return shown


def _commands(run: Run) -> str:
    """What trains it again, and what uses it."""
    config = shlex.quote(str(run.folder / "config.toml"))
    bundle = shlex.quote(str(run.seeds[0].folder / "bundle"))
    version = run.environment.get("polytask")
    install = [f"pip install {shlex.quote(f'polytask=={version}')}"] if version else []
    return "\n".join(
        [
            *install,
            f"# trains all {count(len(run.seeds), 'seed')} again, with the same rows in the same order",
            f"polytask train {config} --out again",
            "# on rows of your own",
            f"polytask predict {bundle} rows.parquet -o predictions.parquet",
            f"polytask evaluate {bundle} rows.parquet",
        ]
    )
