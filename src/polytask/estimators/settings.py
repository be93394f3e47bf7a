"""An estimator's flat parameters as a configuration, with sizes that suit the number of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polytask.config import Config, parse_config
from polytask.errors import Problem
from polytask.estimators.inputs import InputError, input_errors

if TYPE_CHECKING:
    from polytask.estimators.base import MultiTaskModel

Tree = Mapping[str, Any]

STEPS = 1_000
"""How many steps ``epochs="auto"`` aims at."""
EVALUATIONS = 25
"""How often the validation rows are scored at most."""
PART = 500
"""Rows from which ``validation_fraction="auto"`` sets some aside."""

RUN_OPTIONS = ("seeds", "baselines", "probe", "segment", "log")


def configuration(model: MultiTaskModel, numbers: Sequence[str], tasks: Tree, rows: int, seed: int) -> Config:
    """The configuration that an estimator's parameters mean.

    Args:
        model: The estimator.
        numbers: The columns where all hold floats: they are scaled and no more, and rows are not normalised, which
            would lose what few numbers say together.
        tasks: The ``[tasks]`` table.
        rows: Training rows.
        seed: The seed.

    Raises:
        InputError: With everything that is wrong with the parameters.
    """
    size = _batch_size(rows) if model.batch_size == "auto" else model.batch_size
    each = math.ceil(rows / size) if isinstance(size, int) and size > 0 else 1
    epochs = min(max(math.ceil(STEPS / each), 10), 40) if model.epochs == "auto" else model.epochs
    evaluations = math.ceil(epochs / EVALUATIONS) * each if isinstance(epochs, int) else each
    table: dict[str, Any] = {
        "data": {"source": "memory"},
        "features": {"defaults": {"encoding": "robust"}, **{name: {"kind": "numeric"} for name in numbers}},
        "encoder": {"norm": "none"},
        "tasks": tasks,
        "sharing": _given(use=model.sharing, experts=model.experts, widths=model.widths),
        "towers": _given(widths=model.tower_widths),
        "balancer": {"use": model.balancer},
        "train": {
            "epochs": epochs, "batch_size": size, "learning_rate": model.learning_rate,
            "weight_decay": model.weight_decay, "patience": model.patience, "device": model.device, "seed": seed,
            "evaluate_every": max(evaluations, 1),
        },
    }  # fmt: skip
    if not numbers:
        table["features"], table["encoder"] = {}, {}
    elif "use" in (model.config or {}).get("encoder", {}):
        table["encoder"] = {}
    own: dict[str, Tree] = {"features": model.features or {}, "sharing": model.sharing_options or {}}
    own["balancer"] = model.balancer_options or {}
    with input_errors():
        config = parse_config(_over(_over(table, own), model.config or {}), allow_code=tuple(model.allow_code))
    fields = type(config.train).model_fields
    other = [name for name in RUN_OPTIONS if getattr(config.train, name) != fields[name].default]
    if other:
        what, remedy = "belongs to runs with a folder, which an estimator has not", "use polytask.fit"
        raise InputError(Problem(f"config.train.{name}", what, remedy) for name in other)
    return config


def validation_share(model: MultiTaskModel, rows: int) -> float:
    """The share of the rows that is set aside.

    Raises:
        InputError: It is no share.
    """
    share = model.validation_fraction
    if share == "auto":
        return 0.1 if rows >= PART else 0.0
    if isinstance(share, str) or not 0.0 <= share < 1.0:
        raise InputError(Problem("validation_fraction", f"is {share!r}", 'choose a share below 1, 0, or "auto"'))
    return float(share)


def _batch_size(rows: int) -> int:
    """The power of 2 near a 32nd of the rows, from 32 to 1,024.

    Example:
        >>> [_batch_size(rows) for rows in (50, 2_000, 20_000, 1_000_000)]
        [32, 64, 512, 1024]
    """
    return int(min(max(2 ** round(math.log2(max(rows / 32, 1))), 32), 1024))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _over(table: Tree, own: Tree) -> dict[str, Any]:
    """The table with the entries of another one on top, level by level.

    Example:
        >>> _over({"train": {"epochs": 1, "seed": 0}}, {"train": {"epochs": 2}})
        {'train': {'epochs': 2, 'seed': 0}}
    """
    merged = dict(table)
    for name, value in own.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _over(merged[name], value) if both else value
    return merged
