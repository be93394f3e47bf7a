"""Streaming metrics of one task: sums in float64 that reduce over batches and ranks. A leaf room; tasks name theirs."""

from polytask.metrics.base import Metric
from polytask.metrics.binary import PCOC, BinaryAccuracy, LogLoss, NormalizedEntropy, PositiveRate
from polytask.metrics.calibration import ECE
from polytask.metrics.classes import Accuracy, ClassLogLoss, ClassMAE, MacroAUC, MacroF1, QuadraticKappa
from polytask.metrics.cut import F1, Precision, Recall
from polytask.metrics.improvement import RelativeImprovement
from polytask.metrics.ranking import AUC, GAUC, PRAUC, ExactAUC, auc, segment_auc
from polytask.metrics.regression import MAE, R2, RMSE, Coverage, Pinball, PoissonDeviance

__all__ = [
    "Metric",
    # binary
    "AUC",
    "ExactAUC",
    "GAUC",
    "PRAUC",
    "LogLoss",
    "NormalizedEntropy",
    "PCOC",
    "ECE",
    "BinaryAccuracy",
    "PositiveRate",
    "Precision",
    "Recall",
    "F1",
    # multiclass and ordinal
    "ClassLogLoss",
    "Accuracy",
    "MacroF1",
    "MacroAUC",
    "ClassMAE",
    "QuadraticKappa",
    # regression and count
    "RMSE",
    "MAE",
    "R2",
    "PoissonDeviance",
    "Pinball",
    "Coverage",
    # any kind
    "RelativeImprovement",
    # functions
    "auc",
    "segment_auc",
]
