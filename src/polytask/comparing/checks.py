"""What is refused before any training: names, options, data, and models that cannot be built, all at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace

from polytask.comparing.plan import Method, Plan
from polytask.comparing.table import SECTION, CompareConfig
from polytask.config import BalancerConfig, ComponentConfig, Config, component_problems
from polytask.errors import Problem, UserError
from polytask.tables import Tables, report_on
from polytask.training.prepared import Prepared
from polytask.training.run import single_task
from polytask.training.single import choose_device, new_training


def part_problems(compare: CompareConfig, allow_code: Sequence[str] = ()) -> list[Problem]:
    """What is wrong with the names and options of the table's parts."""
    parts: list[tuple[str, str, ComponentConfig]] = [("sharing", "sharing", part) for part in compare.sharing]
    parts += [("balancers", "balancer", part) for part in compare.balancers]
    parts += [("single", "sharing", compare.single)] if compare.single is not None else []
    problems = []
    for key, section, part in parts:
        table = {name: value for name, value in part.model_dump().items() if value is not None}
        for problem in component_problems({section: table}, allow_code):
            where = problem.where.replace(section, f"{SECTION}.{key} '{part.use}'", 1)
            problems.append(replace(problem, where=where))
    return problems


def setting_problems(config: Config, compare: CompareConfig) -> list[Problem]:
    """What is not installed, not there, or would make the comparison unfair."""
    problems = []
    if config.train.warm_start is not None:
        what = f"'{config.train.warm_start}' given, but networks of single tasks cannot start from it"
        problems.append(Problem("train.warm_start", what, "remove it: a comparison starts all models afresh"))
    if compare.lightgbm and importlib.util.find_spec("lightgbm") is None:
        what = "not installed, but needed for one LightGBM model per task"
        remedy = "pip install 'polytask[baselines]', or leave it out: --no-lightgbm"
        problems.append(Problem("package 'lightgbm'", what, remedy))
    try:
        choose_device(config.train.device)
    except UserError as error:
        problems += error.problems
    return problems


def data_problems(config: Config, tables: Tables) -> list[Problem]:
    """What `polytask check` finds in the data; not all of it stops anything."""
    report = report_on(config, tables)
    return [*tables.problems, *report.problems]


def build_problems(config: Config, plan: Plan, prepared: Prepared) -> list[Problem]:
    """Builds every model with its balancer once, without a step: what only builders can say of their options."""
    found: dict[Problem, list[str]] = {}
    for method in (*plan.candidates, plan.baselines[0]):
        for problem in _of_method(config, method, prepared):
            found.setdefault(problem, []).append(method.name)
    return [replace(problem, where=f"{problem.where} ({_names(names)})") for problem, names in found.items()]


def task_config(config: Config, method: Method, task: str, prepared: Prepared) -> Config:
    """The configuration of one task's own network."""
    return single_task(method.config(config), task, prepared.preprocessor)


def group_config(config: Config, tasks: Sequence[str]) -> Config:
    """The configuration with some of the tasks; a task that comes after another needs that one, too."""
    kept = {name: task for name, task in config.tasks.items() if name in tasks}
    chained = any(task.after is not None for task in kept.values())
    balancer = config.balancer if len(kept) > 1 else BalancerConfig(use="equal")
    selection = {name: weight for name, weight in (config.train.selection or {}).items() if name in kept}
    train = config.train.model_copy(update={"selection": selection or None})
    parts = {"tasks": kept, "chain": config.chain if chained else None, "balancer": balancer, "train": train}
    return config.model_copy(update=parts)


def _of_method(config: Config, method: Method, prepared: Prepared) -> list[Problem]:
    pairs = [(method.config(config), prepared)]
    if method.kind == "single":
        pairs = [(task_config(config, method, task, prepared), prepared.only(task)) for task in config.tasks]
    elif method.groups:
        one = method.config(config)
        pairs = [(group_config(one, group.tasks), prepared.only(*group.tasks)) for group in method.groups]
    problems: list[Problem] = []
    for one, data in pairs:
        try:
            new_training(one, data, config.train.seed, tell=lambda problem: None)
        except UserError as error:
            problems += error.problems
    return list(dict.fromkeys(problems))


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
