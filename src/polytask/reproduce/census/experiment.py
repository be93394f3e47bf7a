"""What the experiment file holds: groups of tasks, methods, and where the tuner may look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field

from polytask.config.base import Positive, Table
from polytask.config.data import DataConfig
from polytask.config.models import TaskConfig
from polytask.errors import Problem, raise_errors
from polytask.reproduce.places import FILE
from polytask.reproduce.settings import read_settings

EXPECTED = "expected.toml"
PROGRAM = "ma-2018-census"
MethodName = Literal[
    "single_task", "shared_bottom", "l2_constrained", "cross_stitch", "tensor_factorisation", "omoe", "mmoe", "ple",
    "lightgbm",
]  # fmt: skip
METHODS: tuple[MethodName, ...] = get_args(MethodName)
ALONE: tuple[MethodName, ...] = ("single_task", "lightgbm")
"""Methods with one model per task, tuned and chosen by that task's own AUC."""

COMMON = (
    "units", "layers", "tower", "learning_rate", "embedding_learning_rate", "dropout", "id_dropout", "epochs",
)  # fmt: skip
OWN: Mapping[MethodName, tuple[str, ...]] = {
    "single_task": (),
    "shared_bottom": (),
    "l2_constrained": ("alpha",),
    "cross_stitch": ("own", "rate"),
    "tensor_factorisation": ("rank_in", "rank_out", "rank_tasks"),
    "omoe": ("experts",),
    "mmoe": ("experts",),
    "ple": ("experts", "shared_experts"),
    "lightgbm": ("num_leaves", "min_data_in_leaf", "feature_fraction", "bagging_fraction", "lambda_l2"),
}


class Range(Table):
    """Where the tuner looks for one setting; whole numbers if the bounds are whole.

    Attributes:
        low: The least value.
        high: The greatest value.
        log: Look evenly on a logarithmic scale.
        start: The value of the first trial.
    """

    low: int | float
    high: int | float
    log: bool = False
    start: int | float

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return isinstance(self.low, int)

    def problem(self) -> str | None:
        """What is wrong with it."""
        if len({isinstance(value, int) for value in (self.low, self.high, self.start)}) > 1:
            return "mixes whole numbers with others"
        if not self.low <= self.start <= self.high:
            return f"{self.low} <= {self.start} <= {self.high} does not hold (low, start, high)"
        return "a logarithmic scale has no 0" if self.log and self.low <= 0 else None


Space = Mapping[str, Range]


