"""Which metric stands for a task, and which way it is better: what files do not say of polytask's own metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOWER = frozenset(("log_loss", "normalized_entropy", "ece", "class_mae", "rmse", "mae", "poisson_deviance", "pinball"))
NEITHER = frozenset(("pcoc", "positive_rate", "coverage", "rows"))
PRIMARY = {
    "binary": "auc", "multiclass": "accuracy", "ordinal": "quadratic_kappa", "count": "poisson_deviance",
}  # fmt: skip
REGRESSION = {"squared_error": "r2", "quantile": "pinball"}
LABELS = {
    "ndcg": "NDCG", "auc": "AUC", "gauc": "GAUC", "pr_auc": "PR-AUC", "f1": "F1", "r2": "R²", "rmse": "RMSE",
    "mae": "MAE", "ece": "ECE", "pcoc": "PCOC", "macro_f1": "macro F1", "macro_auc": "macro AUC",
    "quadratic_kappa": "quadratic kappa",
}  # fmt: skip


def direction(metric: str) -> int:
    """1 where greater is better, -1 where smaller is, 0 where neither is."""
    return 0 if metric in NEITHER else -1 if metric in LOWER else 1


def primary(task: Mapping[str, Any], scores: Mapping[str, Any]) -> str | None:
    """The metric that stands for a task: that of its kind, else the first one with a direction.

    Args:
        task: Its table of the configuration; empty where that is not known.
        scores: Its scores by metric.
    """
    wanted = PRIMARY.get(str(task.get("kind")))
    if task.get("kind") == "regression":
        wanted = REGRESSION.get(str(task.get("loss", "squared_error")), "mae")
    if wanted in scores:
        return wanted
    return next((name for name in scores if direction(name) and name != "improvement"), None)


def label(metric: str) -> str:
    """The metric's name for people."""
    return LABELS.get(metric, metric.replace("_", " "))
