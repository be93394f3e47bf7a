"""Trains what is suggested, one model of all tasks, and single-task networks, and compares them over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polytask.comparing.analysis import Measure, analyse
from polytask.comparing.checks import build_problems
from polytask.comparing.lab import Lab
from polytask.comparing.plan import Plan, TaskGroup
from polytask.comparing.progress import Display
from polytask.comparing.result import Comparison
from polytask.comparing.work import do_runs
from polytask.config import Config
from polytask.errors import raise_errors
from polytask.files import make_folder
from polytask.grouping.methods import alone, once, together
from polytask.serving.bundle import fitted_tasks
from polytask.training.prepared import Prepared


def check_plan(config: Config, groupings: Mapping[str, Sequence[TaskGroup]], seeds: Sequence[int]) -> Plan:
    """What the check trains: groupings that say different things, one model of all, and one network per task."""
    tasks = tuple(config.tasks)
    candidates = [together("one model of all tasks", config, [TaskGroup(tasks, tasks)])]
    known = {candidates[0].groups}
    for name, groups in groupings.items():
        method = together(name, config, groups)
        single = all(len(group.tasks) == 1 for group in method.groups)  # which the baseline is already
        if method.groups not in known and not single:
            known.add(method.groups)
            candidates.append(method)
    return Plan(tuple(candidates), (alone(config),), tuple(seeds), tasks)


def run_check(
    config: Config,
    prepared: Prepared,
    place: Path,
    out: Path,
    plan: Plan,
    display: Display,
    workers: int,
    facts: Mapping[str, Any],
) -> Comparison:
    """Trains the plan, with the budget of the configuration for every model, and compares as `polytask.compare` does.

    Args:
        config: What to train.
        prepared: Its data.
        place: Where runs are; those that pairs have trained are read.
        out: The folder of the comparison.
        plan: What to train.
        display: Shows how far it is.
        workers: Runs at a time.
        facts: What else belongs into ``comparison.json``.
    """
    raise_errors(build_problems(config, plan, prepared))
    outcomes = do_runs(Lab(config, prepared, place), once(plan.runs()), display, workers=workers)
    measures = [
        Measure(task.name, task.primary_metric, task.metrics()[task.primary_metric].higher_is_better is not False)
        for task in fitted_tasks(config, prepared.preprocessor)
    ]
    ordered = {run.key: outcomes[run.key] for run in plan.runs()}
    make_folder(out)
    found = Comparison(out, analyse(plan, measures, ordered), ordered)
    found.write(facts)
    return found
