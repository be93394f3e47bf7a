"""How much each task helps each other one: one matrix, and the samples that say how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from polytask.config import Config
from polytask.grouping.objective import Matrix, off_diagonal

Samples = Float[np.ndarray, "samples tasks tasks"]


@dataclass(frozen=True, slots=True)
class Unit:
    """In which unit shares of a loss are shown.

    Attributes:
        name: Behind a number.
        factor: Of a share.
    """

    name: str
    factor: float

    def number(self, value: float, form: str = ".3g") -> str:
        """A share of a loss without its unit."""
        scaled = self.factor * value
        text = f"{scaled:,.0f}" if abs(scaled) >= 1000 else format(scaled, form)
        return text.replace("-", "−")

    def signed(self, value: float) -> str:
        """A share of a loss with sign and unit.

        Example:
            >>> percent, ppm = Unit("%", 100.0), Unit("ppm", 1e6)
            >>> percent.signed(0.012345), ppm.signed(-0.000042), percent.signed(0.0)
            ('+1.23 %', '−42 ppm', '0 %')
        """
        if math.isnan(value):
            return "-"
        return f"{'+' if value > 0 else ''}{self.number(value)} {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Affinity:
    """How much each task helps each other one, as a share of the other one's loss.

    Attributes:
        method: ``lookahead`` or ``pairs``.
        tasks: Their names.
        mean: ``[from, to]``; NaN where it is not known.
        samples: Measurements whose spread says how sure the mean is.
        of: What the samples are, in words.
        units: Tasks that stay together, by their numbers.
        failures: Runs without scores, and why.
    """

    method: str
    tasks: tuple[str, ...]
    mean: Matrix
    samples: Samples
    of: str
    units: tuple[tuple[int, ...], ...]
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def unit(self) -> Unit:
        """Percent, or parts per million where all affinities are below 0.1 %, as those of single steps are."""
        _, values = off_diagonal(self.mean)
        return Unit("%", 100.0) if np.abs(values).max() >= 1e-3 else Unit("ppm", 1e6)

    @property
    def own(self) -> float:
        """What a task's own step saves it, on average over the tasks; NaN where that is not measured."""
        own = np.diag(self.mean)
        return float(own[~np.isnan(own)].mean()) if not np.isnan(own).all() else math.nan

    @property
    def spread(self) -> Matrix:
        """Standard error of the mean over the samples that know it; NaN below two."""
        known = ~np.isnan(self.samples)
        count = known.sum(0)
        square = np.where(known, self.samples - mean_known(self.samples), 0.0) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(count > 1, np.sqrt(square.sum(0) / (count - 1) / count), math.nan)


def mean_known(values: Samples) -> Matrix:
    """The mean over the first axis of what is known; NaN where nothing is.

    Example:
        >>> mean_known(np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan]])).tolist()
        [2.0, 4.0, nan]
    """
    known = ~np.isnan(values)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(0) / np.maximum(count, 1), math.nan)


def chain_units(config: Config) -> tuple[tuple[int, ...], ...]:
    """Tasks that stay together: those of one chain, since a task is learnt from the one that it comes after.

    Example:
        >>> kinds = {"click": None, "like": None, "buy": "click"}
        >>> tasks = {name: {"kind": "binary", "label": name, "after": after} for name, after in kinds.items()}
        >>> chain_units(Config.model_validate({"data": {"source": "log.csv"}, "tasks": tasks}))
        ((0, 2), (1,))
    """
    first: dict[str, list[int]] = {}
    for number, name in enumerate(config.tasks):
        while (after := config.tasks[name].after) is not None:
            name = after
        first.setdefault(name, []).append(number)
    return tuple(map(tuple, first.values()))


def named(numbers: Sequence[int], tasks: Sequence[str]) -> tuple[str, ...]:
    """The names of tasks."""
    return tuple(tasks[number] for number in numbers)
