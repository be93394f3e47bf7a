"""Training: steps, the loop, checkpoints, runs."""

from polytask.training.fit import fit, train
from polytask.training.run import RunResult, train_run

__all__ = ["RunResult", "fit", "train", "train_run"]
