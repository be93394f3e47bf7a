"""What is trained for a grouping: models of some tasks, and single-task networks; equal ones are trained once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polytask.comparing.plan import RUNS, SINGLE, Method, Run, TaskGroup
from polytask.config import BalancerConfig, Config
from polytask.grouping.objective import Group

FOLDER = f"{RUNS}/groups"
"""Of all models, whatever they are for: a run's key follows from its tasks and seed."""


def alone(config: Config) -> Method:
    """One network per task."""
    return Method(SINGLE, "single", FOLDER, config.sharing, BalancerConfig(use="equal"))


def together(name: str, config: Config, groups: Iterable[TaskGroup]) -> Method:
    """One model per group of tasks."""
    return Method(name, "shared", FOLDER, config.sharing, config.balancer, tuple(groups))


def task_group(group: Group, tasks: Sequence[str]) -> TaskGroup:
    """A group with names in the place of numbers."""
    return TaskGroup(tuple(tasks[number] for number in group.tasks), tuple(tasks[number] for number in group.serves))


def once(runs: Iterable[Run]) -> list[Run]:
    """Each run once."""
    return list({run.key: run for run in runs}.values())
