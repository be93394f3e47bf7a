"""Training: steps, the loop, checkpoints, runs."""

from polytask.training.affinity import lookahead_affinity
from polytask.training.fit import fit, train
from polytask.training.run import RunResult, train_run

__all__ = ["RunResult", "fit", "lookahead_affinity", "train", "train_run"]
