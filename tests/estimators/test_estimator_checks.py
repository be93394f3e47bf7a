"""scikit-learn's own checks."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask.estimators import MultiTaskClassifier, MultiTaskEstimator, MultiTaskModel, MultiTaskRegressor

FLOAT32 = "float32 products round differently in another batch: probabilities differ in the seventh digit"
NOT_APPLICABLE = {
    "check_sample_weight_equivalence_on_dense_data": "steps are drawn from rows: drawn twice is not heavier",
    "check_methods_sample_order_invariance": FLOAT32,
    "check_methods_subset_invariance": FLOAT32,
}
SMALL = {"epochs": 8, "batch_size": 16, "experts": 2, "widths": (16,), "tower_widths": (), "learning_rate": 0.02}


def expected(estimator: MultiTaskModel) -> dict[str, str]:
    return NOT_APPLICABLE


@parametrize_with_checks(
    [MultiTaskClassifier(**SMALL), MultiTaskRegressor(**SMALL), MultiTaskEstimator(**SMALL)],
    expected_failed_checks=expected,
)
def test_scikit_learn_checks(estimator: MultiTaskModel, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check(estimator)
