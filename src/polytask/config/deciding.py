"""What a bundle makes of predictions, as the file says it: thresholds, calibration, a fused score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from polytask.config.base import Names, Positive, Table
from polytask.config.problems import dotted
from polytask.errors import Problem, suggest

if TYPE_CHECKING:
    from polytask.config.models import Config

CALIBRATIONS = {
    "binary": ("isotonic", "platt"),
    "multiclass": ("temperature",),
    "ordinal": ("temperature",),
}
_WORDS = ("f1", "youden")
_WANTED = ("precision", "recall", "rate")
_RULES = '0.3, "f1", "youden", { precision = 0.9 }, { recall = 0.8 }, { rate = 0.05 } or { cost = [1, 5] }'


def threshold_rule(value: object) -> float | str | dict[str, Any]:
    """A rule that `threshold` of a task may be.

    Raises:
        ValueError: It is none; the text holds what was found and what to write.

    Example:
        >>> threshold_rule({"cost": [1, 5]})
        {'cost': (1.0, 5.0)}
    """
    if isinstance(value, str):
        if value in _WORDS:
            return value
        raise ValueError(f"{value!r} is no rule; write {_RULES}")
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, wanted),) = value.items()
        if name in _WANTED and _number(wanted) and 0 < wanted <= 1:
            return {name: float(wanted)}
        if name == "cost" and isinstance(wanted, list | tuple) and len(wanted) == 2:
            if all(_number(cost) and cost >= 0 for cost in wanted) and sum(wanted) > 0:
                return {name: (float(wanted[0]), float(wanted[1]))}
            raise ValueError(f"the costs {list(wanted)!r} of a false yes and a false no; give two numbers from 0")
        if name in _WANTED:
            raise ValueError(f"{name} = {wanted!r} is no share; give a number above 0 and at most 1")
    if _number(value) and 0 <= value <= 1:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise ValueError(f"{value!r} is no rule; write {_RULES}")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


ThresholdRule = Annotated[
    Any,
    PlainValidator(threshold_rule),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "object"}]}),
]


class FusionConfig(Table):
    """One ranking score from all predictions, fitted on the validation rows.

    Attributes:
        value: What good rows have much of: a task, or an expression over columns (``"watch_time"``).
        group: The column within whose values rows are ranked: user, query, session.
        objective: ``ndcg`` of the value, or ``gauc`` of a value that is 0 or 1.
        form: ``product`` is ``prod p^w``, ``sum`` is ``sum w p``.
        at: How many places NDCG looks at.
        tasks: Predictions to fuse; by default all that are one number, of chained tasks the joint probabilities.
        floors: Per task the least ranking quality: GAUC of a binary task, NDCG of another.
        samples: How many weightings are tried.
    """

    value: Annotated[str, Field(min_length=1)]
    group: Annotated[str, Field(min_length=1)]
    objective: Literal["ndcg", "gauc"] = "ndcg"
    form: Literal["product", "sum"] = "product"
    at: Positive = 10
    tasks: Names = ()
    floors: dict[str, Annotated[float, Field(ge=0.0, le=1.0, strict=False)]] = Field(default_factory=dict)
    samples: Annotated[int, Field(ge=10, le=100_000)] = 300


def decision_problems(config: Config) -> list[Problem]:
    """Everything that is wrong with calibration, thresholds and fusion, seen from the configuration."""
    problems = [problem for name in config.tasks for problem in _task_problems(config, name)]
    if config.fusion is not None:
        problems += _fusion_problems(config, config.fusion)
    return problems


def undecided(config: Config) -> Config:
    """The configuration of the same model without calibration, thresholds and fusion."""
    nothing = {"calibrate": "none", "threshold": None}
    tasks = {name: task.model_copy(update=nothing) for name, task in config.tasks.items()}
    return config.model_copy(update={"tasks": tasks, "fusion": None})


def _task_problems(config: Config, name: str) -> list[Problem]:
    task, problems = config.tasks[name], []
    if task.calibrate != "none" and task.calibrate not in CALIBRATIONS.get(task.kind, ()):
        problems.append(Problem(dotted(["tasks", name, "calibrate"]), *not_calibrated(name, task.kind, task.calibrate)))
    if task.threshold is None:
        return problems
    if task.kind != "binary":
        what = f"'{name}' is a {task.kind} task, and a threshold cuts the probability of a yes"
        problems.append(Problem(dotted(["tasks", name, "threshold"]), what, "remove it"))
    taken = {**dict.fromkeys(config.data.keys, "a key"), **dict.fromkeys(config.tasks, "a task")}
    taken |= {f"{child}_joint": "a joint probability" for child, one in config.tasks.items() if one.after is not None}
    if f"{name}_label" in taken:
        what = f"its labels would be called '{name}_label', which is {taken[f'{name}_label']} already"
        problems.append(Problem(dotted(["tasks", name, "threshold"]), what, "rename one of them"))
    return problems


def not_calibrated(name: str, kind: str, method: str) -> tuple[str, str]:
    """Why a task cannot be calibrated so, and what to do."""
    fitting = CALIBRATIONS.get(kind)
    if fitting is None:
        what = f"the predictions of '{name}', a {kind} task, are no probabilities"
        return what, "leave it out; bias of values shows in the task's own metrics"
    listed = " or ".join(f'"{one}"' for one in fitting)
    return f"'{method}' is not for '{name}', a {kind} task", f"write {listed}"


def _fusion_problems(config: Config, fusion: FusionConfig) -> list[Problem]:
    joint = [f"{name}_joint" for name, task in config.tasks.items() if task.after is not None]
    names = [*config.tasks, *joint]
    asked = [("tasks", name) for name in fusion.tasks] + [(f"floors.{name}", name) for name in fusion.floors]
    problems = [
        Problem(f"fusion.{where}", f"no task is named {name!r}", suggest(name, names))
        for where, name in asked
        if name not in names
    ]
    asked += [("value", fusion.value)]
    problems += [
        Problem(
            f"fusion.{where}",
            f"'{name}' has one prediction per class, and ranking needs one number a row",
            "leave it out, or add a binary task for the class that matters",
        )
        for where, name in asked
        if name in config.tasks and config.tasks[name].kind in ("multiclass", "ordinal")
    ]
    taken = {**dict.fromkeys(config.data.keys, "a key"), **dict.fromkeys(config.tasks, "a task")}
    if "score" in taken:
        what = f"its column would be called 'score', which is {taken['score']} already"
        problems.append(Problem("fusion", what, "rename the other"))
    return problems
