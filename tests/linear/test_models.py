"""Every model: optimality of what the solver returns, its limits, equalities between models, planted structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.linear_model
from scipy.optimize import minimize

import polytask.linear
from polytask.linear import (
    Clustered,
    Dirty,
    GraphRegularized,
    Independent,
    JointFeatures,
    Lasso,
    LinearModel,
    MeanRegularized,
    NotConvergedWarning,
    Pooled,
    RobustFeatures,
    RobustLowRank,
    SparseLowRank,
    TraceNorm,
)

Data = tuple[np.ndarray, np.ndarray, np.ndarray]
New = Callable[..., Data]

MODELS: list[LinearModel] = [
    Independent(ridge=0.1),
    Pooled(ridge=0.1),
    Lasso(0.1),
    JointFeatures(0.3),
    TraceNorm(0.3),
    MeanRegularized(0.3),
    GraphRegularized([(0, 1), (1, 2, 0.5)], penalty=0.3, sparsity=0.1),
    Dirty(0.3, 0.1),
    RobustFeatures(0.3, 0.3),
    RobustLowRank(0.3, 0.3),
    SparseLowRank(0.1, 2.0),
    Clustered(2, 0.3, 0.1),
]
EXACT = {"tol": 1e-12, "max_iter": 50_000}


def name(model: LinearModel) -> str:
    return type(model).__name__


def tight(model: LinearModel, **options: object) -> LinearModel:
    """A copy that is solved to the end."""
    return type(model)(**{**model.get_params(), **EXACT, **options})


def objective(model: LinearModel, X: np.ndarray, y: np.ndarray, tasks: np.ndarray) -> float:
    """The objective at the solution, term by term and task by task."""
    total = model.ridge * (model.coef_**2).sum() + model.penalty_value(model.parts_)
    total += model.smooth_penalty(model.coef_)[0]
    for at, task in enumerate(model.tasks_):
        own = tasks == task
        score = X[own] @ model.coef_[at] + model.intercept_[at]
        if model.loss == "squared":
            losses = (score - y[own]) ** 2 / 2
        else:
            losses = np.log1p(np.exp(-np.where(y[own] == model.classes_[1], 1, -1) * score))
        total += losses.mean() if model.average else losses.sum()
    return float(total)


def test_all_models_are_tested() -> None:
    known = [getattr(polytask.linear, each) for each in polytask.linear.__all__]
    models = {each for each in known if isinstance(each, type) and issubclass(each, LinearModel)} - {LinearModel}
    assert models == {type(model) for model in MODELS}


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("model", MODELS, ids=name)
def test_the_objective_falls_and_ends_at_a_fixed_point(
    new_rows: New, model: LinearModel, loss: str, fit_intercept: bool, average: bool
) -> None:
    X, y, tasks = new_rows()
    if loss == "logistic":
        y = (y > np.array([np.median(y[tasks == t]) for t in range(5)])[tasks]).astype(float)
    fitted = tight(model, loss=loss, fit_intercept=fit_intercept, average=average).fit(X, y, tasks)
    assert (np.diff(fitted.objective_) <= 0).all()
    assert fitted.objective_[-1] == pytest.approx(objective(fitted, X, y, tasks), rel=1e-10)
    assert fitted.n_iter_ == len(fitted.objective_) - 1
    np.testing.assert_allclose(fitted.parts_.sum(0), fitted.coef_, atol=1e-12)
    # a proximal gradient step with the true gradient does not move it
    slope = 2 * fitted.ridge * fitted.coef_ + fitted.smooth_penalty(fitted.coef_)[1]
    for at in range(5):
        own = tasks == at
        score = X[own] @ fitted.coef_[at] + fitted.intercept_[at]
        error = score - y[own] if loss == "squared" else 1 / (1 + np.exp(-score)) - y[own]
        slope[at] += X[own].T @ error / (own.sum() if average else 1)
        if fit_intercept:
            assert error.sum() / own.sum() == pytest.approx(0, abs=1e-5)
    step = 0.1 if average else 0.002
    moved = fitted.proximal(fitted.parts_ - step * slope, step)
    np.testing.assert_allclose(moved, fitted.parts_, atol=2e-6)


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_nobody_does_better(new_rows: New, model: LinearModel) -> None:
    X, y, tasks = new_rows(T=3, d=2)
    fitted = tight(model, fit_intercept=False).fit(X, y, tasks)
    reached = objective(fitted, X, y, tasks)
    rng = np.random.default_rng(0)
    for scale in (1e-4, 1e-2, 1.0):
        for _ in range(100):
            moved = fitted.proximal(fitted.parts_ + scale * rng.normal(size=fitted.parts_.shape), 0.0)
            other = tight(model, fit_intercept=False)
            other.parts_, other.coef_, other.tasks_ = moved, moved.sum(0), fitted.tasks_
            other.intercept_ = fitted.intercept_
            other.check(fitted.tasks_)
            assert objective(other, X, y, tasks) >= reached - 1e-9


@pytest.mark.parametrize("penalty", [0.0, 0.05, 0.3])
def test_one_task_is_the_lasso_of_scikit_learn(new_rows: New, penalty: float) -> None:
    X, y, _ = new_rows()
    ours = tight(Lasso(penalty)).fit(X, y, np.zeros(len(y)))
    theirs = (
        sklearn.linear_model.Lasso(alpha=penalty, tol=1e-12) if penalty else sklearn.linear_model.LinearRegression()
    ).fit(X, y)
    np.testing.assert_allclose(ours.coef_[0], theirs.coef_, atol=1e-6)
    assert ours.intercept_[0] == pytest.approx(theirs.intercept_, abs=1e-6)
    assert ours.score(X, y, np.zeros(len(y))) == pytest.approx(theirs.score(X, y), abs=1e-9)


def test_same_rows_for_all_tasks_is_the_multi_task_lasso_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(50, 6)), rng.normal(size=(50, 3))
    ours = tight(JointFeatures(0.2)).fit([X] * 3, list(Y.T))
    theirs = sklearn.linear_model.MultiTaskLasso(alpha=0.2, tol=1e-12).fit(X, Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_logistic_loss_is_that_of_scikit_learn(new_rows: New, fit_intercept: bool) -> None:
    X, y, _ = new_rows(noise=3.0)
    label, tasks = np.where(y > np.median(y), "yes", "no"), np.zeros(len(y))
    ours = tight(Independent(), loss="logistic", ridge=0.5, average=False, fit_intercept=fit_intercept)
    ours.fit(X, (label == "yes") * 2.0 - 1.0, tasks)
    theirs = sklearn.linear_model.LogisticRegression(C=1.0, tol=1e-10, fit_intercept=fit_intercept).fit(X, label)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_ if fit_intercept else 0, atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X, tasks), theirs.predict_proba(X), atol=1e-4)
    assert ours.score(X, (label == "yes") * 2.0 - 1.0, tasks) == pytest.approx(theirs.score(X, label))
    assert set(ours.predict(X, tasks)) == {-1.0, 1.0}


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("model", [Independent(ridge=0.1), Lasso(0.1, ridge=0.05)], ids=name)
def test_uncoupled_tasks_equal_a_fit_per_task(new_rows: New, model: LinearModel, loss: str) -> None:
    X, y, tasks = new_rows(noise=3.0)
    if loss == "logistic":
        y = (y > np.array([np.median(y[tasks == t]) for t in range(5)])[tasks]).astype(float)
    together = tight(model, loss=loss).fit(X, y, tasks)
    for at in range(5):
        alone = tight(model, loss=loss).fit(X[tasks == at], y[tasks == at], tasks[tasks == at])
        np.testing.assert_allclose(together.coef_[at], alone.coef_[0], atol=1e-5)
        assert together.intercept_[at] == pytest.approx(alone.intercept_[0], abs=1e-5)


def test_ridge_is_the_closed_form(new_rows: New) -> None:
    X, y, tasks = new_rows()
    model = tight(Independent(ridge=0.7), average=False, fit_intercept=False).fit(X, y, tasks)
    for at in range(5):
        own = X[tasks == at]
        expected = np.linalg.solve(own.T @ own + 1.4 * np.eye(4), own.T @ y[tasks == at])
        np.testing.assert_allclose(model.coef_[at], expected, atol=1e-5)
    pooled = tight(Pooled(ridge=0.7), average=False, fit_intercept=False).fit(X, y, tasks)
    expected = np.linalg.solve(X.T @ X + 5 * 1.4 * np.eye(4), X.T @ y)
    np.testing.assert_allclose(pooled.coef_, np.tile(expected, (5, 1)), atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        Lasso(1e4),
        JointFeatures(1e4),
        TraceNorm(1e4),
        Dirty(1e4, 1e4),
        RobustFeatures(1e4, 1e4),
        RobustLowRank(1e4, 1e4),
        SparseLowRank(1e4, 0.0),
    ],
    ids=name,
)
def test_huge_penalties_leave_nothing_but_the_means(new_rows: New, model: LinearModel) -> None:
    X, y, tasks = new_rows()
    fitted = model.fit(X, y, tasks)
    assert not fitted.coef_.any()
    np.testing.assert_allclose(fitted.intercept_, [y[tasks == t].mean() for t in range(5)])


def test_mean_regularised_runs_from_independent_to_pooled(new_rows: New) -> None:
    X, y, tasks = new_rows()
    free, tied = tight(MeanRegularized(0.0)).fit(X, y, tasks), tight(MeanRegularized(1e7)).fit(X, y, tasks)
    np.testing.assert_allclose(free.coef_, tight(Independent()).fit(X, y, tasks).coef_, atol=1e-5)
    np.testing.assert_allclose(tied.coef_, tight(Pooled()).fit(X, y, tasks).coef_, atol=1e-5)
    assert np.ptp(tied.coef_, axis=0).max() < 1e-5
    assert np.ptp(free.coef_, axis=0).max() > 0.5


def test_evgeniou_and_pontil_s_form_is_the_same_model(new_rows: New) -> None:
    X, y, tasks = new_rows(T=4, d=2)
    a, b, T = 3.0, 0.5, 4

    def published(z: np.ndarray) -> float:
        common, own = z[:2], z[2:].reshape(T, 2)
        error = (X * (common + own)[tasks]).sum(1) - y
        return float((error**2).sum() / 2 + a / T * (own**2).sum() + b * (common**2).sum())

    z = minimize(published, np.zeros(2 + 2 * T), tol=1e-12).x
    options = {"average": False, "fit_intercept": False}
    ours = tight(MeanRegularized(a**2 / (T * (a + b)), ridge=a * b / (T * (a + b))), **options).fit(X, y, tasks)
    np.testing.assert_allclose(ours.coef_, z[:2] + z[2:].reshape(T, 2), atol=1e-4)
    np.testing.assert_allclose(a / (a + b) * ours.coef_.mean(0), z[:2], atol=1e-4)


@pytest.mark.parametrize(
    ("special", "general"),
    [
        (MeanRegularized(0.3), GraphRegularized([(s, t, 0.2) for s in range(5) for t in range(s)], penalty=0.3)),
        (JointFeatures(0.3), RobustFeatures(0.3, 1e4)),
        (TraceNorm(0.3), RobustLowRank(0.3, 1e4)),
        (Lasso(0.1), Dirty(1e4, 0.1)),
        (Lasso(0.1), SparseLowRank(0.1, 0.0)),
        (Lasso(0.1), GraphRegularized([], sparsity=0.1)),
        (Independent(ridge=0.2), Clustered(5, 0.3, 0.2)),
    ],
    ids=name,
)
def test_ladder_of_equal_models(new_rows: New, special: LinearModel, general: LinearModel) -> None:
    X, y, tasks = new_rows()
    expected = tight(special).fit(X, y, tasks).coef_
    np.testing.assert_allclose(tight(general).fit(X, y, tasks).coef_, expected, atol=1e-5)


def test_trace_ball_and_trace_penalty_meet(new_rows: New) -> None:
    X, y, tasks = new_rows()
    penalised = tight(TraceNorm(0.3)).fit(X, y, tasks)
    radius = np.linalg.svd(penalised.coef_, compute_uv=False).sum()
    bounded = tight(SparseLowRank(1e4, float(radius))).fit(X, y, tasks)
    np.testing.assert_allclose(bounded.coef_, penalised.coef_, atol=1e-4)


def test_dirty_splits_shared_from_own(new_rows: New) -> None:
    W = np.zeros((6, 8))
    W[:, 0], W[2, 5] = 2.0, -3.0
    model = Dirty(shared=0.3, own=0.15).fit(*new_rows(W=W, noise=0.1))
    assert np.flatnonzero(np.abs(model.shared_).max(0) > 0.05).tolist() == [0]
    assert np.argwhere(np.abs(model.own_) > 0.05).tolist() == [[2, 5]]


def test_outlier_models_find_the_outlier(new_rows: New) -> None:
    W = np.zeros((8, 6))
    W[:, :2] = [2.0, -2.0]
    W[3] = [-3.0, 3.0, 3.0, -3.0, 3.0, 3.0]
    rows = new_rows(W=W, noise=0.1)
    for model in (RobustFeatures(0.6, 0.4).fit(*rows), RobustLowRank(0.5, 0.3).fit(*rows)):
        assert np.flatnonzero(np.abs(model.outlying_).max(1) > 0.05).tolist() == [3]
        assert np.linalg.matrix_rank(model.shared_, tol=0.5) == 1
        assert not np.abs(model.shared_[:, 2:]).max() > 0.05


def test_sparse_and_low_rank_are_told_apart(new_rows: New) -> None:
    W = np.ones((8, 6))
    W[1, 4], W[6, 0] = 5.0, -4.0
    model = SparseLowRank(0.05, float(np.sqrt(48))).fit(*new_rows(W=W, noise=0.1))
    assert np.argwhere(np.abs(model.sparse_) > 1.0).tolist() == [[1, 4], [6, 0]]
    assert np.linalg.matrix_rank(model.shared_, tol=0.3) == 1


def test_clusters_are_found_and_help(new_rows: New) -> None:
    W = np.repeat(np.random.default_rng(5).normal(size=(3, 12)), 4, axis=0)
    rows = new_rows(W=W, noise=1.0)
    model = Clustered(3, within=1.0, size=0.01).fit(*rows)
    same = np.arange(12)[:, None] // 4 == np.arange(12) // 4
    assert model.assignment_[same].min() > 2 * np.abs(model.assignment_[~same]).max()
    assert np.trace(model.assignment_) == pytest.approx(3)
    alone = Independent().fit(*rows)
    assert ((model.coef_ - W) ** 2).sum() < 0.7 * ((alone.coef_ - W) ** 2).sum()


def test_clustered_equals_the_joint_problem_in_w_and_m(new_rows: New) -> None:
    X, y, tasks = new_rows(T=4, d=2)
    model = tight(Clustered(2, within=1.0, size=0.2), fit_intercept=False).fit(X, y, tasks)
    eta, c = 0.2, 1.0 * 0.2 * 1.2
    M = model.assignment_
    assert (np.linalg.eigvalsh(M) > -1e-9).all() and (np.linalg.eigvalsh(M) < 1 + 1e-9).all()
    joint = c * np.trace(model.coef_.T @ np.linalg.inv(eta * np.eye(4) + M) @ model.coef_)
    assert joint == pytest.approx(model.smooth_penalty(model.coef_)[0])
    rng = np.random.default_rng(0)
    for _ in range(300):  # no other feasible M is better
        basis, _ = np.linalg.qr(M + 0.3 * rng.normal(size=(4, 4)))
        levels = rng.dirichlet(np.ones(4)) * 2
        other = (basis * levels) @ basis.T
        if levels.max() <= 1:
            assert c * np.trace(model.coef_.T @ np.linalg.inv(eta * np.eye(4) + other) @ model.coef_) >= joint - 1e-9


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_gradients_of_smooth_penalties(model: LinearModel) -> None:
    coef, move = np.random.default_rng(0).normal(size=(2, 5, 4))
    model.check(np.arange(5))
    slope = model.smooth_penalty(coef)[1]
    ahead, behind = (model.smooth_penalty(coef + sign * 1e-5 * move)[0] for sign in (1, -1))
    assert np.vdot(slope, move) == pytest.approx((ahead - behind) / 2e-5, abs=1e-6)


def test_wide_tables_take_the_road_over_rows(new_rows: New) -> None:
    from polytask.linear.losses import GramLoss, RowsLoss, build_loss, squared
    from polytask.linear.rows import collect

    rows = collect(*new_rows())
    coef = np.random.default_rng(0).normal(size=(5, 4))
    gram = GramLoss(rows, average=True, fit_intercept=False)
    by_rows = RowsLoss(rows, squared, average=True, fit_intercept=False)
    np.testing.assert_allclose(gram(coef)[0], by_rows(coef)[0])
    np.testing.assert_allclose(gram(coef)[1], by_rows(coef)[1])
    wide = np.random.default_rng(1).normal(size=(20, 50))
    table = collect(wide, wide[:, 0], np.arange(20) % 4)
    assert isinstance(build_loss(rows, "squared", average=True, fit_intercept=True), GramLoss)
    assert isinstance(build_loss(table, "squared", average=True, fit_intercept=True), RowsLoss)
    model = JointFeatures(0.1, **EXACT).fit(wide, wide[:, 0] + 3, np.arange(20) % 4)
    assert model.coef_[:, 0].min() > 0.3
    np.testing.assert_allclose(model.predict(wide, np.arange(20) % 4).mean(), wide[:, 0].mean() + 3)


def test_too_few_steps_are_a_warning(new_rows: New) -> None:
    with pytest.warns(NotConvergedWarning, match="Lasso: 2 steps were not enough; raise max_iter"):
        Lasso(0.1, max_iter=2).fit(*new_rows())
