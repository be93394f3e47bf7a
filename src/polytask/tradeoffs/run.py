"""A front from its configuration to its folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from rich.console import Console

from polytask.comparing.outcome import Outcome
from polytask.comparing.plan import Run
from polytask.comparing.progress import Display
from polytask.comparing.work import do_runs
from polytask.config import Config, absolute
from polytask.errors import Problem, UserError, raise_errors
from polytask.evaluation.scores import Scores
from polytask.files import read_json
from polytask.serving.bundle import fitted_tasks
from polytask.tables import Tables, open_tables, report_on
from polytask.tradeoffs.again import ship
from polytask.tradeoffs.checks import build_problems, plan_of, undefined_problems
from polytask.tradeoffs.choice import read_wish
from polytask.tradeoffs.gather import gather
from polytask.tradeoffs.lab import FrontLab
from polytask.tradeoffs.plan import Plan
from polytask.tradeoffs.points import Measure, reference_of
from polytask.tradeoffs.result import TradeOff
from polytask.tradeoffs.table import ParetoConfig
from polytask.tradeoffs.units import constant_losses
from polytask.tradeoffs.words import show
from polytask.training.folder import ENVIRONMENT, check_folder, run_folder
from polytask.training.prepared import Prepared
from polytask.training.progress import prepare_shown, show_finding


def run_pareto(
    config: Config,
    options: ParetoConfig,
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    console: Console | None = None,
    data: Any = None,
) -> TradeOff:
    """The function behind `polytask.pareto` and ``polytask pareto``.

    Args:
        config: Data, tasks, model and training; its balancer gives way to those of the methods.
        options: The front.
        out: The folder of the front.
        workers: Trainings at a time, each in a process of its own; 1: in this one.
        resume: Go on with what the folder holds; points, methods and seeds may have grown.
        console: Where progress and tables are shown; None shows nothing.
        data: A table in memory, in place of ``data.source``.

    Raises:
        UserError: With everything that is wrong, before any training; or no point reaches the floors, after it.
        KeyboardInterrupt: After Ctrl-C; runs in flight saved their last step.
    """
    base = absolute(config)
    once = base.train.model_copy(update={"seeds": 1, "baselines": False})
    base = base.model_copy(update={"train": once})
    plan, opened = _checked(base, options, data, console)
    check_folder(out, base, opened, resume=resume, command="pareto")
    prepared = prepare_shown(base, opened, console)
    units = constant_losses(base, prepared) if plan.scaled else dict.fromkeys(base.tasks, 1.0)
    raise_errors(build_problems(base, plan, prepared, units))
    raise_errors(undefined_problems(base, plan, prepared))
    runs = list(plan.runs(base, units))
    if console is not None:
        console.print(_size(plan, runs), highlight=False)
    with run_folder(out, base, opened, command="pareto"):
        outcomes = do_runs(FrontLab(base, prepared, out), runs, Display(console, workers), workers=workers)
    found = _found(base, options, plan, outcomes, prepared, out, console)
    found.write()  # so that a wish that nothing fulfils loses nothing
    found = ship(found, read_wish(options.choose, options.floor, plan.tasks, found.methods), lambda: prepared)
    _tell(found, found.write(), console)
    return found


def _found(
    config: Config,
    options: ParetoConfig,
    plan: Plan,
    outcomes: dict[str, Outcome],
    prepared: Prepared,
    out: Path,
    console: Console | None,
) -> TradeOff:
    """Everything that was reached, without a choice."""
    tasks = {task.name: task for task in fitted_tasks(config, prepared.preprocessor)}
    named = {name: tasks[name].primary_metric for name in plan.tasks}
    measures = tuple(
        Measure(name, metric, tasks[name].metrics()[metric].higher_is_better is not False)
        for name, metric in named.items()
    )
    points, failures = gather(config, plan, outcomes, measures, prepared, out, console)
    baselines: dict[str, tuple[dict[str, Scores], ...]] = {}
    if plan.baselines:
        alone = plan.alone(config)
        for task in plan.tasks:
            keys = [Run(alone, seed, task).key for seed in plan.seeds]
            baselines[task] = tuple(outcomes[key].scores for key in keys if outcomes[key].failure is None)
        baselines = baselines if all(baselines.values()) else {}
    given = tuple(options.reference[task] for task in plan.tasks) if options.reference else None
    facts = {
        "pareto": options.model_dump(),
        "seeds": list(plan.seeds),
        "environment": read_json(out / ENVIRONMENT),
        "part_rows": prepared.part_rows,
        "seconds": {key: outcome.seconds for key, outcome in outcomes.items()},
    }
    return TradeOff(
        out, measures, points, given or tuple(reference_of(points, measures)), given is not None, baselines,
        tuple(way.label for way in plan.ways if way.conditioned), failures, facts, allow_code=config.allow_code,
    )  # fmt: skip


def _checked(config: Config, options: ParetoConfig, data: Any, console: Console | None) -> tuple[Plan, Tables]:
    """The plan and the open tables.

    Raises:
        UserError: With all that is wrong with either.
    """
    plan, problems = plan_of(config, options)
    opened = None
    try:
        opened = open_tables(config, data)
        problems += [*opened.problems, *report_on(config, opened).problems]
    except UserError as error:
        problems += error.problems
    found = raise_errors(problems)
    assert plan is not None and opened is not None
    if console is not None:
        if importlib.util.find_spec("matplotlib") is None:
            console.print("no figure: pip install 'polytask[plot]'", style="yellow", markup=False)
        for problem in found:
            show_finding(problem, console)
        if config.balancer.use != "equal":
            what = f"'{config.balancer.use}' gives way to the methods of the front"
            show_finding(Problem("balancer", what, severity="note"), console)
    return plan, opened


def _size(plan: Plan, runs: list[Run]) -> str:
    """What is about to be trained, in a sentence."""
    many = f"{len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)}"
    points = f"{len(plan.preferences)} preference{'s' * (len(plan.preferences) != 1)}"
    parts = [
        f"{way.label}: {'1 model for' if way.conditioned else 'a model for each of'} {points}" for way in plan.ways
    ]
    parts += [f"{len(plan.tasks)} networks of one task"] * plan.baselines
    count = f"{len(runs)} training{'s' * (len(runs) > 1)}"
    return f"{count}: {'; '.join(parts)}; {many}{' each' * (len(runs) > 1)}"


def _tell(found: TradeOff, missing: str | None, console: Console | None) -> None:
    if console is None:
        return
    show(found, console)
    console.print()
    if missing is not None:
        console.print(f"no figure: {missing}", markup=False, highlight=False)
    console.print(f"bundle to use: {found.bundle_path}", markup=False, highlight=False, soft_wrap=True)
    again = f"polytask pareto {found.path} --choose knee"
    console.print(f"another choice: {again}", markup=False, highlight=False, soft_wrap=True)
