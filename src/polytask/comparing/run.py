"""A comparison from its configuration to its folder."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from polytask.comparing import tables
from polytask.comparing.analysis import Measure, analyse
from polytask.comparing.checks import build_problems, data_problems, part_problems, setting_problems
from polytask.comparing.lab import Lab
from polytask.comparing.plan import Plan, make_plan
from polytask.comparing.progress import Display
from polytask.comparing.result import Comparison
from polytask.comparing.table import CompareConfig, parse_comparison, read_comparison
from polytask.comparing.work import do_runs
from polytask.config import Config, absolute
from polytask.errors import Problem, UserError, raise_errors
from polytask.files import read_json
from polytask.serving.bundle import fitted_tasks
from polytask.tables import Tables, open_tables
from polytask.training.folder import ENVIRONMENT, check_folder, run_folder
from polytask.training.given import Tasks, given
from polytask.training.inside import write_diagnostics
from polytask.training.progress import prepare_shown, show_finding

Part = str | Mapping[str, Any]


def compare(
    data: Any,
    *,
    tasks: Tasks | None = None,
    sharing: Sequence[Part] | None = None,
    balancers: Sequence[Part] | None = None,
    single: Part | None = None,
    seeds: int | None = None,
    lightgbm: bool | None = None,
    train: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    workers: int = 1,
    resume: bool = False,
    verbose: bool = True,
    allow_code: Sequence[str] = (),
) -> Comparison:
    """Trains every architecture with every balancer and seed, and compares them with models of single tasks.

    Args:
        data: A configuration, the path of its TOML file (with or without a ``[compare]`` table), or a table as
            `polytask.fit` takes it, with ``tasks``.
        tasks: For a table: label columns, or per task its kind or its whole table.
        sharing: Architectures: names, or tables (``{"use": "mmoe", "experts": 16}``).
        balancers: Balancers, likewise.
        single: The architecture of the single-task networks; the configuration's own if left out.
        seeds: Seeds of every method; 5 unless the file says otherwise.
        lightgbm: Whether one LightGBM model per task is trained as well; so by default.
        train: For a table: the ``[train]`` table.
        config: For a table: further tables of the configuration, such as ``{"data": {"drop": ["id"]}}``.
        out: The folder; a temporary one if left out.
        workers: Runs at a time, each in a process of its own. A script that asks for several must be importable: what
            it does stands below ``if __name__ == "__main__":``.
        resume: Go on where an interrupted comparison stopped; lists and seeds may have grown.
        verbose: Whether progress and tables are printed.
        allow_code: Modules of your own that options may name.

    Returns:
        The comparison, with ``.leaderboard`` (an Arrow table), ``.verdict`` and ``.best`` (the bundle to use).

    Raises:
        UserError: With everything that is wrong with options and data, before any training.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=600)
        >>> table = {"x": x, "buys": (x > rng.normal(size=600)).astype(int), "spends": x + rng.normal(size=600)}
        >>> found = compare(
        ...     table, tasks=["buys", "spends"], sharing=["shared_bottom"], seeds=1, lightgbm=False,
        ...     train={"epochs": 1}, verbose=False,
        ... )
        >>> found.leaderboard["method"].to_pylist()
        ['shared_bottom + equal', 'one network per task']
        >>> found.verdict[:37]
        'One seed says nothing about noise: sh'
    """
    parts = {
        "sharing": sharing, "balancers": balancers, "single": single, "seeds": seeds, "lightgbm": lightgbm,
    }  # fmt: skip
    changes = {key: value for key, value in parts.items() if value is not None}
    settings, options, table = given(
        data, tasks=tasks, train=train, more=config, allow_code=allow_code,
        read=lambda file: read_comparison(file, (), changes, allow_code=allow_code),
        otherwise=lambda: parse_comparison({}, changes),
    )  # fmt: skip
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="polytask-")) / "comparison"
    console = Console() if verbose else None
    return run_comparison(settings, options, folder, workers=workers, resume=resume, console=console, data=table)


def run_comparison(
    config: Config,
    options: CompareConfig,
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    console: Console | None = None,
    data: Any = None,
) -> Comparison:
    """The function behind `compare` and ``polytask compare``.

    Args:
        config: Data, tasks, encoder, towers and training, the same for all methods.
        options: What is compared.
        out: The folder of the comparison.
        workers: Runs at a time, each in a process of its own; 1: in this one.
        resume: Go on with what the folder holds.
        console: Where progress and tables are shown; None shows nothing.
        data: A table in memory, in place of ``data.source``.

    Raises:
        UserError: With everything that is wrong, before any training; or the folder holds something else.
        KeyboardInterrupt: After Ctrl-C; runs in flight saved their last step.
    """
    base = absolute(config)
    once = base.train.model_copy(update={"seeds": 1, "baselines": False})
    base = base.model_copy(update={"train": once})
    plan, opened = _checked(base, options, data, console)
    check_folder(out, base, opened, resume=resume, command="compare")
    prepared = prepare_shown(base, opened, console)
    raise_errors(build_problems(base, plan, prepared))
    if console is not None:
        console.print(_size(plan), highlight=False)
    with run_folder(out, base, opened, command="compare"):
        outcomes = do_runs(Lab(base, prepared, out), list(plan.runs()), Display(console, workers), workers=workers)
    measures = [
        Measure(task.name, task.primary_metric, task.metrics()[task.primary_metric].higher_is_better is not False)
        for task in fitted_tasks(base, prepared.preprocessor)
    ]
    ordered = {run.key: outcomes[run.key] for run in plan.runs()}
    result = Comparison(out, analyse(plan, measures, ordered), ordered)
    missing = result.write(
        {
            "compare": options.model_dump(),
            "config": base.model_dump(),
            "environment": read_json(out / ENVIRONMENT),
            "part_rows": prepared.part_rows,
            "workers": workers,
        }
    )
    if result.best is not None:
        write_diagnostics(base, prepared, result.best.parent, tell=lambda problem: _tell(problem, console))
    if console is not None:
        tables.show(result.analysis, result.sentences, result.failures, console)
        _say_where(result, missing, console)
    return result


def _checked(config: Config, options: CompareConfig, data: Any, console: Console | None) -> tuple[Plan, Tables]:
    """The plan and the open tables.

    Raises:
        UserError: With all that is wrong with either.
    """
    problems = [*part_problems(options, config.allow_code), *setting_problems(config, options)]
    plan = opened = None
    try:
        plan = make_plan(config, options)
    except UserError as error:
        problems += error.problems
    try:
        opened = open_tables(config, data)
        problems += data_problems(config, opened)
    except UserError as error:
        problems += error.problems
    found = raise_errors(problems)
    assert plan is not None and opened is not None
    if console is not None:
        if importlib.util.find_spec("matplotlib") is None:
            console.print("no figure: pip install 'polytask[plot]'", style="yellow", markup=False)
        for problem in found:
            show_finding(problem, console)
    return plan, opened


def _tell(problem: Problem, console: Console | None) -> None:
    if console is not None:
        show_finding(problem, console)


def _size(plan: Plan) -> str:
    """What is about to be trained, in a sentence."""
    seeds, tasks = len(plan.seeds), len(plan.tasks)
    many = f"{seeds} seed{'s' * (seeds > 1)}"
    alone = " and ".join("networks" if one.kind == "single" else "LightGBM models" for one in plan.baselines)
    runs = seeds * (len(plan.candidates) + tasks * len(plan.baselines))
    shared = f"{len(plan.candidates)} shared model{'s' * (len(plan.candidates) > 1)}"
    return f"{runs} runs: {shared} and {tasks} single-task {alone}, {many} each"


def _say_where(result: Comparison, missing: str | None, console: Console) -> None:
    console.print()
    if missing is not None:
        console.print(f"no figure: {missing}", markup=False, highlight=False)
    if result.best is not None:
        console.print(f"bundle to use: {result.best}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"everything else: {result.path}", markup=False, highlight=False, soft_wrap=True)
