"""A grouping from its configuration, or from a run with affinities, to its folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from polytask.comparing import tables
from polytask.config import Config, absolute, load_config
from polytask.errors import raise_errors
from polytask.files import make_folder
from polytask.grouping.affinity import named
from polytask.grouping.bench import Bench, open_bench
from polytask.grouping.choice import choose
from polytask.grouping.configs import write_configs
from polytask.grouping.lookahead import of_runs, run_folders
from polytask.grouping.options import Options
from polytask.grouping.result import CHECK, Grouping, place_problems
from polytask.serving import load_bundle
from polytask.training.folder import CONFIG
from polytask.training.given import Tasks, given

ON_SCREEN = 8
"""Tasks whose affinities fit a terminal."""


def group(
    data: Any,
    *,
    tasks: Tasks | None = None,
    method: Literal["lookahead", "pairs"] = "lookahead",
    groups: int | None = None,
    overlap: bool = False,
    seeds: int | None = None,
    check: int | None = None,
    train: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    workers: int = 1,
    resume: bool = False,
    verbose: bool = True,
    allow_code: Sequence[str] = (),
) -> Grouping:
    """Measures how much tasks help each other, and suggests which to train together.

    A grouping is worth the mean over tasks of the mean affinity of the other members of its group towards it, 0 for a
    task alone. The best groupings of 1, 2, ... groups are found exactly for up to 12 tasks, by local search beyond; the
    suggestion is the one with the fewest groups that is not behind the best by more than noise.

    Papers: Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task Learning", NeurIPS 2021,
    https://arxiv.org/abs/2109.04617; Standley et al., "Which Tasks Should Be Learned Together in Multi-task
    Learning?", ICML 2020, https://arxiv.org/abs/1905.07553.

    Args:
        data: A configuration, the path of its TOML file, a run folder whose probes have measured affinities, or a table
            as `polytask.fit` takes it, with ``tasks``.
        tasks: For a table: label columns, or per task its kind or its whole table.
        method: ``lookahead`` trains all tasks together once and looks one step ahead; ``pairs`` trains every task alone
            and every two of them together.
        groups: Largest number of groups; 4 if left out.
        overlap: Whether a group may hold tasks that another one serves, as helpers.
        seeds: Seeds of the measurement; 1 for ``lookahead`` and 3 for ``pairs`` if left out.
        check: Also train the suggestion, one model of all tasks and one network per task with so many seeds.
        train: For a table: the ``[train]`` table.
        config: For a table: further tables of the configuration, such as ``{"data": {"drop": ["id"]}}``.
        out: The folder; a temporary one if left out, ``grouping`` within a run folder.
        workers: Runs at a time, each in a process of its own. A script that asks for several must be importable: what
            it does stands below ``if __name__ == "__main__":``.
        resume: Go on where an interrupted grouping stopped; seeds and groups may have changed.
        verbose: Whether progress and tables are printed.
        allow_code: Modules of your own that options may name.

    Returns:
        The grouping, with ``.groups``, ``.verdict``, ``.affinity`` and ``.configs`` (one TOML file per group).

    Raises:
        UserError: With everything that is wrong with options and data, before any training.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.normal(size=(2, 600))
        >>> table = {"x": x, "buys": (x > noise).astype(int), "spends": x + noise, "visits": rng.poisson(np.exp(x / 2))}
        >>> found = group(table, tasks=["buys", "spends", "visits"], train={"epochs": 1}, verbose=False)
        >>> found.affinity.mean.shape, sorted(task for group in found.groups for task in group)
        ((3, 3), ['buys', 'spends', 'visits'])
    """
    options = Options(method, groups, overlap, seeds, check, workers, resume)
    run = Path(data) if isinstance(data, str | Path) and (Path(data) / CONFIG).is_file() else None
    settings, _, table = given(
        data if run is None else run / CONFIG, tasks=tasks, train=train, more=config, allow_code=allow_code,
        read=lambda file: (load_config(file, allow_code=allow_code), None), otherwise=lambda: None,
    )  # fmt: skip
    folder = Path(out) if out is not None else None
    if folder is None:
        folder = run / "grouping" if run is not None else Path(tempfile.mkdtemp(prefix="polytask-")) / "grouping"
    return run_grouping(settings, options, folder, run=run, console=Console() if verbose else None, data=table)


def run_grouping(
    config: Config,
    options: Options,
    out: Path,
    *,
    run: Path | None = None,
    console: Console | None = None,
    data: Any = None,
) -> Grouping:
    """The function behind `group` and ``polytask group``.

    Args:
        config: What to train.
        options: What to do.
        out: The folder of the grouping.
        run: A run folder with affinities, in place of a measurement.
        console: Where progress and tables are shown; None shows nothing.
        data: A table in memory, in place of ``data.source``.

    Raises:
        UserError: With everything that is wrong, before any training; or the folder holds something else.
        KeyboardInterrupt: After Ctrl-C; runs in flight saved their last step.
    """
    whole = absolute(config)
    problems = options.problems(whole, run)
    raise_errors(problems if run is None else [*problems, *place_problems(out)])
    bench: Bench | None = None
    if run is None or options.check is not None:
        bench = open_bench(whole, options, out if run is None else out / CHECK, console, data)
    if run is not None:
        affinity = of_runs(whole, run_folders(run))
        bundle = load_bundle(run_folders(run)[0] / "bundle", allow_code=config.allow_code)
        preprocessor = bundle.preprocessor
        make_folder(out)
    else:
        assert bench is not None
        affinity, preprocessor = bench.measure(options), bench.prepared.preprocessor
    choice = choose(affinity, options.groups, overlap=options.overlap)
    groups = [named(group.tasks, affinity.tasks) for group in choice.suggested.groups]
    configs = write_configs(whole, groups, preprocessor, out)
    check = None
    if options.check is not None and bench is not None:
        check = bench.check(options, affinity, choice, out / CHECK)
    result = Grouping(out, affinity, choice, tuple(configs), check)
    missing = result.write({"config": whole.model_dump(), "run": None if run is None else str(run)})
    if console is not None:
        _show(result, missing, console)
    return result


def _show(result: Grouping, missing: str | None, console: Console) -> None:
    shown = list(result.grids())
    if len(result.affinity.tasks) > ON_SCREEN:
        shown = shown[:1]
    for grid in shown:
        console.print()
        console.print(grid.rich())
    if result.check is not None:
        tables.show(result.check.analysis, result.check.sentences, result.check.failures, console)
    console.print()
    console.print(Text("Grouping", style="bold"))
    for sentence in result.sentences:
        console.print(Text(sentence))
    console.print()
    if missing is not None:
        console.print(f"no figure: {missing}", markup=False, highlight=False)
    for file in result.configs:
        console.print(f"to train: {file}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"everything else: {result.path}", markup=False, highlight=False, soft_wrap=True)
