from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score, roc_auc_score

from polytask.deciding.ranking import Groups, gauc_target, measure, ndcg_target
from polytask.metrics import GAUC


def log(seed: int, rows: int = 700, groups: int = 60) -> tuple[np.ndarray, ...]:
    """Groups of all sizes, scores with ties, values of which half are 0, and which rows have one."""
    rng = np.random.default_rng(seed)
    keys = (groups * rng.random(rows) ** 2).astype(np.int64) - 7
    values = rng.exponential(size=rows) * (rng.random(rows) < 0.5)
    return keys, rng.normal(size=rows).round(1), values, rng.random(rows) < 0.8


def found_by(groups: Groups, target: object, scores: np.ndarray) -> float:
    return measure(groups, target, *groups.ranked(scores[groups.order]))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("at", [1, 5, 1000])
def test_ndcg_against_sklearn(seed: int, whole: bool, at: int) -> None:
    keys, scores, values, observed = log(seed)
    observed |= whole
    groups = Groups.of(keys)
    rows = [np.flatnonzero((keys == key) & observed) for key in np.unique(keys)]
    kept = [own for own in rows if len(own) > 1 and values[own].max() > 0]
    expected = np.mean([ndcg_score([values[own]], [scores[own]], k=at) for own in kept])
    assert found_by(groups, ndcg_target(groups, values, observed, at), scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("whole", [True, False])
def test_gauc_against_sklearn_and_the_metric(seed: int, whole: bool) -> None:
    keys, scores, values, observed = log(seed)
    observed |= whole
    positive, groups = values > 0.5, Groups.of(keys)
    found = found_by(groups, gauc_target(groups, positive, observed), scores)
    rows = [np.flatnonzero((keys == key) & observed) for key in np.unique(keys)]
    kept = [own for own in rows if 0 < positive[own].sum() < len(own)]
    aucs = [roc_auc_score(positive[own], scores[own]) for own in kept]
    assert found == pytest.approx(np.average(aucs, weights=[len(own) for own in kept]), abs=1e-12)
    metric = GAUC()
    seen = torch.from_numpy(observed)
    columns = (torch.from_numpy(scores), torch.from_numpy(positive).float(), None, torch.from_numpy(keys))
    metric.update(*(None if column is None else column[seen] for column in columns))  # type: ignore[arg-type]
    assert found == pytest.approx(metric.compute(), abs=1e-6)


def test_the_order_of_rows_does_not_matter() -> None:
    keys, scores, values, observed = log(5)
    shuffle = np.random.default_rng(0).permutation(len(keys))
    found = []
    for rows in (np.arange(len(keys)), shuffle):
        groups = Groups.of(keys[rows])
        found.append(found_by(groups, ndcg_target(groups, values[rows], observed[rows], 3), scores[rows]))
    assert found[0] == pytest.approx(found[1], abs=1e-12)


def test_perfect_worst_and_undefined() -> None:
    groups, all_of = Groups.of(np.array([1, 1, 1, 2])), np.ones(4, np.bool_)
    values = np.array([3.0, 2.0, 0.0, 5.0])
    target = ndcg_target(groups, values, all_of, 10)
    assert found_by(groups, target, values) == 1.0  # the group of one row does not count
    binary = gauc_target(groups, values > 1, all_of)
    assert found_by(groups, binary, values) == 1.0 and found_by(groups, binary, -values) == 0.0
    assert found_by(groups, binary, np.zeros(4)) == 0.5
    assert math.isnan(found_by(groups, ndcg_target(groups, 0 * values, all_of, 10), values))
    assert math.isnan(found_by(groups, gauc_target(groups, values > 9, all_of), values))
