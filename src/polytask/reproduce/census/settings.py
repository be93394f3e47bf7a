"""From tuned settings to a training configuration; the same number of units means the same for every method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.config import Config, parse_config
from polytask.reproduce.census.experiment import CensusExperiment, Group, MethodName

Settings = Mapping[str, int | float]


def configuration(
    experiment: CensusExperiment, group: Group, method: MethodName, settings: Settings, folder: Path
) -> Config:
    """The configuration of one network; of a single-task network, before its task is singled out.

    Args:
        experiment: What all networks have in common.
        group: Rows and tasks.
        method: The architecture.
        settings: What the tuner found.
        folder: Where relative paths start.
    """
    fixed = experiment.networks
    table: dict[str, Any] = {
        "data": group.data.model_dump(exclude_none=True),
        "tasks": {name: task.model_dump(exclude_none=True) for name, task in group.tasks.items()},
        "encoder": {"embedding": fixed.embedding, "id_dropout": settings["id_dropout"]},
        "sharing": sharing(method, settings, tasks=len(group.tasks)),
        "towers": {"widths": [settings["tower"]], "dropout": settings["dropout"]},
        "train": {
            "epochs": settings["epochs"],
            "learning_rate": settings["learning_rate"],
            "embedding_learning_rate": settings["embedding_learning_rate"],
            "batch_size": fixed.batch_size,
            "warmup": fixed.warmup,
            "decay": fixed.decay,
            "patience": 0,  # the main task's AUC decides when to stop, not the mean over tasks
            "device": "cpu",
        },
    }
    return parse_config(table, relative_to=folder)


def sharing(method: MethodName, settings: Settings, *, tasks: int) -> dict[str, Any]:
    """The table ``sharing`` of a method.

    ``units`` counts the first layer over all its copies (experts, networks of tasks), as the paper's cap of 2048 does;
    a second layer is half as wide. PLE has levels of one layer in place of layers.

    Example:
        >>> common = {"units": 1024, "layers": 2, "dropout": 0.1}
        >>> sharing("mmoe", {**common, "experts": 8}, tasks=2)
        {'use': 'mmoe', 'widths': [128, 64], 'dropout': 0.1, 'experts': 8}
        >>> sharing("ple", {**common, "experts": 1, "shared_experts": 2}, tasks=2)["widths"]
        [256]
    """
    own: dict[str, Any] = {}
    copies = 1
    match method:
        case "l2_constrained":
            copies, own = tasks, {"alpha": settings["alpha"]}
        case "cross_stitch":
            copies, own = tasks, {"own": settings["own"], "rate": settings["rate"]}
        case "tensor_factorisation":
            copies, own = tasks, {"ranks": [settings["rank_in"], settings["rank_out"], settings["rank_tasks"]]}
        case "omoe" | "mmoe":
            copies, own = int(settings["experts"]), {"experts": settings["experts"]}
        case "ple":
            copies = int(tasks * settings["experts"] + settings["shared_experts"])
            own = {name: settings[name] for name in ("experts", "shared_experts")} | {"levels": settings["layers"]}
        case _:
            pass
    layers = 1 if method == "ple" else int(settings["layers"])
    width = int(settings["units"]) // copies
    widths = [max(1, width >> layer) for layer in range(layers)]
    return {"use": method, "widths": widths, "dropout": settings["dropout"], **own}
