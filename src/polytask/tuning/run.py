"""A sweep from its configuration to its folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from polytask.comparing.checks import data_problems
from polytask.config import Config, absolute
from polytask.errors import Problem, UserError, raise_errors
from polytask.serving.bundle import fitted_tasks
from polytask.tables import Tables, open_tables
from polytask.training.folder import check_folder, run_folder
from polytask.training.given import Tasks, given
from polytask.training.progress import prepare_shown, show_finding
from polytask.tuning.checks import build_problems, find_methods, setting_problems
from polytask.tuning.finals import Finals
from polytask.tuning.journal import Journal, load_optuna
from polytask.tuning.methods import Method
from polytask.tuning.pages import show
from polytask.tuning.progress import SweepDisplay
from polytask.tuning.result import Sweep, numbered
from polytask.tuning.search import Search
from polytask.tuning.suggest import importances
from polytask.tuning.table import SweepConfig, parse_sweep, read_sweep
from polytask.tuning.trial import measures_of, objectives_of
from polytask.tuning.work import Bench, do_jobs
from polytask.tuning.writing import write

JOURNAL = "journal.log"
SETTINGS = ("objective", "sampler", "seed", "parallel", "pruning")
"""What must not change between two visits; trials, methods and final seeds may grow."""


def sweep(
    data: Any,
    *,
    tasks: Tasks | None = None,
    trials: int | None = None,
    sharing: Sequence[Any] | None = None,
    balancers: Sequence[Any] | None = None,
    objective: str | Sequence[str] | None = None,
    space: Mapping[str, Any] | None = None,
    pruning: str | None = None,
    seed: int | None = None,
    final_seeds: int | None = None,
    train: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    workers: int = 1,
    resume: bool = False,
    verbose: bool = True,
    allow_code: Sequence[str] = (),
) -> Sweep:
    """Searches a space of settings with the same number of trials for every method.

    Args:
        data: A configuration, the path of its TOML file (with or without a ``[sweep]`` table), or a table as
            `polytask.fit` takes it, with ``tasks``.
        tasks: For a table: label columns, or per task its kind or its whole table.
        trials: Trainings of every method; 20 unless the file says otherwise.
        sharing: Architectures: names, or tables (``{"use": "mmoe", "levels": 3}``).
        balancers: Balancers, likewise; every architecture with every balancer is a method.
        objective: ``"mean"``, ``"tasks"``, or a list of tasks.
        space: Per key (``"train.learning_rate"``) a list of choices, or a range
            (``{"low": 1e-4, "high": 1e-2, "log": True}``); a usual space if left out.
        pruning: ``"median"``, ``"halving"`` or ``"none"``.
        seed: Of the suggestions.
        final_seeds: Seeds with which the best of each method is trained at the end.
        train: For a table: the ``[train]`` table.
        config: For a table: further tables of the configuration, such as ``{"data": {"drop": ["id"]}}``.
        out: The folder; a temporary one if left out.
        workers: Trials at a time, each in a process of its own. A script that asks for several must be importable: what
            it does stands below ``if __name__ == "__main__":``.
        resume: Go on with what the folder holds; trials and methods may have grown.
        verbose: Whether progress and tables are printed.
        allow_code: Modules of your own that options may name.

    Returns:
        The sweep, with ``.trials`` (an Arrow table), ``.best`` (the best trial), ``.config`` (its file), ``.bundle``
        and ``.front``.

    Raises:
        UserError: With everything that is wrong with options and data, before any training.
        MissingExtraError: Without the extra ``tune``.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=600)
        >>> table = {"x": x, "buys": (x > rng.normal(size=600)).astype(int), "spends": x + rng.normal(size=600)}
        >>> space = {"train.learning_rate": [0.001, 0.01], "sharing.experts": [2, 4]}
        >>> found = sweep(table, tasks=["buys", "spends"], trials=3, space=space, train={"epochs": 1}, verbose=False)
        >>> found.trials["state"].to_pylist(), found.config.name
        (['complete', 'complete', 'complete'], 'best.toml')
    """
    parts = {
        "trials": trials, "sharing": sharing, "balancers": balancers, "objective": objective, "space": space,
        "pruning": pruning, "seed": seed, "final_seeds": final_seeds,
    }  # fmt: skip
    changes = {key: value for key, value in parts.items() if value is not None}
    settings, options, table = given(
        data, tasks=tasks, train=train, more=config, allow_code=allow_code,
        read=lambda file: read_sweep(file, (), changes, allow_code=allow_code),
        otherwise=lambda: parse_sweep({}, changes),
    )  # fmt: skip
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="polytask-")) / "sweep"
    console = Console() if verbose else None
    return run_sweep(settings, options, folder, workers=workers, resume=resume, console=console, data=table)


def run_sweep(
    config: Config,
    options: SweepConfig,
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    console: Console | None = None,
    data: Any = None,
) -> Sweep:
    """The function behind `sweep` and ``polytask sweep``.

    Args:
        config: Data, tasks, encoder, towers and training; where the search begins.
        options: What is searched.
        out: The folder of the sweep.
        workers: Trials at a time, each in a process of its own; 1: in this one.
        resume: Go on with what the folder holds.
        console: Where progress and tables are shown; None shows nothing.
        data: A table in memory, in place of ``data.source``.

    Raises:
        UserError: With everything that is wrong, before any training; or the folder holds something else.
        MissingExtraError: Without the extra ``tune``.
        KeyboardInterrupt: After Ctrl-C; finished trials are kept.
    """
    load_optuna()
    whole = absolute(config)
    base = whole.model_copy(update={"train": whole.train.model_copy(update={"seeds": 1, "baselines": False})})
    methods, opened = _checked(base, options, data, console)
    check_folder(out, base, opened, resume=resume, command="sweep")
    prepared = prepare_shown(base, opened, console)
    raise_errors(build_problems(methods, prepared))
    measures = measures_of(fitted_tasks(base, prepared.preprocessor))
    objectives = objectives_of(options.objective, measures)
    if console is not None:
        console.print(_size(methods, options, workers), highlight=False)
    display = SweepDisplay(console, min(workers, options.parallel * len(methods)), objectives)
    bench = Bench(prepared, objectives, options.pruning, base.train.threads or 1)
    with run_folder(out, base, opened, command="sweep"):
        settings = options.model_dump(include=set(SETTINGS), mode="json")
        journal = Journal(out / JOURNAL, methods, objectives, settings)
        search = Search(methods, options, objectives, journal)
        kept = {name: [one.outcome for one in own if one.outcome is not None] for name, own in search.trials.items()}
        with display.show(search.left, kept, "trials"):
            do_jobs(bench, search, display, workers=workers)
        trials = numbered(methods, search.trials)
        found = Sweep(out, objectives, measures, tuple(methods), trials)
        finals = Finals(found, whole, options.final_seeds)
        with display.show(finals.left, {}, "final trainings"):
            do_jobs(bench, finals, display, workers=workers)
    decided = {method.name: importances(method, search.trials[method.name], objectives) for method in methods}
    result = Sweep(out, objectives, measures, tuple(methods), trials, decided, finals.scores(), finals.failures)
    missing = write(result, whole, options, part_rows=prepared.part_rows, workers=workers)
    if console is not None:
        show(result, console)
        _say_where(result, missing, console)
    return result


def _checked(config: Config, options: SweepConfig, data: Any, console: Console | None) -> tuple[list[Method], Tables]:
    """The methods and the open tables.

    Raises:
        UserError: With all that is wrong with either.
    """
    problems: list[Problem] = setting_problems(config, options)
    methods, opened = None, None
    try:
        opened = open_tables(config, data)
        problems += data_problems(config, opened)
    except UserError as error:
        problems += error.problems
    try:
        ids = opened is not None and any(one.kind in ("categorical", "sequence") for one in opened.roles.values())
        methods = find_methods(config, options, ids=ids)
    except UserError as error:
        problems += error.problems
    found = raise_errors(problems)
    assert methods is not None and opened is not None
    if console is not None:
        for problem in found:
            show_finding(problem, console)
    return methods, opened


def _size(methods: Sequence[Method], options: SweepConfig, workers: int) -> str:
    """What is about to be searched, in a sentence."""
    budgets = {method.name: method.budget(options.trials) for method in methods}
    count = sum(budgets.values())
    text = f"{count} trial{'s' * (count != 1)}: {len(methods)} method{'s' * (len(methods) > 1)}, {options.trials} each"
    small = [f"{name}, whose space has {own} points" for name, own in budgets.items() if own < options.trials]
    text += f" (fewer for {'; '.join(small)})" if small else ""
    most = options.parallel * len(methods)
    if workers > most:
        text += f"\nat most {most} of {workers} workers have work at a time: sweep.parallel is {options.parallel}"
    return text


def _say_where(result: Sweep, missing: str | None, console: Console) -> None:
    console.print()
    if missing is not None:
        console.print(f"no figure: {missing}", markup=False, highlight=False)
    if result.config is not None:
        console.print(f"best configuration: {result.config}", markup=False, highlight=False, soft_wrap=True)
    if result.bundle is not None:
        console.print(f"bundle to use: {result.bundle}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"everything else: {result.path}", markup=False, highlight=False, soft_wrap=True)
