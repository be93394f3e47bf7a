"""What the experiment file holds: per data set the network, how it trains, and the methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field

from polytask.config.base import Fraction, Positive, Table
from polytask.errors import Problem, raise_errors
from polytask.reproduce.places import FILE
from polytask.reproduce.sener.claims import CLAIMS
from polytask.reproduce.settings import read_settings

EXPECTED = "expected.toml"
PROGRAM = "sener-2018-mgda"
MethodName = Literal["single_task", "uniform", "static", "uncertainty", "gradnorm", "mgda", "mgda_ub"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Rate = Annotated[float, Field(gt=0.0)]


class Digits(Table):
    """MultiMNIST.

    Attributes:
        validation: Training digits set aside.
    """

    source: Literal["multi-mnist"]
    validation: Positive


class Faces(Table):
    """CelebA, in the publisher's three parts.

    Attributes:
        size: Height and width of the scaled images.
    """

    source: Literal["celeba"]
    size: Positive


class Network(Table):
    """The encoder and the heads.

    Attributes:
        encoder: Its name.
        width: Channels of the first stage of ``resnet18``, a multiple of 16.
        channel_dropout: Of the second convolution of ``lenet``.
        head_hidden: Units of a hidden layer of every head; 0: none.
        head_dropout: After that layer.
        classes: Outputs of every head.
    """

    encoder: Literal["lenet", "resnet18"]
    # oneDNN overruns memory in channels-last convolutions of 1 by 1 with stride 2 and 4 or 8 channels (torch 2.13)
    width: Annotated[int, Field(ge=16, multiple_of=16)] = 64
    channel_dropout: Fraction = 0.0
    head_hidden: Annotated[int, Field(ge=0)] = 0
    head_dropout: Fraction = 0.0
    classes: Annotated[int, Field(ge=2)]


class Schedule(Table):
    """How every network trains.

    Attributes:
        optimizer: With a momentum, or Adam.
        momentum: Of SGD.
        batch_size: Images per step.
        epochs: Passes over the training images.
        halve_every: Epochs after which the learning rate is halved, again and again.
        learning_rates: Tried by every method; validation accuracy decides.
        mean: Of the pixels of every channel, as shares of 255.
        std: Their standard deviation.
    """

    optimizer: Literal["sgd", "adam"]
    momentum: Fraction = 0.9
    batch_size: Positive
    epochs: Positive
    halve_every: Positive
    learning_rates: Annotated[tuple[Rate, ...], Field(strict=False, min_length=1)]
    mean: Annotated[tuple[float, ...], Field(strict=False, min_length=1)]
    std: Annotated[tuple[Rate, ...], Field(strict=False, min_length=1)]


class Balancing(Table):
    """Options of the methods.

    Attributes:
        shares: Of the grid search: weights ``2 share`` and ``2 (1 - share)`` of the first and the second task.
        gradnorm_alpha: Strength of GradNorm's pull.
        gradnorm_rate: Learning rate of its weights.
        normalise: By what MGDA divides gradients before, see `polytask.balancing.mgda`.
    """

    shares: Annotated[tuple[Share, ...], Field(strict=False)] = ()
    gradnorm_alpha: Annotated[float, Field(ge=0.0)]
    gradnorm_rate: Rate
    normalise: Literal["none", "l2", "loss", "loss+"]


class Group(Table):
    """A data set, and what is trained on it.

    Attributes:
        name: Of its results.
        title: As the paper calls it.
        methods: In the order of the table.
        images: At most so many of every part; all by default.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    data: Annotated[Digits | Faces, Field(discriminator="source")]
    network: Network
    train: Schedule
    balancing: Balancing
    methods: Annotated[tuple[MethodName, ...], Field(strict=False, min_length=1)]
    images: Positive | None = None


class Judging(Table):
    """How claims are evaluated.

    Attributes:
        level: Of the intervals.
        resamples: Of the bootstrap over seeds and test images.
        alike: Accuracies that differ by less are called alike; a share, not a percentage.
    """

    level: Share
    resamples: Positive
    alike: Rate


