"""The estimators in the hands of scikit-learn's tools, of SHAP and of torch."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import polytask.estimators
from polytask.errors import MissingExtraError
from polytask.estimators import Background, InputError, MultiTaskClassifier, MultiTaskEstimator, MultiTaskRegressor

SMALL: dict[str, Any] = {"epochs": 10, "batch_size": 32, "experts": 2, "widths": (16,), "learning_rate": 0.01}


def rows(number: int = 240) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.normal(40, 10, number), "town": rng.choice(["a", "b", "c"], number)})
    X["seen"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, number), "D")
    taste = (X["age"] - 40) / 10 + 2 * (X["town"] == "a")
    y = pd.DataFrame({"click": np.where(taste > 0.5, "yes", "no"), "spend": taste})
    X.loc[::9, "age"], X.loc[5, "town"] = np.nan, None
    return X, y


@pytest.fixture(scope="module")
def fitted() -> tuple[MultiTaskEstimator, pd.DataFrame]:
    X, y = rows()
    return MultiTaskEstimator(tasks={"click": "binary", "spend": "regression"}, random_state=0, **SMALL).fit(X, y), X


def test_a_search_through_a_pipeline() -> None:
    X, y = rows()
    columns = ColumnTransformer(
        [("number", StandardScaler(), ["age"]), ("word", OneHotEncoder(handle_unknown="ignore"), ["town"])]
    )
    pipeline = make_pipeline(columns, MultiTaskRegressor(random_state=0, **SMALL))
    grid = {"multitaskregressor__sharing": ["mmoe", "omoe"], "multitaskregressor__epochs": [1, 10]}
    found = GridSearchCV(pipeline, grid, cv=2).fit(X, y[["spend"]])
    assert found.best_params_["multitaskregressor__epochs"] == 10
    assert found.best_score_ > 0.3


def test_cross_validation() -> None:
    X, y = rows()
    model = MultiTaskClassifier(random_state=0, **SMALL)
    assert cross_val_score(model, X, y["click"], cv=2, scoring="roc_auc").min() > 0.8
    assert cross_val_score(model, X, y.assign(spend=np.where(y["spend"] > 0, "yes", "no")), cv=2).min() > 0.7
    assert cross_val_score(MultiTaskEstimator(random_state=0, **SMALL), X, y, cv=2).min() > 0.5


def test_a_clone_has_the_options_and_not_the_model(fitted: Any) -> None:
    copy = clone(fitted[0])
    assert copy.get_params() == fitted[0].get_params() and not hasattr(copy, "bundle_")
    assert copy.set_params(balancer="uncertainty").balancer == "uncertainty"


def test_options_reach_the_configuration() -> None:
    X, y = rows(60)
    options = {"sharing_options": {"activation": "silu"}, "balancer": "dwa", "balancer_options": {"temperature": 3.0}}
    model = MultiTaskEstimator(**SMALL, **options, config={"train": {"decay": "linear"}, "encoder": {"embedding": 3}})
    config = model.set_params(tower_widths=(4, 2), weight_decay=0.1).fit(X, y).bundle_.config
    assert config.sharing.options == {"experts": 2, "widths": (16,), "activation": "silu"} | config.sharing.options
    assert config.balancer.use == "dwa" and config.balancer.options["temperature"] == 3.0
    assert (config.train.decay, config.train.weight_decay, config.train.epochs) == ("linear", 0.1, 10)
    assert config.encoder.options["embedding"] == 3 and model.bundle_.model.towers.out_features == 2


def test_shap_values_add_up(fitted: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shap = pytest.importorskip("shap")
        model, X = fitted
        values = shap.Explainer(model.task_function("click"), Background(X[:20]), algorithm="exact")(X[20:24])
    assert values.feature_names == ["age", "town", "seen"]
    expected = model.predictions(X[20:24])["click"]
    np.testing.assert_allclose(values.base_values + values.values.sum(1), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(values.values).mean(0)[1] > np.abs(values.values).mean(0)[2]


def test_functions_of_one_task_read_arrays_of_objects(fitted: Any) -> None:
    model, X = fitted
    expected = model.predictions(X)
    for task in ("click", "spend"):
        np.testing.assert_array_equal(model.task_function(task)(X.to_numpy()), expected[task].astype(np.float64))
    assert model.task_function("spend")(X.to_numpy()[0]).shape == (1,)
    with pytest.raises(InputError, match=r"task: is 'clik'; did you mean 'click'\?"):
        model.task_function("clik")
    with pytest.raises(InputError, match="X: has 2 columns, fit had 3"):
        model.task_function("click")(X.to_numpy()[:, :2])


def test_every_part_is_a_module(fitted: Any) -> None:
    model, X = fitted
    parts = model.bundle_.model
    inputs = model.model_inputs(X)
    assert all(isinstance(part, torch.nn.Module) for part in (parts.encoder, parts.sharing, parts.towers, parts.heads))
    with torch.inference_mode():
        representation = parts.sharing(parts.encoder(inputs)).value
        logits = parts.heads(parts.towers(representation))
    assert representation.shape == (2, 240, 16)
    probability = torch.sigmoid(logits[0][0, :, 0]).numpy()
    np.testing.assert_allclose(probability, model.predictions(X)["click"], rtol=1e-5, atol=1e-6)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"scikit-learn.*pip install 'polytask\[sklearn\]'"):
        runpy.run_path(str(Path(polytask.estimators.__file__)))
