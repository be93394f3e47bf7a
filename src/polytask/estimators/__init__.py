"""Multi-task networks as scikit-learn estimators: in pipelines, searches, cross-validation, and under SHAP."""

from importlib.util import find_spec

from polytask.errors import MissingExtraError

if find_spec("sklearn") is None:
    raise MissingExtraError("scikit-learn", extra="sklearn", purpose="the estimators")

from polytask.estimators.base import MultiTaskModel
from polytask.estimators.classifier import MultiTaskClassifier
from polytask.estimators.inputs import InputError
from polytask.estimators.masking import Background
from polytask.estimators.mixed import MultiTaskEstimator
from polytask.estimators.regressor import MultiTaskRegressor

__all__ = [
    "MultiTaskClassifier",
    "MultiTaskRegressor",
    "MultiTaskEstimator",
    "MultiTaskModel",
    "Background",
    "InputError",
]
