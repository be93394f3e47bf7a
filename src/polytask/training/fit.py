"""Training from Python: a table in, a trained model with its scores out."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from polytask.config import Config, load_config, parse_config
from polytask.data.sources import open_source
from polytask.errors import Problem, raise_errors
from polytask.training.given import over, task_tables
from polytask.training.run import RunResult, train_run

TaskTable = Mapping[str, Any]


def fit(
    data: Any,
    *,
    tasks: str | Sequence[str] | Mapping[str, str | TaskTable],
    sharing: str | TaskTable = "mmoe",
    balancer: str | TaskTable = "equal",
    validation: Any = None,
    test: Any = None,
    train: TaskTable | None = None,
    features: Mapping[str, TaskTable] | None = None,
    split: str | TaskTable | None = None,
    drop: str | Sequence[str] = (),
    keys: str | Sequence[str] = (),
    config: TaskTable | None = None,
    out: Path | str | None = None,
    verbose: bool = True,
    allow_code: Sequence[str] = (),
) -> RunResult:
    """Trains one model for all tasks.

    Args:
        data: The training table: a path, a pandas or polars frame, an Arrow table, a mapping of arrays.
        tasks: Label columns, whose kinds are read off their values; or per task its kind (``"binary"``, with the task's
            name for the column) or its whole table (``{"kind": "binary", "label": "is_click", "where": "..."}``). A
            loss may be a function that stands at the top of a module: configuration and bundle keep its import path.
        sharing: An architecture's name, or its table (``{"use": "ple", "levels": 2}``).
        balancer: A balancer's name, or its table.
        validation: Rows for validation; split off ``data`` if left out.
        test: Rows for the test scores; split off ``data`` if left out.
        train: The ``[train]`` table: epochs, batch_size, learning_rate, seeds, baselines, ...
        features: Per column its ``[features]`` table.
        split: The ``[data.split]`` table, or its ``by`` alone.
        drop: Columns that are never features.
        keys: Columns passed through to predictions, never features.
        config: Further tables of the configuration, such as ``{"encoder": {"embedding": 8}}``.
        out: The run folder; a temporary one if left out.
        verbose: Whether progress and the comparison are printed.
        allow_code: Modules of your own that options may name.

    Returns:
        The run, with ``.scores``, ``.predict(table)`` and ``.save(path)``.

    Raises:
        UserError: With everything that is wrong with options and data.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=2_000)
        >>> table = {"x": x, "buys": (x > rng.normal(size=2_000)).astype(int), "spends": x + rng.normal(size=2_000)}
        >>> run = fit(table, tasks=["buys", "spends"], train={"epochs": 2, "batch_size": 256}, verbose=False)
        >>> run.scores["test"]["buys"]["auc"] > 0.7
        True
        >>> run.predict({"x": [-2.0, 2.0]}).column_names
        ['buys', 'spends']
    """
    tasks = [tasks] if isinstance(tasks, str) else tasks
    source = open_source(data)
    named, modules = _named_losses(task_tables(tasks, source))
    allow_code = (*allow_code, *modules)
    table: dict[str, Any] = {
        "data": {"source": source.name if source.files else "memory", "drop": _listed(drop), "keys": _listed(keys)},
        "tasks": named,
        "sharing": {"use": sharing} if isinstance(sharing, str) else dict(sharing),
        "balancer": {"use": balancer} if isinstance(balancer, str) else dict(balancer),
        "train": dict(train or {}),
        "features": {name: dict(options) for name, options in (features or {}).items()},
    }
    if split is not None:
        table["data"]["split"] = {"by": split} if isinstance(split, str) else dict(split)
    settings = parse_config(over(table, config or {}), allow_code=allow_code)
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="polytask-")) / "run"
    console = Console() if verbose else None
    return train_run(settings, folder, console=console, data=source, validation=validation, test=test)


def train(config: Config | Path | str, out: Path | str, *, resume: bool = False, verbose: bool = True) -> RunResult:
    """Trains what a configuration file describes; the function behind ``polytask train``.

    Args:
        config: A configuration, or the path of its TOML file.
        out: The run folder.
        resume: Go on where an interrupted run stopped.
        verbose: Whether progress and the comparison are printed.

    Raises:
        UserError: With everything that is wrong with configuration and data.
    """
    loaded = config if isinstance(config, Config) else load_config(Path(config))
    return train_run(loaded, Path(out), resume=resume, console=Console() if verbose else None)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _named_losses(tasks: Mapping[str, TaskTable]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The tasks with import paths in the place of functions, and the modules that these name."""
    tables = {name: dict(task) for name, task in tasks.items()}
    modules, problems = [], []
    for name, task in tables.items():
        loss = task.get("loss")
        if not callable(loss):
            continue
        module, attribute = getattr(loss, "__module__", None) or "", getattr(loss, "__qualname__", "")
        if getattr(sys.modules.get(module), attribute, None) is not loss:
            what = f"{loss!r} cannot be written as an import path, which the bundle needs"
            remedy = "give it a name at the top of a module (def loss(logits, labels): ...)"
            problems.append(Problem(f"tasks.{name}.loss", what, remedy))
        task["loss"] = f"{module}:{attribute}"
        modules.append(module)
    raise_errors(problems)
    return tables, modules