class Group(Table):
    """Two tasks on the same rows.

    Attributes:
        name: Of its results.
        title: As the paper calls it.
        main: The task whose validation AUC decides.
        data: The rows.
        tasks: Both tasks.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    main: str
    data: DataConfig
    tasks: Annotated[dict[str, TaskConfig], Field(min_length=2, max_length=2)]

    @property
    def order(self) -> tuple[str, str]:
        """The main task, and the auxiliary one."""
        (other,) = set(self.tasks) - {self.main}
        return self.main, other


class NetworkTraining(Table):
    """How every network trains, beyond what is tuned."""

    batch_size: Positive
    embedding: Positive
    warmup: float
    decay: Literal["cosine", "linear", "none"]
    patience: Positive


class TreeTraining(Table):
    """How LightGBM trains, beyond what is tuned."""

    learning_rate: float
    rounds: Positive
    patience: Positive


class CensusExperiment(Table):
    """The whole file.

    Attributes:
        trials: Settings that the tuner tries, for every method the same number.
        random_trials: So many of them at random, before what was found guides it.
        seeds: Trainings with the chosen settings, each from another initialisation.
        rows: At most so many rows of every part; all by default.
        space: What all networks tune.
        methods: Per method what it tunes beside that; methods that are not listed are left out.
    """

    title: str
    paper: str
    program: Literal["ma-2018-census"]
    seed: Annotated[int, Field(ge=0)]
    trials: Positive
    random_trials: Positive
    seeds: Annotated[int, Field(ge=2)]
    rows: Positive | None = None
    networks: NetworkTraining
    lightgbm: TreeTraining
    groups: Annotated[tuple[Group, ...], Field(strict=False, min_length=1)]
    space: dict[str, Range]
    methods: Annotated[dict[MethodName, dict[str, Range]], Field(min_length=1)]

    def quick(self) -> Self:
        """The same program in a few seconds: it shows that everything runs, its numbers mean nothing."""
        small = {"units": 16, "layers": 1, "tower": 8, "epochs": 1}
        fixed = {name: {"low": n, "high": n, "start": n, "log": False} for name, n in small.items()}
        methods = [name for name in ("mmoe", "lightgbm") if name in self.methods] or list(self.methods)[:2]
        values: dict[str, Any] = self.model_dump()
        values |= {"trials": 1, "seeds": 2, "rows": 1_000}
        values["space"] |= {name: bounds for name, bounds in fixed.items() if name in self.space}
        values["methods"] = {name: values["methods"][name] for name in methods}
        values["lightgbm"] |= {"rounds": 5}
        return type(self).model_validate(values)

    def searched(self, method: MethodName) -> Space:
        """All that a method tunes."""
        return dict(self.methods[method]) if method == "lightgbm" else {**self.space, **self.methods[method]}

    def problems(self) -> Iterator[Problem]:
        """What no single key can tell."""
        yield from _names("space", self.space, COMMON)
        for method, space in self.methods.items():
            yield from _names(f"methods.{method}", space, OWN[method])
        for group in self.groups:
            if group.main not in group.tasks:
                yield Problem(f"groups.{group.name}.main", f"'{group.main}' is none of its tasks", "name one of them")
            for name, task in group.tasks.items():
                if task.kind != "binary":
                    yield Problem(f"groups.{group.name}.tasks.{name}", f"is of kind '{task.kind}'", "AUC needs binary")
        if len({group.name for group in self.groups}) < len(self.groups):
            yield Problem("groups", "two have one name", "rename one")


class Figures(Table):
    """Published test AUC of one task: of the best run and the mean, or one figure that is called neither."""

    best: float | None = None
    mean: float | None = None
    value: float | None = None


class Published(Table):
    """A row of a published table.

    Attributes:
        source: Key of the publication.
        note: What is odd about the figures.
    """

    source: str
    group: str
    method: MethodName
    main: Figures
    auxiliary: Figures
    note: str = ""


class CensusExpected(Table):
    """What was published; the first source is the paper that is reproduced.

    Attributes:
        sources: Per key the publication.
    """

    sources: Annotated[dict[str, str], Field(min_length=1)]
    published: Annotated[tuple[Published, ...], Field(strict=False)]

    def row(self, source: str, group: str, method: str) -> Published | None:
        """A method's row in one publication."""
        keys = source, group, method
        return next((row for row in self.published if (row.source, row.group, row.method) == keys), None)


def load_census(folder: Path) -> tuple[CensusExperiment, CensusExpected]:
    """The experiment of a folder, and what was published.

    Raises:
        UserError: With everything that is wrong with the files.
    """
    experiment = read_settings(folder / FILE, CensusExperiment)
    raise_errors(experiment.problems())
    return experiment, read_settings(folder / EXPECTED, CensusExpected)


def _names(where: str, space: Space, wanted: tuple[str, ...]) -> Iterator[Problem]:
    for name in sorted(set(wanted) - set(space)):
        yield Problem(f"{where}.{name}", "missing", "add { low = ..., high = ..., start = ... }")
    for name in sorted(set(space) - set(wanted)):
        yield Problem(f"{where}.{name}", "nothing of that name is tuned here", "remove it")
    for name, bounds in space.items():
        if (what := bounds.problem()) is not None:
            yield Problem(f"{where}.{name}", what, "write { low = ..., high = ..., start = ... }")
