"""What the experiment file holds: methods, and per data set its rows, one network, and how it trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

import polytask.balancing
from polytask.balancing.interfaces import Place
from polytask.config import ComponentConfig, DataConfig, TaskConfig
from polytask.config.base import Positive, Table
from polytask.errors import Problem, raise_errors, suggest
from polytask.reproduce.places import FILE
from polytask.reproduce.settings import read_settings

PROGRAM = "neutral-balancers"
STATIC, SINGLE, EQUAL = "static", "single_task", "equal"
ASKING = ("constant", "annealed")
"""Balancers that want weights from the user."""
BALANCERS = tuple(name for name in polytask.balancing.__all__ if name not in ASKING)
QUICK = ("random_weights", "auto_lambda", "mgda", "mean")

Rate = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class Columns(Table):
    """A table: a named data set, or files.

    Attributes:
        table: Where the rows come from, as in a training configuration.
        tasks: Likewise.
    """

    source: Literal["table"]
    table: DataConfig
    tasks: dict[str, TaskConfig]


class Schools(Table):
    """School: exam scores of pupils, every school a task; a row has the label of its own school only.

    Attributes:
        schools: The largest so many.
        train: Share of every school's rows.
        validation: Likewise; the others are the test part.
    """

    source: Literal["school"]
    schools: Annotated[int, Field(ge=2)]
    train: Share
    validation: Share


class Digits(Table):
    """MultiMNIST.

    Attributes:
        validation: Training digits set aside.
    """

    source: Literal["multi-mnist"]
    validation: Positive


class Limits(Table):
    """At most so many rows of every part, drawn once."""

    train: Positive | None = None
    validation: Positive | None = None
    test: Positive | None = None


class Network(Table):
    """The network of all methods.

    Attributes:
        encoder: Options of the encoder that the data set calls for: ``table``, LeNet, or none.
        sharing: What follows.
        towers: Options of the towers.
        singles: Networks of single tasks are trained ``apart``, each with an encoder of its own and its own learning
            rate, or, where the encoder learns nothing, ``together`` as one stack with one learning rate.
    """

    encoder: dict[str, Any] = Field(default_factory=dict)
    sharing: ComponentConfig
    towers: dict[str, Any] = Field(default_factory=dict)
    singles: Literal["apart", "together"] = "apart"


class Schedule(Table):
    """How every network trains: AdamW, tables by row-wise Adagrad.

    Attributes:
        steps: Optimizer steps.
        batch_size: Rows a step.
        evaluations: Evenly spread; the best by validation score is what is tested.
        learning_rates: Tried by every method.
        embedding_factor: Learning rate of embedding tables, over that of the rest.
        weight_decay: Of matrices.
        at: Where balancers that make weights of gradients compare these; None: where each wants it.
    """

    steps: Positive
    batch_size: Positive
    evaluations: Positive
    learning_rates: Annotated[tuple[Rate, ...], Field(strict=False, min_length=1)]
    embedding_factor: Rate = 10.0
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    at: Place | None = None


class DataSet(Table):
    """One of the comparison.

    Attributes:
        name: Of its results.
        title: For tables and figures.
        metric: Of the test part, by its name in the tasks' scores.
        lower: Whether lower values of it are better.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    metric: str
    lower: bool = False
    data: Annotated[Columns | Schools | Digits, Field(discriminator="source")]
    limits: Limits = Limits()
    network: Network
    train: Schedule


class Static(Table):
    """The search for static weights, at the learning rate that suits equal ones.

    Attributes:
        settings: How many are tried beside equal weights: evenly spaced for two tasks, drawn for more.
        concentration: Of the Dirichlet distribution of the draws.
    """

    settings: Positive
    concentration: Rate


class NeutralExperiment(Table):
    """The whole file.

    Attributes:
        seed: From which all others follow.
        seeds: Trainings with the chosen settings, each from another initialisation.
        level: Of the tests.
        speed_rounds: Steps of every method that are timed, in turns.
        methods: Balancers, by name, with their defaults.
        static: What tuned static weights may try.
        data_sets: Where they are compared.
    """

    title: str
    program: Literal["neutral-balancers"]
    seed: Annotated[int, Field(ge=0)]
    seeds: Annotated[int, Field(ge=2)]
    level: Share
    speed_rounds: Annotated[int, Field(ge=2)]
    methods: Annotated[tuple[str, ...], Field(strict=False, min_length=2)]
    static: Static
    data_sets: Annotated[tuple[DataSet, ...], Field(strict=False, min_length=1)]

    def quick(self) -> Self:
        """The same program in a few seconds: it shows that everything runs, its numbers mean nothing."""
        values: dict[str, Any] = self.model_dump()
        chosen = [name for name in self.methods if name in (EQUAL, *QUICK)]
        values |= {"seeds": 2, "speed_rounds": 2, "methods": chosen}
        values["static"]["settings"] = 1
        for one in values["data_sets"]:
            one["limits"] = {part: min(limit or 800, 800) for part, limit in one["limits"].items()}
            one["train"] |= {"steps": 3, "batch_size": 128, "evaluations": 1}
            one["train"]["learning_rates"] = one["train"]["learning_rates"][:1]
            if one["data"]["source"] == "school":
                one["data"]["schools"] = min(one["data"]["schools"], 5)
        return type(self).model_validate(values)

    def problems(self) -> Iterator[Problem]:
        """What no single key can tell."""
        for name in self.methods:
            if name not in BALANCERS:
                yield Problem("methods", f"no balancer is named '{name}'", suggest(name, list(BALANCERS), shown=40))
        if len(set(self.methods)) < len(self.methods):
            yield Problem("methods", "one stands there twice", "remove one")
        if EQUAL not in self.methods:
            yield Problem("methods", "equal is missing, from which the search for static weights starts", "add it")
        if len({one.name for one in self.data_sets}) < len(self.data_sets):
            yield Problem("data_sets", "two have one name", "rename one")
        for one in self.data_sets:
            where = f"data_sets.{one.name}"
            if one.network.singles == "together" and one.data.source != "school":
                what = "'together', but the encoder learns, and the networks would share it"
                yield Problem(f"{where}.network.singles", what, 'write "apart"')
            if one.data.source == "school" and one.data.train + one.data.validation >= 1.0:
                yield Problem(f"{where}.data", "train and validation leave no rows to test on", "use smaller shares")


def load_neutral(folder: Path) -> NeutralExperiment:
    """The experiment of a folder.

    Raises:
        UserError: With everything that is wrong with the file.
    """
    experiment = read_settings(folder / FILE, NeutralExperiment)
    raise_errors(experiment.problems())
    return experiment
