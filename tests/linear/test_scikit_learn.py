"""The estimators in scikit-learn's hands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.base
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from polytask.errors import UserError
from polytask.linear import Dirty, Lasso, LinearModel, MeanRegularized

New = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.mark.parametrize("model", [Lasso(0.3, ridge=0.1), Dirty(0.2, 0.1, loss="logistic")])
def test_clone_and_options(model: LinearModel) -> None:
    copy = sklearn.base.clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    assert repr(copy) == repr(model)
    assert copy.set_params(ridge=3.0) is copy
    assert copy.ridge == 3.0 and model.ridge != 3.0
    with pytest.raises(UserError, match=r"penality: is no option; did you mean 'penalty'\?"):
        Lasso().set_params(penality=1.0)
    assert sklearn.base.is_classifier(model) == (model.loss == "logistic")
    assert sklearn.base.is_regressor(model) == (model.loss == "squared")


def test_a_clone_of_a_fitted_model_is_not_fitted(new_rows: New) -> None:
    model = Lasso(0.3).fit(*new_rows())
    assert not hasattr(sklearn.base.clone(model), "coef_")


def test_search_over_a_grid(new_rows: New) -> None:
    X, y, tasks = new_rows(noise=2.0, W=np.ones((6, 4)))
    table = np.column_stack([X, tasks])
    search = GridSearchCV(MeanRegularized(task_column=-1), {"penalty": [0.0, 10.0]}, cv=3).fit(table, y)
    assert search.best_params_ == {"penalty": 10.0}
    assert search.best_estimator_.coef_.shape == (6, 4)
    assert search.predict(table).shape == y.shape
    pipeline = make_pipeline(FunctionTransformer(), Lasso(0.01, task_column=-1))
    assert cross_val_score(pipeline, table, y, cv=3).min() > 0.3


def test_search_over_a_grid_of_a_classifier(new_rows: New) -> None:
    X, y, tasks = new_rows(noise=2.0, W=np.ones((6, 4)))
    table, label = np.column_stack([X, tasks]), (y > np.median(y)).astype(int)
    model = MeanRegularized(task_column=-1, loss="logistic", fit_intercept=False)
    search = GridSearchCV(model, {"penalty": [0.01, 1.0]}, cv=3, scoring="roc_auc").fit(table, label)
    assert search.best_score_ > 0.7
