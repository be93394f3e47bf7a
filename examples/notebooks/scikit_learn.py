"""Source of scikit_learn.ipynb; see build.py."""

# %% [markdown]
# # With scikit-learn: pipelines, searches, explanations
#
# One network for several targets, as an estimator among others: in a pipeline, under cross-validation and grid search,
# explained by permutation importance and SHAP.
#
# Needs `pip install 'polytask[notebooks,sklearn,plot]' pandas`, and `polytask[shap]` for one cell. Everything is
# written to a temporary folder.

# %%
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from IPython.display import display
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, train_test_split
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import MultiTaskEstimator, MultiTaskRegressor
from polytask.estimators import Background

temporary = TemporaryDirectory()
folder = Path(temporary.name)

# %% [markdown]
# ## Several numbers: an array in, an array out
#
# Five targets that depend on two hidden quantities, and few rows. `MultiTaskRegressor` is a regressor like any other,
# also behind a scaler. Beside it: the same network for each target alone, boosted trees for each, and a linear model.

# %%
rng = np.random.default_rng(0)
X = rng.normal(size=(600, 8))
hidden = np.column_stack([np.tanh(X[:, 0] * X[:, 1]), np.abs(X[:, 2]) - np.abs(X[:, 3])])
y = hidden @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(600, 5))

network = MultiTaskRegressor(
    sharing="shared_bottom", widths=[64, 32], learning_rate=0.01, epochs=15, batch_size=64, random_state=0
)
pipeline = make_pipeline(StandardScaler(), network)
models = {
    "one network": pipeline,
    "one network per target": MultiOutputRegressor(pipeline),
    "trees per target": MultiOutputRegressor(HistGradientBoostingRegressor(random_state=0)),
    "linear": RidgeCV(),
}
folds = KFold(3, shuffle=True, random_state=0)
scores = {name: cross_val_score(model, X, y, cv=folds) for name, model in models.items()}
pd.DataFrame(scores, index=["fold 1", "fold 2", "fold 3"]).T.assign(mean=lambda table: table.mean(axis=1)).round(3)

# %% [markdown]
# ## A search
#
# Architecture, sizes and balancer are parameters. (For many trials, with pruning and the same budget for every
# architecture, there is `polytask sweep`.)

# %%
grid = {
    "multitaskregressor__sharing": ["shared_bottom", "mmoe"],
    "multitaskregressor__learning_rate": [0.003, 0.01],
}
search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
found = pd.DataFrame(search.cv_results_)
found[["param_multitaskregressor__sharing", "param_multitaskregressor__learning_rate", "mean_test_score"]].round(3)

# %% [markdown]
# ## A table with text, gaps and labels of several kinds
#
# No encoder and no imputer: ids are embedded, and the network learns what a gap means. Spending is known for buyers
# only. NaN in `y` says "not observed".

# %%
rows = 3_000
frame = pd.DataFrame(
    {
        "age": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(40, 12, rows).round()),
        "town": rng.choice(["Bern", "Rome", "Oslo", None], rows, p=[0.4, 0.3, 0.2, 0.1]),
        "visits": rng.poisson(3, rows),
        "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 500, rows), unit="D"),
        "noise": rng.normal(size=rows),
    }
)
taste = (frame["age"].fillna(55) - 40) / 12 + 1.2 * (frame["town"] == "Rome") + 0.4 * (frame["visits"] - 3)
buys = taste + rng.logistic(size=rows) > 1
targets = pd.DataFrame(
    {
        "buys": np.where(buys, "yes", "no"),
        "spends": np.where(buys, 20 + 8 * taste + 4 * rng.normal(size=rows), np.nan),
    }
)
train, test, y_train, y_test = train_test_split(frame, targets, random_state=0)
model = MultiTaskEstimator(
    tasks={"buys": "binary", "spends": "regression"}, experts=4, widths=[32], epochs=10, random_state=0
)
model.fit(train, y_train)
predicted = model.predictions(test)
bought = y_test["buys"] == "yes"
print("AUC of buys  ", round(roc_auc_score(bought, predicted["buys"]), 3))
print("R2 of spends ", round(r2_score(y_test["spends"][bought], predicted["spends"][bought]), 3))
pd.concat([test, predicted.round(3)], axis=1).head()

# %% [markdown]
# ## What matters, and for whom
#
# Permutation importance of scikit-learn works with the score of all tasks or, with a scorer, for one of them.


# %%
def auc(estimator, rows, labels):
    """Of buying."""
    return roc_auc_score(labels["buys"] == "yes", estimator.predictions(rows)["buys"])


def r2(estimator, rows, labels):
    """Of spending, over those who bought."""
    known = labels["spends"].notna()
    return r2_score(labels["spends"][known], estimator.predictions(rows)["spends"][known])


importance = permutation_importance(model, test, y_test, scoring={"buys": auc, "spends": r2}, random_state=0)
fall = pd.DataFrame({task: found["importances_mean"] for task, found in importance.items()}, index=frame.columns)
axes = fall.plot.barh(figsize=(6, 2.4), color=["#2b5d8c", "#c8762d"])
axes.invert_yaxis()
axes.set_xlabel("fall of the score when the column is shuffled")
fall.round(3)

# %% [markdown]
# SHAP explains single predictions. `Background` hides columns of any type, which SHAP's own maskers do not.

# %%
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's import uses what matplotlib will remove
        import shap
except ImportError:
    print("shap is not installed: pip install 'polytask[shap]'")
else:
    explainer = shap.Explainer(model.task_function("buys"), Background(train[:30]), algorithm="exact")
    values = explainer(test[:4], silent=True)
    table = pd.DataFrame(values.values, columns=frame.columns, index=test.index[:4])
    display(table.assign(base=values.base_values, prediction=values.base_values + values.values.sum(axis=1)).round(3))

# %% [markdown]
# ## Out of the notebook
#
# A fitted estimator saves the bundle that `polytask.load` and `polytask predict` read.

# %%
polytask.load(model.save(folder / "shop")).predict(test[:2]).to_pandas().round(3)

# %%
temporary.cleanup()
