"""Loggers: the records of a run go to TensorBoard, MLflow or Weights & Biases while it is trained.

A name in ``train.log`` is a name listed here, or an import path of your own: a function that is called with a
`polytask.tracking.base.TrackedRun` and returns a `polytask.tracking.base.Logger`.
"""

from polytask.tracking.mlflow import mlflow
from polytask.tracking.tensorboard import tensorboard
from polytask.tracking.wandb import wandb

__all__ = ["tensorboard", "mlflow", "wandb"]
