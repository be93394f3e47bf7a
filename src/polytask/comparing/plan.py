"""What a comparison trains: methods, and one run per method, seed and (for models of single tasks) task."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from polytask.comparing.table import CompareConfig
from polytask.config import BalancerConfig, ComponentConfig, Config
from polytask.errors import Problem, UserError

Kind = Literal["shared", "single", "lightgbm"]
RUNS = "runs"
SINGLE, LIGHTGBM = "one network per task", "LightGBM per task"


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Tasks that are trained together.

    Attributes:
        tasks: All of them.
        serves: Those whose scores are taken from this model; the others only help.
    """

    tasks: tuple[str, ...]
    serves: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The tasks as the name of a folder; + is in no task's name."""
        name = "+".join(self.tasks)
        return name if len(name) <= 100 else f"{len(self.tasks)}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One line of the leaderboard.

    Attributes:
        name: What tables call it.
        kind: ``shared`` for a candidate, else which baseline it is.
        folder: Its folder within that of the comparison.
        sharing: The architecture.
        balancer: The balancer.
        groups: Of a candidate: the tasks of each of its models; empty for one model of all tasks.
    """

    name: str
    kind: Kind
    folder: str
    sharing: ComponentConfig
    balancer: BalancerConfig
    groups: tuple[TaskGroup, ...] = ()

    def config(self, config: Config) -> Config:
        """The configuration with this method's parts."""
        return config.model_copy(update={"sharing": self.sharing, "balancer": self.balancer})


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training.

    Attributes:
        method: What is trained.
        seed: Initial weights, order, dropout.
        task: Of a model of one task.
        group: Of a model of some tasks.
    """

    method: Method
    seed: int
    task: str | None = None
    group: TaskGroup | None = None

    @property
    def key(self) -> str:
        """Its folder within that of the comparison; no two runs share one."""
        inner = self.task if self.group is None else self.group.folder
        return str(Path(self.method.folder, *([] if inner is None else [inner]), str(self.seed)))

    @property
    def title(self) -> str:
        """What the progress display calls it."""
        inner = self.task if self.group is None else " + ".join(self.group.tasks)
        return f"{self.method.name}{'' if inner is None else f', {inner}'}, seed {self.seed}"

    def serves(self, task: str) -> bool:
        """Whether a task's scores are taken from this run."""
        return self.group is None or task in self.group.serves


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it.

    Attributes:
        candidates: The models that share, in the order asked for.
        baselines: Single-task networks first, then LightGBM if asked for.
        seeds: The seeds.
        tasks: The tasks.
    """

    candidates: tuple[Method, ...]
    baselines: tuple[Method, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]

    @property
    def methods(self) -> tuple[Method, ...]:
        """Baselines, then candidates."""
        return (*self.baselines, *self.candidates)

    def runs(self) -> Iterator[Run]:
        """All runs, seed after seed, so that what an interruption leaves is paired."""
        for seed in self.seeds:
            for method in self.methods:
                yield from self.of(method, seed)

    def of(self, method: Method, seed: int) -> list[Run]:
        """The runs of one method and seed."""
        if method.groups:
            return [Run(method, seed, group=group) for group in method.groups]
        if method.kind == "shared":
            return [Run(method, seed)]
        return [Run(method, seed, task) for task in self.tasks]


def make_plan(config: Config, compare: CompareConfig) -> Plan:
    """The methods and seeds of a comparison.

    A bare name that the configuration itself uses stands for the configuration's own table, options included.

    Raises:
        UserError: A part is listed twice, or there is one task only.
    """
    sharing = [_own(part, config.sharing) for part in compare.sharing or (config.sharing,)]
    balancers = [_own_balancer(part, config.balancer) for part in compare.balancers or (config.balancer,)]
    problems = [*_twice("sharing", sharing), *_twice("balancers", balancers)]
    if len(config.tasks) < 2:
        problems.append(Problem("tasks", "one task shares with none", "name two tasks or more"))
    if problems:
        raise UserError(problems)
    pairs = list(product(sharing, balancers))
    if compare.only_changed == "axes":
        pairs = [(one, other) for one, other in pairs if one is sharing[0] or other is balancers[0]]
    names = {
        id(part): name for parts in (sharing, balancers) for part, name in zip(parts, part_names(parts), strict=True)
    }
    candidates = [
        Method(
            f"{names[id(one)]} + {names[id(other)]}",
            "shared",
            f"{RUNS}/{part_slug(one)}+{part_slug(other)}",
            one,
            other,
        )
        for one, other in pairs
    ]
    alone = config.sharing if compare.single is None else _own(compare.single, config.sharing)
    equal = BalancerConfig(use="equal")
    baselines = [Method(SINGLE, "single", f"{RUNS}/single-{part_slug(alone)}", alone, equal)]
    if compare.lightgbm:
        baselines.append(Method(LIGHTGBM, "lightgbm", f"{RUNS}/lightgbm", alone, equal))
    seeds = range(config.train.seed, config.train.seed + compare.seeds)
    return Plan(tuple(candidates), tuple(baselines), tuple(seeds), tuple(config.tasks))


def _own(part: ComponentConfig, own: ComponentConfig) -> ComponentConfig:
    return own if part == ComponentConfig(use=own.use) else part


def _own_balancer(part: BalancerConfig, own: BalancerConfig) -> BalancerConfig:
    return own if part == BalancerConfig(use=own.use) else part


def _twice(key: str, parts: Sequence[ComponentConfig]) -> list[Problem]:
    labels = [_label(part) for part in parts]
    repeated = {label: labels.count(label) for label in labels if labels.count(label) > 1}
    return [Problem(f"compare.{key}", f"{label} is listed {n} times", "list it once") for label, n in repeated.items()]


def part_names(parts: Sequence[ComponentConfig]) -> list[str]:
    """Names alone where they tell the parts apart, else with options."""
    uses = [part.use for part in parts]
    return [part.use if uses.count(part.use) == 1 else _label(part) for part in parts]


def _options(part: ComponentConfig) -> dict[str, object]:
    """What of a part is no default."""
    fields = {name: getattr(part, name) for name in type(part).model_fields if name not in ("use", "options")}
    set_ = {name: value for name, value in fields.items() if value != type(part).model_fields[name].default}
    return {**set_, **part.options}


def _label(part: ComponentConfig) -> str:
    """A part in words.

    Example:
        >>> _label(ComponentConfig(use="mmoe", options={"experts": 16})), _label(ComponentConfig(use="ple"))
        ('mmoe(experts=16)', 'ple')
    """
    shown = ", ".join(f"{key}={json.dumps(value, default=str)}" for key, value in _options(part).items())
    return f"{part.use}({shown})" if shown else part.use


def part_slug(part: ComponentConfig) -> str:
    """A part as a piece of a folder's name: other options are another folder."""
    name, options = re.sub(r"[^\w.]", "-", part.use), _options(part)
    if not options and name == part.use:
        return name
    text = json.dumps([part.use, options], sort_keys=True, default=str)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
