"""Paths and the choice of penalties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from polytask.errors import UserError
from polytask.linear import Clustered, JointFeatures, Lasso, MeanRegularized, SparseLowRank, TraceNorm, path, select
from polytask.linear.rows import collect
from polytask.linear.selection import _held_back

New = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_warm_path_ends_where_cold_fits_end(new_rows: New, loss: str) -> None:
    X, y, tasks = new_rows()
    if loss == "logistic":
        y = (y > np.array([np.median(y[tasks == t]) for t in range(5)])[tasks]).astype(float)
    values = [0.3 * 0.8**k for k in range(12)]
    model = TraceNorm(loss=loss, tol=1e-12)  # type: ignore[arg-type]
    warm = path(model, "penalty", values, X, y, tasks)
    cold = [TraceNorm(value, loss=loss, tol=1e-12).fit(X, y, tasks) for value in values]  # type: ignore[arg-type]
    for one, other in zip(warm, cold, strict=True):
        np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-4)
        np.testing.assert_allclose(one.predict(X, tasks), other.predict(X, tasks), atol=1e-3)
    assert sum(each.n_iter_ for each in warm) < sum(each.n_iter_ for each in cold)
    assert not hasattr(model, "coef_")


def test_a_path_may_leave_the_bound_of_its_start(new_rows: New) -> None:
    X, y, tasks = new_rows()
    for each in path(SparseLowRank(1.0), "trace", [5.0, 0.5, 3.0], X, y, tasks):
        assert np.linalg.svd(each.shared_, compute_uv=False).sum() <= each.trace + 1e-9
        cold = SparseLowRank(1.0, each.trace).fit(X, y, tasks)
        assert each.objective_[-1] == pytest.approx(cold.objective_[-1], rel=1e-5)


def test_rows_held_back_are_a_share_of_every_task() -> None:
    counts = np.array([3, 4, 10, 101])
    rows = collect(np.ones((counts.sum(), 1)), np.zeros(counts.sum()), np.repeat(np.arange(4), counts))
    held = _held_back(rows, 0.25, seed=1)
    assert np.bincount(rows.task, held).tolist() == [1, 1, 2, 25]
    assert (held != _held_back(rows, 0.25, seed=2)).any()
    np.testing.assert_array_equal(held, _held_back(rows, 0.25, seed=1))
    assert np.bincount(rows.task, _held_back(rows, 0.99, seed=1)).tolist() == [1, 2, 8, 99]


def test_select_finds_the_relation_and_refits_on_all_rows(new_rows: New) -> None:
    X, y, tasks = new_rows(W=np.ones((8, 4)), noise=3.0)
    chosen = select(MeanRegularized(), {"penalty": [100.0, 1.0, 0.0]}, X, y, tasks, seed=0)
    assert chosen.options == {"penalty": 100.0}
    assert chosen.losses[0] == min(chosen.losses) and len(chosen.losses) == 3
    expected = MeanRegularized(100.0).fit(X, y, tasks)
    np.testing.assert_allclose(chosen.model.coef_, expected.coef_, atol=1e-6)
    plain = new_rows(noise=0.1)
    sparse = select(JointFeatures(), {"penalty": [10.0, 0.001], "ridge": [1.0, 0.0]}, *plain)
    assert sparse.combinations[1] == {"penalty": 10.0, "ridge": 0.0}
    assert sparse.options == {"penalty": 0.001, "ridge": 0.0}


@pytest.mark.parametrize("average", [True, False])
def test_the_validation_loss_sees_only_held_back_rows(new_rows: New, average: bool) -> None:
    X, y, tasks = new_rows()
    rows = collect(X, y, tasks)
    held = _held_back(rows, 0.25, seed=4)
    model = Lasso(0.1, average=average).fit(rows.X[~held], rows.y[~held], rows.task[~held])
    error = (model.predict(rows.X[held], rows.task[held]) - rows.y[held]) ** 2 / 2
    expected = np.mean([error[rows.task[held] == t].mean() for t in range(5)]) if average else error.mean()
    chosen = select(Lasso(average=average), {"penalty": [0.1]}, X, y, tasks, seed=4)
    assert chosen.losses[0] == pytest.approx(expected, rel=1e-6)


def test_select_for_labels(new_rows: New) -> None:
    X, y, tasks = new_rows()
    label = np.where(y > np.array([np.median(y[tasks == t]) for t in range(5)])[tasks], 4.0, 2.0)
    chosen = select(Lasso(loss="logistic"), {"penalty": [1.0, 0.01]}, X, label, tasks)
    assert chosen.options == {"penalty": 0.01}
    assert set(chosen.model.predict(X, tasks)) == {2.0, 4.0}
    assert chosen.losses[0] == pytest.approx(np.log(2), abs=0.1)  # means alone


def test_mistakes_in_the_grid(new_rows: New) -> None:
    X, y, tasks = new_rows()
    with pytest.raises(UserError, match=r"grid.penality: cannot vary; did you mean 'penalty'"):
        select(Lasso(), {"penality": [1.0]}, X, y, tasks)
    with pytest.raises(UserError, match=r"grid.loss: cannot vary"):
        select(Lasso(), {"loss": ["squared"]}, X, y, tasks)
    with pytest.raises(UserError, match=r"grid.penalty: has no values"):
        path(Lasso(), "penalty", [], X, y, tasks)
    with pytest.raises(UserError, match="grid: is empty"):
        select(Lasso(), {}, X, y, tasks)
    with pytest.raises(UserError, match=r"Lasso.penalty: is -1.0"):
        select(Lasso(), {"penalty": [1.0, -1.0]}, X, y, tasks)
    with pytest.raises(UserError, match=r"Clustered.clusters: is 9"):
        select(Clustered(), {"clusters": [2, 9]}, X, y, tasks)
    with pytest.raises(UserError, match=r"share: is 1.0"):
        select(Lasso(), {"penalty": [1.0]}, X, y, tasks, share=1.0)
    with pytest.raises(UserError, match=r"task 0: has fewer than 3 rows"):
        select(Lasso(), {"penalty": [1.0]}, X[:4], y[:4], [0, 0, 1, 1])
