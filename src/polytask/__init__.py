"""One model for many objectives, and whether that was worth it.

Names are imported on first use: ``import polytask`` costs milliseconds and does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> where it lives
_EXPORTS = {
    "fit": ("polytask.training", "fit"),
    "train": ("polytask.training", "train"),
    "compare": ("polytask.comparing", "compare"),
    "group": ("polytask.grouping", "group"),
    "pareto": ("polytask.tradeoffs", "pareto"),
    "sweep": ("polytask.tuning", "sweep"),
    "evaluate": ("polytask.evaluation", "evaluate"),
    "report": ("polytask.reporting", "report"),
    "predict": ("polytask.serving", "predict"),
    "calibrate": ("polytask.deciding", "calibrate"),
    "fuse": ("polytask.deciding", "fuse"),
    "load": ("polytask.serving", "load_bundle"),
    "MultiTaskClassifier": ("polytask.estimators", "MultiTaskClassifier"),
    "MultiTaskRegressor": ("polytask.estimators", "MultiTaskRegressor"),
    "MultiTaskEstimator": ("polytask.estimators", "MultiTaskEstimator"),
    "Config": ("polytask.config", "Config"),
    "load_config": ("polytask.config", "load_config"),
    "UserError": ("polytask.errors", "UserError"),
    "Problem": ("polytask.errors", "Problem"),
}

__all__ = [
    "fit",
    "train",
    "compare",
    "group",
    "pareto",
    "sweep",
    "evaluate",
    "report",
    "predict",
    "calibrate",
    "fuse",
    "load",
    "MultiTaskClassifier",
    "MultiTaskRegressor",
    "MultiTaskEstimator",
    "load_config",
    "Config",
    "UserError",
    "Problem",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'polytask' has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value  # the next access skips this function
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
