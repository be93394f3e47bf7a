"""What is refused before any training: names, options, preferences, and models that cannot be built, all at once."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import replace

from polytask.config import BalancerConfig, Config, check_options
from polytask.errors import Problem, UserError, suggest
from polytask.serving.bundle import fitted_model
from polytask.tradeoffs.choice import read_wish
from polytask.tradeoffs.grid import Preference, chosen_preferences
from polytask.tradeoffs.network import PROVIDED
from polytask.tradeoffs.plan import CONDITIONED, SWEPT, Plan, Point, Whole, make_plan
from polytask.tradeoffs.table import ParetoConfig
from polytask.tradeoffs.training import FrontTraining
from polytask.training.prepared import Prepared
from polytask.training.single import choose_device, new_training, part_scores

_RAYS = ("tchebycheff", "smooth_tchebycheff", "epo")
_ABOVE = ("smooth_tchebycheff", "epo")


def plan_of(config: Config, options: ParetoConfig) -> tuple[Plan | None, list[Problem]]:
    """The plan, and everything that is wrong with options and settings; no plan where they leave none."""
    problems = [*_task_problems(config, options), *_setting_problems(config, options)]
    for part in options.method:
        problems += method_problems(part)
    tasks = options.tasks or tuple(config.tasks)
    preferences: tuple[Preference, ...] = ()
    plan = None
    try:
        if len(tasks) > 1:
            preferences = chosen_preferences(options, tasks)
            plan = make_plan(config, options, preferences)
    except UserError as error:
        problems += error.problems
    problems += _ray_problems(config, options, tasks, preferences)
    labels = [way.label for way in plan.ways] if plan else [part.use for part in options.method]
    try:
        read_wish(options.choose, options.floor, tasks, labels)
    except UserError as error:
        problems += error.problems
    return plan, list(dict.fromkeys(problems))


def method_problems(part: BalancerConfig) -> list[Problem]:
    """What is wrong with the name and the options of a method."""
    path = f"pareto.method '{part.use}'"
    if part.use not in (*SWEPT, *CONDITIONED):
        return [Problem(path, "no method has this name", suggest(part.use, [*SWEPT, *CONDITIONED]))]
    problems = []
    if part.use in SWEPT:
        builder = getattr(importlib.import_module("polytask.balancing"), SWEPT[part.use])
        provided: Sequence[str] = ("tasks", "names", "weights", "preferences")
    else:
        builder, provided = getattr(importlib.import_module("polytask.fronts"), part.use), PROVIDED
        usual = BalancerConfig(use=part.use, options=part.options)
        if part != usual:
            what = "at, every and share are of methods that compare the gradients of tasks"
            problems.append(Problem(path, what, "remove them"))
    try:
        check_options(builder, part.options, path=path, provided=provided)
    except UserError as error:
        problems += error.problems
    return problems


def build_problems(config: Config, plan: Plan, prepared: Prepared, units: dict[str, float]) -> list[Problem]:
    """Builds a model of every method once, without a step: what only builders can say of their options."""
    problems = []
    seen = set[str]()
    for run in plan.runs(config, units):
        method = run.method
        key = method.folder.rpartition("/")[0] if isinstance(method, Point) else method.folder
        if key in seen or method.kind == "single":
            continue
        seen.add(key)
        try:
            if isinstance(method, Whole):
                FrontTraining(config, prepared, method, config.train.seed)
            else:
                new_training(method.config(config), prepared, config.train.seed, tell=lambda problem: None)
        except UserError as error:
            problems += [replace(one, where=f"{one.where} ({method.name})") for one in error.problems]
    return list(dict.fromkeys(problems))


def undefined_problems(config: Config, plan: Plan, prepared: Prepared) -> list[Problem]:
    """Traded tasks whose primary metric no rows of a part define: no point could be judged by it.

    They are found by the scores of a model that has learnt nothing.
    """
    model = fitted_model(config, prepared.preprocessor).eval()
    metrics = {task.name: task.primary_metric for task in model.tasks if task.name in plan.tasks}
    return [
        Problem(
            f"tasks.{name}",
            f"its {metric} is undefined on the {part} part, which has {int(scores[name]['rows'])} rows with its label",
            "give that part rows whose labels differ (data.split), or leave the task out of pareto.tasks",
        )
        for part, scores in part_scores(model, prepared).items()
        for name, metric in metrics.items()
        if math.isnan(scores[name][metric])
    ]


def _task_problems(config: Config, options: ParetoConfig) -> list[Problem]:
    problems = [
        Problem("pareto.tasks", f"no task is named '{name}'", suggest(name, list(config.tasks)))
        for name in options.tasks
        if name not in config.tasks
    ]
    if len(set(options.tasks)) < len(options.tasks):
        problems.append(Problem("pareto.tasks", f"{list(options.tasks)} names a task twice", "name each once"))
    tasks = options.tasks or tuple(config.tasks)
    if len(tasks) < 2:
        problems.append(Problem("pareto.tasks", f"{len(tasks)} task, which trades with none", "name two or more"))
    if options.reference:
        problems += [
            Problem(f"pareto.reference.{name}", "no traded task has this name", suggest(name, tasks))
            for name in options.reference
            if name not in tasks
        ]
        missing = [name for name in tasks if name not in options.reference]
        if missing:
            problems.append(
                Problem("pareto.reference", f"lacks {', '.join(missing)}", "name every traded task, or none")
            )
    return problems


def _setting_problems(config: Config, options: ParetoConfig) -> list[Problem]:
    problems = []
    if config.train.warm_start is not None:
        what = f"'{config.train.warm_start}' given, but the models of a front start afresh"
        problems.append(Problem("train.warm_start", what, "remove it"))
    conditioned = [part.use for part in options.method if part.use in CONDITIONED]
    if config.train.compile and conditioned:
        what = f"{', '.join(conditioned)} put new parameters into a network in every step, which cannot be compiled"
        problems.append(Problem("train.compile", what, "remove it, or choose linear"))
    if config.train.probe and conditioned:
        what = f"probes look at the gradients of one model, and {', '.join(conditioned)} have one for every preference"
        problems.append(Problem("train.probe", what, "remove it, or choose linear"))
    try:
        choose_device(config.train.device)
    except UserError as error:
        problems += error.problems
    return problems


def _ray_problems(
    config: Config, options: ParetoConfig, tasks: Sequence[str], preferences: Sequence[Preference]
) -> list[Problem]:
    """What methods cannot do that look for the point on a ray."""
    problems = []
    for part in options.method:
        path = f"pareto.method '{part.use}'"
        if part.use in _RAYS and len(tasks) < len(config.tasks):
            kept = ", ".join(name for name in config.tasks if name not in tasks)
            what = f"looks for a ray through the losses of all tasks, and {kept} is not traded"
            problems.append(Problem(path, what, "trade all tasks, or choose linear or a conditioned model"))
        zeros = sum(min(row) == 0 for row in preferences)
        if part.use in _ABOVE and zeros:
            what = f"needs preferences above 0, and {zeros} of {len(preferences)} have a 0"
            problems.append(Problem(path, what, "give least, or preferences above 0"))
    return problems
