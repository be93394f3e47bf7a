"""Data in: forms that are accepted, mistakes that are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.errors import UserError
from polytask.linear import Clustered, GraphRegularized, Independent, Lasso, LinearModel, MeanRegularized, SparseLowRank

New = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def test_order_of_rows_and_names_of_tasks_do_not_matter(new_rows: New) -> None:
    X, y, tasks = new_rows()
    names = np.array(["e", "d", "c", "b", "a"])
    one, other = MeanRegularized(0.3).fit(X, y, tasks), MeanRegularized(0.3)
    mixed = np.random.default_rng(3).permutation(len(y))
    other.fit(X[mixed], y[mixed], names[tasks[mixed]])
    assert other.tasks_.tolist() == ["a", "b", "c", "d", "e"]
    np.testing.assert_allclose(other.coef_[::-1], one.coef_, atol=1e-10)
    np.testing.assert_allclose(other.predict(X, names[tasks]), one.predict(X, tasks), atol=1e-9)
    np.testing.assert_allclose(one.predict(X[mixed], tasks[mixed]), one.predict(X, tasks)[mixed], atol=1e-12)


def test_lists_frames_and_a_task_column_say_the_same(new_rows: New) -> None:
    X, y, tasks = new_rows()
    expected = Lasso(0.1).fit(X, y, tasks)
    tables, labels = [X[tasks == t] for t in range(5)], [y[tasks == t] for t in range(5)]
    listed = Lasso(0.1).fit(tables, labels)
    np.testing.assert_allclose(listed.coef_, expected.coef_, atol=1e-12)
    guesses = listed.predict(tables[::-1], tasks=range(5)[::-1])
    assert [len(guess) for guess in guesses] == [len(part) for part in labels[::-1]]
    np.testing.assert_allclose(guesses[4], expected.predict(tables[0], np.zeros(len(tables[0]), int)))
    frame = pd.DataFrame(X, columns=list("abcd")).assign(school=tasks)
    column = Lasso(0.1, task_column=4).fit(frame, pd.Series(y))
    np.testing.assert_allclose(column.coef_, expected.coef_, atol=1e-12)
    np.testing.assert_allclose(column.predict(frame), expected.predict(X, tasks))
    some = listed.predict(X[:3], tasks[:3])
    np.testing.assert_allclose(some, expected.predict(X, tasks)[:3])


def wrong(change: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[Any, ...]]) -> str:
    X = np.arange(24.0).reshape(8, 3) % 5
    with pytest.raises(UserError) as caught:
        Lasso(0.1).fit(*change(X.copy(), X[:, 0].copy(), np.repeat([0, 1], 4)))
    return str(caught.value)


def holes(X: np.ndarray, y: np.ndarray, tasks: np.ndarray) -> tuple[Any, ...]:
    X[2, 1] = X[5, 1] = np.nan
    X[3, 2], y[7] = np.inf, np.nan
    return X, y, tasks


def test_missing_values_are_counted_by_column() -> None:
    text = wrong(holes)
    assert "3 problems" in text
    assert "column 1: 2 of 8 rows are missing or infinite (first: row 2); fill or drop them" in text
    assert "column 2: 1 of 8" in text and "y: 1 of 8 rows are missing or infinite (first: row 7)" in text
    frame = wrong(lambda X, y, t: (pd.DataFrame(holes(X, y, t)[0], columns=["a", "b", "c"]), y, t))
    assert "column b: 2 of 8" in frame


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y, t: (X, y), "tasks: not given; give tasks=..., one id per row"),
        (lambda X, y, t: (X, y[:5], t[:6]), "y: has [5] entries for 8 rows of X"),
        (lambda X, y, t: (X, y[:5], t[:6]), "tasks: has [6] entries for 8 rows of X"),
        (lambda X, y, t: (X[:, 0], y, t), "X: has shape [8]; give [rows, features]"),
        (lambda X, y, t: (X[:0], y[:0], t[:0]), "X: has no rows"),
        (lambda X, y, t: (X.astype(str).tolist()[:1] + [["a", "b", "c"]] * 7, y, t), "X: is not a table of numbers"),
        (lambda X, y, t: (X, y, np.array([0] * 7 + [9])), "task 9: has 1 row; give it at least 2, or drop it"),
        (lambda X, y, t: (X, y, np.where(t, np.nan, 1.0)), "tasks: 4 ids are missing"),
        (lambda X, y, t: ([X, X[:, :2]], [y, y]), "X: tables with [2, 3] columns"),
        (lambda X, y, t: ([X, X], [y, y[:3]]), "y: does not fit X from table 1 on"),
        (lambda X, y, t: ([X, X], [y, y], ["a"]), "tasks: 1 ids for 2 tables"),
    ],
)
def test_mistakes_in_the_data(change: Callable[..., tuple[Any, ...]], message: str) -> None:
    assert message in wrong(change)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Lasso(-1.0), "Lasso.penalty: is -1.0; give a number at least 0"),
        (Lasso(0.1, ridge=-2, tol=float("nan")), "Lasso.ridge: is -2"),
        (Lasso(0.1, loss="hinge"), "Lasso.loss: is 'hinge'; choose one of squared, logistic"),  # type: ignore[arg-type]
        (Lasso(0.1, max_iter=0), "Lasso.max_iter: is 0"),
        (SparseLowRank(0.1, -1.0), "SparseLowRank.trace: is -1.0"),
        (Clustered(2, 0.0, 0.1), "Clustered.within: is 0.0; give a number above 0"),
        (Clustered(3, 0.1, 0.1), "Clustered.clusters: is 3; give a number at most 2"),
        (GraphRegularized([(0, 7)]), "GraphRegularized.edges[0]: no task 7; choose one of 0, 1"),
        (GraphRegularized([(0, 1, -1.0)]), "GraphRegularized.edges[0]: is -1.0"),
        (GraphRegularized([(0,)]), "GraphRegularized.edges[0]: is (0,)"),
        (Lasso(0.1, task_column=9), "task_column: is 9, but X has 3 columns"),
    ],
)
def test_mistakes_in_the_options(model: LinearModel, message: str) -> None:
    X = np.arange(24.0).reshape(8, 3) % 5
    with pytest.raises(UserError) as caught:
        model.fit(X, X[:, 0], None if model.task_column else np.repeat([0, 1], 4))
    assert message in str(caught.value)


def test_predict_names_what_it_does_not_know(new_rows: New) -> None:
    X, y, tasks = new_rows()
    with pytest.raises(UserError, match="Independent: is not fitted; call fit first"):
        Independent().predict(X, tasks)
    model = Independent().fit(X, y, tasks)
    with pytest.raises(UserError, match=r"tasks: 7, 9 not seen at fit; fitted were 0, 1, 2, 3, 4"):
        model.predict(X[:3], [0, 9, 7])
    with pytest.raises(UserError, match="X: has 2 columns, fit had 4"):
        model.predict(X[:, :2], tasks)
    with pytest.raises(UserError, match="only logistic loss has probabilities"):
        model.predict_proba(X, tasks)


def test_logistic_loss_wants_two_classes_in_every_task(new_rows: New) -> None:
    X, y, tasks = new_rows()
    with pytest.raises(UserError, match="y: 3 different values: 0, 1, 2; logistic loss needs two"):
        Lasso(0.1, loss="logistic").fit(X, np.arange(len(y)) % 3, tasks)
    with pytest.raises(UserError, match="task 2: has rows of one class only"):
        Lasso(0.1, loss="logistic").fit(X, (tasks == 2) | (X[:, 0] > 0.5), tasks)
