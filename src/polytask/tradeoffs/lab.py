"""Does one run of a front: a model for a preference, or one for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polytask.comparing.lab import Lab
from polytask.comparing.plan import Run
from polytask.config import Config
from polytask.evaluation.scores import Scores
from polytask.tradeoffs.plan import Whole
from polytask.tradeoffs.training import train_front
from polytask.training.prepared import Prepared
from polytask.training.single import Watcher


@dataclass(eq=False)
class FrontLab(Lab):
    """A `Lab` that can also train conditioned models."""

    def train(self, run: Run, config: Config, prepared: Prepared, folder: Path, watcher: Watcher) -> dict[str, Scores]:
        """Trains one network, or one conditioned model, into a folder."""
        if isinstance(run.method, Whole):
            return train_front(
                config, prepared, run.method, folder, seed=run.seed, title=run.title, watcher=watcher
            )  # fmt: skip
        return super().train(run, config, prepared, folder, watcher)
