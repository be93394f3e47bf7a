"""What an experiment file holds: everything that the results depend on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from polytask.config.base import Positive, Table
from polytask.data.simulators import Ma2018
from polytask.data.simulators.ma_2018 import normal_shape
from polytask.errors import Problem, raise_errors
from polytask.replicas import Plan
from polytask.reproduce.places import FILE
from polytask.reproduce.settings import read_settings

EXPECTED = "expected.toml"
Floats = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]


class Generator(Table):
    """Constants of the generator; see `polytask.data.simulators.Ma2018`."""

    features: Positive
    scale: float
    noise_variance: float
    sines: Positive
    shape: Literal["drawn", "given"]
    alpha: Annotated[tuple[float, ...], Field(strict=False)] = ()
    beta: Annotated[tuple[float, ...], Field(strict=False)] = ()

    def at(self, correlation: float, seed: int) -> Ma2018:
        """The generator of one run; the sines are given, or drawn under the run's seed."""
        alpha, beta = (self.alpha, self.beta) if self.shape == "given" else normal_shape(self.sines, seed)
        return Ma2018(
            correlation=correlation, alpha=alpha, beta=beta, features=self.features,
            scale=self.scale, noise_variance=self.noise_variance,
        )  # fmt: skip


class Correlations(Table):
    """Figure 2."""

    correlations: Floats
    rows: Positive
    trials: Positive


class Sizes(Table):
    """Rows of one run's own data set."""

    train: Positive
    validation: Positive
    test: Positive


class Training(Table):
    """How a run trains; the same for all models."""

    steps: Positive
    batch_size: Positive
    evaluate_every: Positive

    def plan(self, learning_rate: float) -> Plan:
        """With a learning rate."""
        return Plan(self.steps, self.batch_size, learning_rate, self.evaluate_every)


class SharedBottomStudy(Table):
    """Figure 3."""

    correlations: Floats
    bottom_width: Positive
    tower_width: Positive
    learning_rate: float
    runs: Positive
    training: Training


class Comparison(Table):
    """Figures 4 and 5."""

    correlations: Floats
    experts: Positive
    expert_width: Positive
    bottom_width: Positive
    tower_width: Positive
    learning_rates: Floats
    pilot_runs: Positive
    runs: Positive
    training: Training


class Judging(Table):
    """From which effect on a claim counts as held; the paper gives words, not numbers."""

    resamples: Positive
    level: float
    far_smaller: float
    equal: float
    much_larger: float
    comparable: float


class Experiment(Table):
    """The whole file."""

    title: str
    paper: str
    program: Literal["ma-2018-synthetic"]
    seed: int
    replicas_per_block: Positive
    generator: Generator
    data: Sizes
    figure2: Correlations
    figure3: SharedBottomStudy
    figure4: Comparison
    claims: Judging

    def quick(self) -> Self:
        """The same program in a few seconds: it shows that everything runs, its numbers mean nothing."""
        training = {"steps": 6, "batch_size": 16, "evaluate_every": 3}
        values: dict[str, Any] = self.model_dump()
        values["replicas_per_block"] = 2
        values["data"] = {"train": 64, "validation": 32, "test": 32}
        values["figure2"] |= {"rows": 200, "trials": 3}
        values["figure3"] |= {"runs": 3, "training": training}
        values["figure4"] |= {"pilot_runs": 2, "runs": 3, "training": training}
        values["claims"] |= {"resamples": 50}
        return type(self).model_validate(values)

    def problems(self) -> Iterator[Problem]:
        """What no single key can tell."""
        sines = self.generator
        if sines.shape == "given" and not len(sines.alpha) == len(sines.beta) == sines.sines:
            what = f"{len(sines.alpha)} values of alpha and {len(sines.beta)} of beta for {sines.sines} sines"
            yield Problem("generator", what, "give one of each per sine, or shape = 'drawn'")
        if list(self.figure4.correlations) != sorted(set(self.figure4.correlations)) or not self._has_ends():
            yield Problem(
                "figure4.correlations", f"is {self.figure4.correlations}", "list two or more, ascending, to 1"
            )
        for name, training in (("figure3", self.figure3.training), ("figure4", self.figure4.training)):
            if training.batch_size > self.data.train:
                what = f"is {training.batch_size}, more than the {self.data.train} training rows"
                yield Problem(f"{name}.training.batch_size", what, "choose smaller batches")

    def _has_ends(self) -> bool:
        return len(self.figure4.correlations) >= 2 and self.figure4.correlations[-1] == 1.0


class Claim(Table):
    """A published claim.

    Attributes:
        key: The letter that the program knows it by.
        text: What the paper says.
        where: Where it says so.
        reading: When the program calls it held.
    """

    key: Literal["a", "b", "c", "d", "e", "f"]
    text: str
    where: str
    reading: str


class Expected(Table):
    """What was published."""

    claims: Annotated[tuple[Claim, ...], Field(strict=False)]


def load_experiment(folder: Path) -> tuple[Experiment, Expected]:
    """The experiment of a folder, and what was published.

    Raises:
        UserError: With everything that is wrong with the files.
    """
    experiment, expected = read_settings(folder / FILE, Experiment), read_settings(folder / EXPECTED, Expected)
    raise_errors(experiment.problems())
    return experiment, expected
