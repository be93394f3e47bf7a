"""Figures 2 to 5 of Ma et al. (KDD 2018): what runs, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polytask.reproduce.blocks import Arrays, Block, Part, Trainer, run_seed
from polytask.reproduce.experiment import Experiment
from polytask.reproduce.network import MODELS, ModelName
from polytask.reproduce.work import Watch, Workshop

Values = npt.NDArray[np.float64]
Cell = tuple[ModelName, float]


@dataclass(frozen=True, slots=True)
class Study:
    """What was measured; losses are means over both tasks, on test rows.

    Attributes:
        label_correlations: Per cosine the labels' Pearson correlation in every trial.
        shared_bottom_steps: Where the curves of `shared_bottom` have points.
        shared_bottom: Per cosine the curves ``[runs, points]`` of figure 3.
        pilot: Per model, cosine and learning rate the mean validation loss of the pilot runs.
        learning_rates: The best of them, per model and cosine.
        comparison_steps: Where the curves of `comparison` have points.
        comparison: Per model and cosine the curves ``[runs, points]`` of figures 4 and 5.
    """

    label_correlations: Mapping[float, Values]
    shared_bottom_steps: Values
    shared_bottom: Mapping[float, Values]
    pilot: Mapping[tuple[ModelName, float, float], float]
    learning_rates: Mapping[Cell, float]
    comparison_steps: Values
    comparison: Mapping[Cell, Values]

    def final_losses(self) -> Values:
        """``[models, correlations, runs]``, models as in `MODELS`, correlations ascending."""
        correlations = sorted({p for _, p in self.comparison})
        return np.stack([[self.comparison[model, p][:, -1] for p in correlations] for model in MODELS])


@dataclass(frozen=True, slots=True)
class Trials:
    """The trials of figure 2 at one cosine."""

    correlation: float
    count: int

    @property
    def name(self) -> str:
        """Of the file that keeps them."""
        return f"figure2-p{self.correlation:g}"


def run_study(experiment: Experiment, workshop: Workshop) -> Study:
    """Runs everything; the learning rates of figures 4 and 5 are chosen first, on runs that do not count later."""
    labels = _label_correlations(experiment, workshop)
    trainer = Trainer(experiment)
    third, compared = experiment.figure3, experiment.figure4
    alone: list[tuple[Cell, float]] = [(("shared-bottom", p), third.learning_rate) for p in third.correlations]
    figure3 = _train(workshop, trainer, "figure 3", cut("figure3", alone, third.runs, experiment.replicas_per_block))
    cells: list[Cell] = [(model, p) for p in compared.correlations for model in MODELS]
    grid = [(cell, rate) for cell in cells for rate in compared.learning_rates]
    tried = _train(
        workshop, trainer, "learning rates", cut("pilot", grid, compared.pilot_runs, experiment.replicas_per_block)
    )
    pilot = {(*cell, rate): float(tried[cell, rate]["validation"].mean()) for cell, rate in grid}
    rates = {cell: choose({rate: pilot[(*cell, rate)] for rate in compared.learning_rates}) for cell in cells}
    counted = [(cell, rates[cell]) for cell in cells]
    blocks = cut("figure4", counted, compared.runs, experiment.replicas_per_block)
    figure4 = _train(workshop, trainer, "figures 4 and 5", blocks)
    return Study(
        label_correlations=labels,
        shared_bottom_steps=next(iter(figure3.values()))["steps"],
        shared_bottom={p: arrays["test"] for ((_, p), _), arrays in figure3.items()},
        pilot=pilot,
        learning_rates=rates,
        comparison_steps=next(iter(figure4.values()))["steps"],
        comparison={cell: arrays["test"] for (cell, _), arrays in figure4.items()},
    )


def choose(losses: Mapping[float, float]) -> float:
    """The learning rate with the lowest loss; rates whose runs diverged come last.

    Example:
        >>> choose({1e-3: 0.4, 1e-2: float("nan"), 1e-4: 0.5})
        0.001
    """
    return min(losses, key=lambda rate: losses[rate] if np.isfinite(losses[rate]) else np.inf)


def cut(part: Part, cells: Sequence[tuple[Cell, float]], runs: int, size: int) -> list[Block]:
    """The runs of all cells in blocks of at most ``size``.

    Example:
        >>> [(block.first, block.runs) for block in cut("pilot", [(("mmoe", 1.0), 0.01)], runs=5, size=2)]
        [(0, 2), (2, 2), (4, 1)]
    """
    return [
        Block(part, model, p, rate, first, min(size, runs - first))
        for (model, p), rate in cells
        for first in range(0, runs, size)
    ]


def _train(
    workshop: Workshop, trainer: Trainer, title: str, blocks: Sequence[Block]
) -> dict[tuple[Cell, float], Arrays]:
    """The results of all cells, their blocks joined."""
    done = workshop.do(title, blocks, trainer.train, trainer.steps)
    cells: dict[tuple[Cell, float], list[Arrays]] = {}
    for block in blocks:
        cells.setdefault(((block.model, block.correlation), block.learning_rate), []).append(done[block])
    return {
        cell: {
            "steps": parts[0]["steps"],
            **{name: np.concatenate([part[name] for part in parts]) for name in ("test", "validation")},
        }
        for cell, parts in cells.items()
    }


def _label_correlations(experiment: Experiment, workshop: Workshop) -> dict[float, Values]:
    second = experiment.figure2

    def work(trials: Trials, watch: Watch) -> Arrays:
        found = np.empty(trials.count)
        for number in range(trials.count):
            seed = run_seed(experiment.seed, "figure2", number)
            generator = experiment.generator.at(trials.correlation, seed)
            found[number] = generator.label_correlation(second.rows, seed)
            watch(1)
        return {"correlations": found}

    pieces = [Trials(p, second.trials) for p in second.correlations]
    done = workshop.do("figure 2", pieces, work, lambda trials: trials.count)
    return {trials.correlation: done[trials]["correlations"] for trials in pieces}
