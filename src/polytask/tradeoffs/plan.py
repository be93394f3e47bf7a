"""What a front needs trained: a model per preference and seed, or one model for all preferences per seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from polytask.comparing.plan import SINGLE, Method, Run
from polytask.config import BalancerConfig, Config
from polytask.errors import Problem, UserError
from polytask.tradeoffs.grid import Preference, shown
from polytask.tradeoffs.table import ParetoConfig

SWEPT = {
    "linear": "constant", "tchebycheff": "tchebycheff", "smooth_tchebycheff": "smooth_tchebycheff", "epo": "epo",
}  # fmt: skip
"""Methods that train a model per preference, and the balancers that they are."""
CONDITIONED = ("pamal", "lorpman", "phn", "cosmos")
"""Methods that train one model for all preferences."""


@dataclass(frozen=True, slots=True, eq=False)
class Point(Method):
    """A model for one preference.

    Attributes:
        preference: Of the traded tasks.
        selection: Weights of all tasks in the score that selects the weights of the model.
    """

    preference: Preference = ()
    selection: Mapping[str, float] | None = None

    def config(self, config: Config) -> Config:
        """The configuration with this balancer, and weights that are kept for what it is to be good at."""
        train = config.train.model_copy(update={"selection": dict(self.selection or {})})
        return config.model_copy(update={"balancer": self.balancer, "train": train})


@dataclass(frozen=True, slots=True, eq=False)
class Whole(Method):
    """A model for all preferences.

    Attributes:
        part: The method with its options.
        tasks: The traded tasks.
        units: Per task of the model what its loss is divided by.
    """

    part: BalancerConfig = field(default_factory=lambda: BalancerConfig(use="pamal"))
    tasks: tuple[str, ...] = ()
    units: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """One method of the table.

    Attributes:
        label: What tables and figures call it.
        part: The method with its options.
        folder: Its folder within that of the front.
    """

    label: str
    part: BalancerConfig
    folder: str

    @property
    def conditioned(self) -> bool:
        """Whether one model serves all preferences."""
        return self.part.use in CONDITIONED


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it.

    Attributes:
        ways: The methods.
        tasks: The traded tasks.
        preferences: One row per point.
        seeds: The seeds.
        scaled: Whether losses count in shares of the constant prediction's.
        baselines: Whether every traded task is also trained alone.
    """

    ways: tuple[Way, ...]
    tasks: tuple[str, ...]
    preferences: tuple[Preference, ...]
    seeds: tuple[int, ...]
    scaled: bool
    baselines: bool

    def runs(self, config: Config, units: Mapping[str, float]) -> Iterator[Run]:
        """Every training, seed after seed, so that an interruption leaves whole fronts."""
        for seed in self.seeds:
            for way in self.ways:
                yield from (Run(method, seed) for method in self._methods(way, config, units))
            if self.baselines:
                alone = self.alone(config)
                yield from (Run(alone, seed, task) for task in self.tasks)

    def alone(self, config: Config) -> Method:
        """The networks of single tasks."""
        return Method(SINGLE, "single", "runs/single", config.sharing, BalancerConfig(use="equal"))

    def _methods(self, way: Way, config: Config, units: Mapping[str, float]) -> Iterator[Method]:
        if way.conditioned:
            equal = BalancerConfig(use="equal")
            yield Whole(
                way.label, "shared", way.folder, config.sharing, equal, part=way.part, tasks=self.tasks, units=units
            )
            return
        for preference in self.preferences:
            name, balancer = f"{way.label} {shown(preference)}", self.balancer(way, preference, units)
            selection = task_weights(self.tasks, tuple(config.tasks), preference)
            yield Point(
                name, "shared", folder(way, preference), config.sharing, balancer,
                preference=preference, selection=selection,
            )  # fmt: skip

    def balancer(self, way: Way, preference: Preference, units: Mapping[str, float]) -> BalancerConfig:
        """The balancer of a preference; weights of even preferences have the mean 1."""
        weights = task_weights(self.tasks, tuple(units), preference)
        inverse = {task: 1.0 / units[task] for task in units}
        mean = sum(inverse.values()) / len(inverse)
        given = {task: weights[task] * inverse[task] / mean for task in units}
        option = "weights" if way.part.use == "linear" else "preferences"
        options = {**way.part.options, option: given}
        return way.part.model_copy(update={"use": SWEPT[way.part.use], "options": options})


def task_weights(traded: Sequence[str], tasks: Sequence[str], preference: Preference) -> dict[str, float]:
    """Weights of all tasks under a preference: 1 in the mean for the traded ones, 1 for the others.

    Example:
        >>> task_weights(["a", "b"], ["a", "b", "c"], (0.25, 0.75))
        {'a': 0.5, 'b': 1.5, 'c': 1.0}
    """
    own = {task: len(traded) * share for task, share in zip(traded, preference, strict=True)}
    return {task: own.get(task, 1.0) for task in tasks}


def folder(way: Way, preference: Preference) -> str:
    """The folder of a point."""
    return f"{way.folder}/{shown(preference, '-')}"


def make_plan(config: Config, options: ParetoConfig, preferences: Sequence[Preference]) -> Plan:
    """The methods and points of a front.

    Raises:
        UserError: A method is listed twice.
    """
    tasks = options.tasks or tuple(config.tasks)
    uses = [part.use for part in options.method]
    labels = [part.use if uses.count(part.use) == 1 else _label(part) for part in options.method]
    repeated = {label: labels.count(label) for label in labels if labels.count(label) > 1}
    if repeated:
        raise UserError(
            Problem("pareto.method", f"{label} is listed {count} times", "list it once")
            for label, count in repeated.items()
        )
    usual = tasks == tuple(config.tasks) and options.scaled
    ways = []
    for label, part in zip(labels, options.method, strict=True):
        told = _options(part) if usual else {**_options(part), "": [tasks, options.scaled]}
        text = json.dumps(told, sort_keys=True, default=str)
        mark = f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}" if told else ""
        ways.append(Way(label, part, f"runs/{part.use}{mark}"))
    seeds = range(config.train.seed, config.train.seed + options.seeds)
    return Plan(tuple(ways), tasks, tuple(preferences), tuple(seeds), options.scaled, options.baselines)


def _options(part: BalancerConfig) -> dict[str, object]:
    fields = {name: getattr(part, name) for name in ("at", "every", "share")}
    set_ = {name: value for name, value in fields.items() if value != BalancerConfig.model_fields[name].default}
    return {**set_, **part.options}


def _label(part: BalancerConfig) -> str:
    options = ", ".join(f"{key}={json.dumps(value, default=str)}" for key, value in _options(part).items())
    return f"{part.use}({options})" if options else part.use
