"""What is refused before any training: names, options, ranges, and models that cannot be built, all at once."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from pydantic import ValidationError

from polytask.comparing.plan import part_names, part_slug
from polytask.config import BalancerConfig, ComponentConfig, Config, TaskConfig, TrainConfig, component_problems
from polytask.config.problems import dotted, problems_of
from polytask.errors import Problem, UserError, suggest
from polytask.training.prepared import Prepared
from polytask.training.single import choose_device, new_training
from polytask.tuning.methods import Method, applies, usual_space
from polytask.tuning.place import PARTS, as_table, options_of, path_of, put
from polytask.tuning.space import Dimension, Range, read_dimension
from polytask.tuning.table import SECTION, SweepConfig

TRAIN = (
    "learning_rate", "embedding_learning_rate", "embedding_weight_decay", "embedding_initial", "weight_decay",
    "batch_size", "warmup", "decay", "clip_norm",
)  # fmt: skip
"""Keys of ``[train]`` that may differ between trials; the others are the budget, or change no result."""


def setting_problems(config: Config, sweep: SweepConfig) -> list[Problem]:
    """What is not there, or contradicts the rest."""
    problems = []
    if config.train.warm_start is not None:
        what = f"'{config.train.warm_start}' given, but trials differ in what it would fill"
        problems.append(Problem("train.warm_start", what, "remove it: a sweep starts all models afresh"))
    if sweep.objective not in ("mean", "tasks"):
        for name in sweep.objective:
            if name not in config.tasks:
                remedy = suggest(name, list(config.tasks))
                problems.append(Problem(f"{SECTION}.objective", f"no task is named {name!r}", remedy))
            elif sweep.objective.count(name) > 1:
                problems.append(Problem(f"{SECTION}.objective", f"{name!r} is listed twice", "list it once"))
    if config.train.steps is not None and "train.batch_size" in (sweep.space or {}):
        what = f"train.steps = {config.train.steps} would give trials of other batch sizes other rows to learn from"
        problems.append(Problem(f'{SECTION}.space."train.batch_size"', what, "say train.epochs in its place"))
    try:
        choose_device(config.train.device)
    except UserError as error:
        problems += error.problems
    return list(dict.fromkeys(problems))


def find_methods(config: Config, sweep: SweepConfig, *, ids: bool) -> list[Method]:
    """The methods with their spaces.

    A bare name that the configuration itself uses stands for the configuration's own table, options included.

    Args:
        config: The configuration.
        sweep: What is searched.
        ids: Whether there are embeddings of ids.

    Raises:
        UserError: Names, options or dimensions are wrong; all at once.
    """
    sharing, balancers = _parts(sweep.sharing, config.sharing), _parts(sweep.balancers, config.balancer)
    space, wrong = _dimensions(config, sweep.space or {})
    problems = [*_part_problems("sharing", "sharing", sharing, space, config.allow_code)]
    problems += _part_problems("balancers", "balancer", balancers, space, config.allow_code)
    if problems:  # without builders nothing can be said of their options
        raise UserError(dict.fromkeys([*problems, *wrong]))
    names = [[*part_names(parts)] for parts in (sharing, balancers)]
    configs = {
        (f"{name} + {other}", f"{_slug(one, config.sharing)}+{_slug(two, config.balancer)}"): config.model_copy(
            update={"sharing": one, "balancer": two}
        ).placed(config.relative_to, allow_code=config.allow_code)
        for (name, one), (other, two) in product(
            zip(names[0], sharing, strict=True), zip(names[1], balancers, strict=True)
        )
    }
    if sweep.space is None:
        return [Method(*name, one, usual_space(one, ids=ids)) for name, one in configs.items()]
    methods = [
        Method(*name, one, {key: _fitted(one, key, dim) for key, dim in space.items() if applies(one, key)})
        for name, one in configs.items()
    ]
    wrong += _fixed(sweep, config, space)
    wrong += _unknown(methods, space)
    wrong += [problem for method in methods for problem in _value_problems(method)]
    if wrong:
        raise UserError(dict.fromkeys(wrong))
    return methods


def part_problems(sweep: SweepConfig, allow_code: Sequence[str]) -> list[Problem]:
    """What is wrong with the names and options of the methods that are listed."""
    space = sweep.space or {}
    problems = [*_part_problems("sharing", "sharing", sweep.sharing, space, allow_code)]
    problems += _part_problems("balancers", "balancer", sweep.balancers, space, allow_code)
    return list(dict.fromkeys(problems))


def build_problems(methods: Sequence[Method], prepared: Prepared) -> list[Problem]:
    """Builds models until every value of every dimension was in one: what only builders can say of their options."""
    found: dict[Problem, list[str]] = {}
    for method in methods:
        count = max((len(one.examples) for one in method.space.values()), default=1)
        for number in range(count):
            params = {key: one.examples[min(number, len(one.examples) - 1)] for key, one in method.space.items()}
            config = method.with_params(params)
            try:
                new_training(config, prepared, config.train.seed, tell=lambda problem: None)
            except UserError as error:
                for problem in error.problems:
                    found.setdefault(problem, []).append(method.name)
    return [
        replace(problem, where=f"{problem.where} ({', '.join(dict.fromkeys(names))})")
        for problem, names in found.items()
    ]


def _parts(given: Sequence[Any], own: Any) -> list[Any]:
    return [own if part == type(part)(use=own.use) else part for part in given or (own,)]


def _slug(part: ComponentConfig, own: ComponentConfig) -> str:
    """The file's own part goes by its name, others with a hash of their options where they have some."""
    return part_slug(ComponentConfig(use=part.use) if part is own else part)