class SenerExperiment(Table):
    """The whole file.

    Attributes:
        seed: From which all others follow.
        seeds: Trainings with the chosen learning rate, each from another initialisation.
        speed_rounds: Steps of every method that are timed, in turns.
        claims: How claims are evaluated.
        groups: The data sets.
    """

    title: str
    paper: str
    program: Literal["sener-2018-mgda"]
    seed: Annotated[int, Field(ge=0)]
    seeds: Annotated[int, Field(ge=2)]
    speed_rounds: Annotated[int, Field(ge=2)]
    claims: Judging
    groups: Annotated[tuple[Group, ...], Field(strict=False, min_length=1)]

    def quick(self) -> Self:
        """The same program in a few seconds: it shows that everything runs, its numbers mean nothing."""
        values: dict[str, Any] = self.model_dump()
        values |= {"seeds": 2, "speed_rounds": 2}
        for group in values["groups"]:
            group["images"] = min(group["images"] or 512, 512)
            group["train"] |= {"epochs": 1, "learning_rates": group["train"]["learning_rates"][:1]}
            group["balancing"]["shares"] = group["balancing"]["shares"][:1]
            group["network"]["width"] = 16
        return type(self).model_validate(values)

    def problems(self) -> Iterator[Problem]:
        """What no single key can tell."""
        if len({group.name for group in self.groups}) < len(self.groups):
            yield Problem("groups", "two have one name", "rename one")
        for group in self.groups:
            where = f"groups.{group.name}"
            channels = 1 if group.data.source == "multi-mnist" else 3
            for key in ("mean", "std"):
                given = len(getattr(group.train, key))
                if given != channels:
                    what = f"{given} given for images of {channels} channels"
                    yield Problem(f"{where}.train.{key}", what, "give one number per channel")
            if ("static" in group.methods) != bool(group.balancing.shares):
                what = f"{len(group.balancing.shares)} given, and static is {'' if group.balancing.shares else 'not '}"
                yield Problem(f"{where}.balancing.shares", f"{what}off", "give shares for static, or neither")
            if group.balancing.shares and group.data.source == "celeba":
                yield Problem(f"{where}.balancing.shares", "a grid of weights for 40 tasks", "leave static out")
            if (group.network.encoder == "lenet") != (group.data.source == "multi-mnist"):
                what = f"'{group.network.encoder}' does not read images of '{group.data.source}'"
                yield Problem(f"{where}.network.encoder", what, "lenet for multi-mnist, resnet18 for celeba")


class Published(Table):
    """A row of a published table.

    Attributes:
        values: Per column of the group, in percent.
    """

    group: str
    method: MethodName
    values: dict[str, float]


class ClaimText(Table):
    """What the paper says.

    Attributes:
        key: Names the statements in `polytask.reproduce.sener.claims`.
    """

    key: str
    text: str


class SenerExpected(Table):
    """What was published.

    Attributes:
        source: Where.
    """

    source: str
    published: Annotated[tuple[Published, ...], Field(strict=False)]
    claims: Annotated[tuple[ClaimText, ...], Field(strict=False)]

    def values(self, group: str, method: str) -> dict[str, float]:
        """A method's row of a group; empty if there is none."""
        return next((row.values for row in self.published if (row.group, row.method) == (group, method)), {})


def load_sener(folder: Path) -> tuple[SenerExperiment, SenerExpected]:
    """The experiment of a folder, and what was published.

    Raises:
        UserError: With everything that is wrong with the files.
    """
    experiment = read_settings(folder / FILE, SenerExperiment)
    raise_errors(experiment.problems())
    expected = read_settings(folder / EXPECTED, SenerExpected)
    raise_errors(
        Problem(f"{EXPECTED}: claims.{claim.key}", "no statements have that name", f"choose among {', '.join(CLAIMS)}")
        for claim in expected.claims
        if claim.key not in CLAIMS
    )
    return experiment, expected
