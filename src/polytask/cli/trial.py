"""Builds what a configuration names once, for a few rows: what only builders can say of their options."""

from __future__ import annotations

from collections.abc import Callable

from polytask.config import Config
from polytask.data.checks import Parts
from polytask.data.fitting import fit
from polytask.data.parts import Part
from polytask.data.sources import open_source
from polytask.errors import Problem, UserError
from polytask.model import build_tasks
from polytask.serving import load_bundle
from polytask.serving.bundle import fitted_model
from polytask.tables import Tables
from polytask.training.single import build_balancer, choose_device

ROWS = 2_000


def trial_problems(config: Config, tables: Tables) -> list[Problem]:
    """Values of options that are out of range, a device that is not there, a bundle to start from that is none.

    Args:
        config: A configuration whose names and types are right.
        tables: Its data, in which nothing was found wrong.
    """
    alone = [config.model_copy(update={"tasks": {name: task}}) for name, task in config.tasks.items()]
    problems = [problem for one in alone for problem in _raised(lambda one=one: build_tasks(one))]  # type: ignore[misc]
    problems += _raised(lambda: choose_device(config.train.device))
    if (warm := config.train.warm_start) is not None:
        problems += _raised(lambda: load_bundle(config.relative_to / warm, allow_code=config.allow_code))
    return problems + _raised(lambda: _build(config, tables))


def _build(config: Config, tables: Tables) -> None:
    # without the tasks' own options: what they say of classes may need rows that are not among these few
    plain = {name: task.model_copy(update={"options": {}}) for name, task in config.tasks.items()}
    bare = config.model_copy(update={"tasks": plain})
    try:
        sample = Parts({"train": tables.parts["train"]}).sample(tables.train.schema.names, ROWS)["train"]
        preprocessor = fit(Part(open_source(sample)), tables.roles, tables.labels).preprocessor
    except (UserError, KeyError):
        return  # too few rows to tell
    build_balancer(bare, fitted_model(bare, preprocessor))


def _raised(check: Callable[[], object]) -> list[Problem]:
    try:
        check()
    except UserError as error:
        return list(error.problems)
    return []