def _part_problems(
    key: str,
    section: str,
    parts: Sequence[ComponentConfig],
    space: Collection[str],
    allow_code: Sequence[str],
) -> Iterator[Problem]:
    slugs = [part_slug(part) for part in parts]
    for part in parts:
        table = {name: value for name, value in part.model_dump().items() if value is not None}
        for problem in component_problems({section: table}, allow_code):
            if problem.what.startswith("missing") and problem.where in space:
                continue  # an option without a default, which every trial fills
            yield replace(problem, where=problem.where.replace(section, f"{SECTION}.{key} '{part.use}'", 1))
        if (count := slugs.count(part_slug(part))) > 1:
            yield Problem(f"{SECTION}.{key}", f"{part.use} is listed {count} times", "list it once")


def _dimensions(config: Config, space: Mapping[str, Any]) -> tuple[dict[str, Dimension], list[Problem]]:
    """The dimensions that can be read, and what is wrong with keys and values of the others."""
    found, problems = {}, []
    for key, value in space.items():
        own = _key_problems(config, key)
        try:
            found[key] = read_dimension(value, _where(key))
        except UserError as error:
            own += error.problems
        if own:
            found.pop(key, None)
        problems += own
    return found, problems


def _key_problems(config: Config, key: str) -> list[Problem]:
    """What is wrong with a key, whatever its value."""
    section, *rest = path_of(key)
    where = _where(key)
    if section == "train":
        if rest[0] in TRAIN and len(rest) == 1:
            return []
        if rest[0] in TrainConfig.model_fields:
            what = "is part of the budget, or changes no result: it is the same for all trials"
            return [Problem(where, what, f"set it in [train], or search one of {', '.join(TRAIN)}")]
        return [Problem(where, "unknown key", suggest(rest[0], TRAIN))]
    if section == "tasks":
        name, option = rest
        if name not in config.tasks:
            return [Problem(where, f"no task is named {name!r}", suggest(name, list(config.tasks)))]
        if option in TaskConfig.model_fields:
            return [Problem(where, "says what the task is, which no trial may change", "search an option of its kind")]
        return []
    if section in ("data", "features"):
        return [Problem(where, "data are prepared once for all trials", "set it in the file")]
    if section not in PARTS:
        return [Problem(where, "unknown key", suggest(section, ["train", "tasks", *PARTS]))]
    if not rest or not rest[0]:
        return [Problem(where, "names no option", f'for example "{section}.NAME"')]
    if rest[0] == "use":
        lists = {"sharing": "sharing", "balancer": "balancers"}
        remedy = f"list them in {SECTION}.{lists[section]}" if section in lists else "set it in the file"
        return [Problem(where, "is another method, not a value", remedy)]
    if getattr(config, section) is None:
        return [Problem(where, f"the file has no [{section}]", f"add [{section}], or remove the key")]
    return []


def _fixed(sweep: SweepConfig, config: Config, space: Mapping[str, Dimension]) -> Iterator[Problem]:
    """Options that a list of methods fixes and the space searches."""
    listed: list[tuple[str, str, ComponentConfig]] = [("sharing", "sharing", part) for part in sweep.sharing]
    listed += [("balancers", "balancer", part) for part in sweep.balancers]
    for key, section, part in listed:
        given = dict(part.options)
        if isinstance(part, BalancerConfig):
            given |= {name: getattr(part, name) for name in part.model_fields_set - {"use", "options"}}
        for option, value in given.items():
            if f"{section}.{option}" in space:
                what = f"{value!r} is fixed here and searched in {SECTION}.space"
                yield Problem(f"{SECTION}.{key} '{part.use}'.{option}", what, "remove one of the two")


def _unknown(methods: Sequence[Method], space: Mapping[str, Dimension]) -> Iterator[Problem]:
    """Options that no method has."""
    for key in space:
        if any(key in method.space for method in methods):
            continue
        section, option, *_ = path_of(key)
        known = dict.fromkeys(name for method in methods for name in options_of(method.config, section))
        uses = dict.fromkeys(getattr(method.config, section).use for method in methods)
        yield Problem(_where(key), f"unknown option of {', '.join(uses)}", suggest(option, list(known), shown=30))


def _fitted(config: Config, key: str, dimension: Dimension) -> Dimension:
    """A range between whole numbers is one of numbers where the key takes any: ``{ low = 0, high = 1 }``."""
    if isinstance(dimension, Range) and dimension.whole and dimension.step is None:
        table = as_table(config)
        put(table, key, dimension.low + 0.5)
        if not _table_problems(table, config.allow_code):
            return replace(dimension, whole=False)
    return dimension


def _value_problems(method: Method) -> Iterator[Problem]:
    """Values that the configuration's schema or a builder's signature refuses."""
    table = as_table(method.config)
    for key, dimension in method.space.items():
        put(table, key, dimension.examples[0])  # options without a default need some value while others are checked
    for key, dimension in method.space.items():
        for value in dimension.examples:
            tried = copy.deepcopy(table)
            put(tried, key, value)
            for problem in _table_problems(tried, method.config.allow_code):
                if problem.where.startswith(dotted(path_of(key))):
                    yield replace(problem, where=_where(key))


def _table_problems(table: dict[str, Any], allow_code: Sequence[str]) -> list[Problem]:
    try:
        Config.model_validate(table)
    except ValidationError as error:
        return problems_of(error, Config)
    return component_problems(table, allow_code)


def _where(key: str) -> str:
    return f'{SECTION}.space."{key}"'
