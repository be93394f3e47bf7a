"""Fronts from Python."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from polytask.tradeoffs.result import TradeOff
from polytask.tradeoffs.run import run_pareto
from polytask.tradeoffs.table import parse_pareto, read_pareto
from polytask.training.given import Tasks, given

Part = str | Mapping[str, Any]


def pareto(
    data: Any,
    *,
    tasks: Tasks | None = None,
    traded: Sequence[str] | None = None,
    method: Part | Sequence[Part] | None = None,
    points: int | None = None,
    preferences: Sequence[Sequence[float]] | None = None,
    seeds: int | None = None,
    baselines: bool | None = None,
    reference: Mapping[str, float] | None = None,
    choose: str | None = None,
    floor: Mapping[str, float] | None = None,
    train: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    workers: int = 1,
    resume: bool = False,
    verbose: bool = True,
    allow_code: Sequence[str] = (),
) -> TradeOff:
    """The Pareto front between tasks, with the point that you choose as a bundle.

    Args:
        data: A configuration, the path of its TOML file (with or without a ``[pareto]`` table), or a table as
            `polytask.fit` takes it, with ``tasks``.
        tasks: For a table: label columns, or per task its kind or its whole table.
        traded: The tasks that are traded; the others keep their weight. All if left out.
        method: A model per preference: ``linear`` (if left out), ``tchebycheff``, ``smooth_tchebycheff``, ``epo``. One
            model for all: ``pamal``, ``lorpman``, ``phn``, ``cosmos``. Names, or tables with ``use`` and options.
        points: How many preferences; 11 if left out.
        preferences: The preferences themselves: rows of one number from 0 per traded task.
        seeds: Seeds of every model; 1 if left out.
        baselines: Whether every traded task is also trained alone.
        reference: Per traded task the value of its primary metric that hypervolumes are measured from.
        choose: What is shipped: a preference (``"0.3,0.7"``, ``"click=0.3,like=0.7"``), ``knee`` or ``best-mean``.
        floor: Per task the least that its primary metric must reach on validation rows.
        train: For a table: the ``[train]`` table.
        config: For a table: further tables of the configuration, such as ``{"data": {"drop": ["id"]}}``.
        out: The folder; a temporary one if left out.
        workers: Trainings at a time, each in a process of its own. A script that asks for several must be importable:
            what it does stands below ``if __name__ == "__main__":``.
        resume: Go on with what the folder holds; points, methods and seeds may have grown.
        verbose: Whether progress and tables are printed.
        allow_code: Modules of your own that options may name.

    Returns:
        The front, with ``.front`` (a `polytask.fronts.Front`), ``.chosen``, ``.bundle``, and ``.choose(...)`` for
        another choice.

    Raises:
        UserError: With everything that is wrong with options and data, before any training; or no point reaches the
            floors, after it.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=600)
        >>> table = {"x": x, "buys": (x > rng.normal(size=600)).astype(int), "spends": x + rng.normal(size=600)}
        >>> labels, short = ["buys", "spends"], {"epochs": 1}
        >>> found = pareto(table, tasks=labels, method="pamal", points=3, train=short, verbose=False)
        >>> found.front.preferences.tolist()
        [[0.05, 0.95], [0.5, 0.5], [0.95, 0.05]]
        >>> found.choose("buys=1,spends=1").chosen.point.preference
        (0.5, 0.5)
    """
    parts = {
        "tasks": traded, "method": method, "points": points, "preferences": preferences, "seeds": seeds,
        "baselines": baselines, "reference": reference, "choose": choose, "floor": floor,
    }  # fmt: skip
    changes = {key: value for key, value in parts.items() if value is not None}
    settings, options, table = given(
        data, tasks=tasks, train=train, more=config, allow_code=allow_code,
        read=lambda file: read_pareto(file, (), changes, allow_code=allow_code),
        otherwise=lambda: parse_pareto({}, changes),
    )  # fmt: skip
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="polytask-")) / "front"
    console = Console() if verbose else None
    return run_pareto(settings, options, folder, workers=workers, resume=resume, console=console, data=table)
