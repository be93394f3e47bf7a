"""A block: some runs of one cell of the study, trained as replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from polytask.replicas import Program, Replicas, Rows, train
from polytask.replicas.training import held_out_loss
from polytask.reproduce.experiment import Comparison, Experiment, SharedBottomStudy
from polytask.reproduce.network import MODELS, ModelName, Network, network

Part = Literal["figure2", "figure3", "pilot", "figure4"]
PARTS: tuple[Part, ...] = ("figure2", "figure3", "pilot", "figure4")
Arrays = dict[str, npt.NDArray[np.float64]]

_DRAWING = Lock()  # parameters are drawn from torch's generator, which all threads share


@dataclass(frozen=True, slots=True)
class Block:
    """Runs ``first`` to ``first + runs`` of one cell.

    Attributes:
        part: What the cell is for. Seeds differ between parts: the runs that choose a learning rate do not count later.
        model: The architecture.
        correlation: The cosine p of the tasks.
        learning_rate: Of Adam.
        first: Number of the first run.
        runs: How many.
    """

    part: Part
    model: ModelName
    correlation: float
    learning_rate: float
    first: int
    runs: int

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return f"{self.part}-{self.model}-p{self.correlation:g}-lr{self.learning_rate:g}"

    @property
    def name(self) -> str:
        """Name of the block."""
        return f"{self.cell}-runs{self.first:03d}-{self.first + self.runs - 1:03d}"


class Trainer:
    """Trains blocks of one experiment; threads may share it.

    Args:
        experiment: All settings.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        row, sizes = torch.zeros(experiment.generator.features), experiment.data
        with torch.random.fork_rng(devices=[]):
            # all of them here: tracing patches torch for every thread
            self._programs: dict[tuple[SharedBottomStudy | Comparison, ModelName], Program] = {
                (study, model): Program(
                    self._build(study, model), row, rows={study.training.batch_size, sizes.validation, sizes.test}
                )
                for study in (experiment.figure3, experiment.figure4)
                for model in MODELS
                if study is experiment.figure4 or model == "shared-bottom"
            }

    def steps(self, block: Block) -> int:
        """Steps of all runs of a block together."""
        return block.runs * self._study(block).training.steps

    def train(self, block: Block, watch: Callable[[int], None] | None = None) -> Arrays:
        """Trains all runs of a block.

        Args:
            block: Which runs.
            watch: Called after every step with the number of runs that made it.

        Returns:
            ``steps`` ``[P]``, the curve ``test`` ``[R, P]`` and, at the end, ``validation`` ``[R]``: losses, means over
            both tasks.
        """
        experiment, study = self._experiment, self._study(block)
        seeds = [run_seed(experiment.seed, block.part, run) for run in range(block.first, block.first + block.runs)]
        replicas, sizes = self._draw(block, seeds), experiment.data
        rows = self._rows(block, seeds)
        ends = (sizes.train, sizes.train + sizes.validation)
        training, validation, test = rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] :]
        after = None if watch is None else lambda _: watch(block.runs)
        curves = train(replicas, training, test, study.training.plan(block.learning_rate), seeds, after=after)
        return {
            "steps": np.array(curves.steps, dtype=np.float64),
            "test": curves.losses.mean(2).double().numpy(),
            "validation": held_out_loss(replicas, validation).mean(1).double().numpy(),
        }

    def _study(self, block: Block) -> SharedBottomStudy | Comparison:
        return self._experiment.figure3 if block.part == "figure3" else self._experiment.figure4

    def _build(self, study: SharedBottomStudy | Comparison, model: ModelName) -> Network:
        width = self._experiment.generator.features
        if isinstance(study, SharedBottomStudy):
            return network(model, width, bottom_width=study.bottom_width, tower_width=study.tower_width)
        return network(
            model, width, experts=study.experts, expert_width=study.expert_width,
            bottom_width=study.bottom_width, tower_width=study.tower_width,
        )  # fmt: skip

    def _draw(self, block: Block, seeds: list[int]) -> Replicas:
        networks, study = [], self._study(block)
        with _DRAWING, torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(seed)
                networks.append(self._build(study, block.model))
        return Replicas(networks, self._programs[study, block.model])

    def _rows(self, block: Block, seeds: list[int]) -> Rows:
        sizes, generator = self._experiment.data, self._experiment.generator
        count = sizes.train + sizes.validation + sizes.test
        x, y = torch.empty(len(seeds), count, generator.features), torch.empty(len(seeds), 2, count)
        for number, seed in enumerate(seeds):
            inputs, labels = generator.at(block.correlation, seed).sample(count, seed)
            x[number], y[number] = torch.from_numpy(inputs), torch.from_numpy(labels)
        return Rows(x, y)


def run_seed(root: int, part: Part, run: int) -> int:
    """The seed of a run: of its weight vectors, rows, initialisation and order; the same for all models and p.

    Example:
        >>> len({run_seed(0, part, run) for part in PARTS for run in range(100)})
        400
    """
    return int(np.random.SeedSequence([root, PARTS.index(part), run]).generate_state(1)[0])
