from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from polytask.config import threshold_rule
from polytask.deciding.thresholds import fit_threshold


def drawn(rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.random(rows).round(2).astype(np.float32)
    return p, (rng.random(rows) < p**2).astype(np.float64), rng.gamma(2.0, size=rows)


def everywhere(p: np.ndarray, y: np.ndarray, w: np.ndarray) -> dict[str, np.ndarray]:
    """What every possible cut gives, by scikit-learn."""
    cuts = np.append(np.unique(p), 2.0)
    said = [(p >= cut).astype(np.float64) for cut in cuts]
    own = {"sample_weight": w, "zero_division": 0.0}
    no = [(w * one * (1 - y)).sum() for one in said]
    return {
        "precision": np.array([precision_score(y, one, **own) for one in said]),
        "recall": np.array([recall_score(y, one, **own) for one in said]),
        "f1": np.array([f1_score(y, one, **own) for one in said]),
        "rate": np.array([(w * one).sum() / w.sum() for one in said]),
        "false_yes": np.array(no),
        "false_no": np.array([(w * (1 - one) * y).sum() for one in said]),
    }


@pytest.mark.parametrize("seed", range(3))
def test_rules_against_all_cuts(seed: int) -> None:
    p, y, w = drawn(seed=seed)
    every = everywhere(p, y, w)
    youden = every["recall"] - every["false_yes"] / (w * (1 - y)).sum()

    def reached(rule: object) -> dict[str, float | None]:
        found = fit_threshold(threshold_rule(rule), p, y, w)
        said = found(p)
        assert found.reached["rows"] == 200
        assert found.reached["precision"] == pytest.approx(precision_score(y, said, sample_weight=w))
        assert found.reached["recall"] == pytest.approx(recall_score(y, said, sample_weight=w))
        return {**found.reached, "met": found.met, "value": found.value}

    assert reached("f1")["f1"] == pytest.approx(every["f1"].max())
    found = fit_threshold("youden", p, y, w)(p)
    assert recall_score(y, found, sample_weight=w) - (w * found * (1 - y)).sum() / (w * (1 - y)).sum() == pytest.approx(
        youden.max()
    )
    enough = every["precision"] >= 0.7
    one = reached({"precision": 0.7})
    assert one["met"] and one["precision"] >= 0.7 and one["recall"] == pytest.approx(every["recall"][enough].max())
    enough = every["recall"] >= 0.8
    one = reached({"recall": 0.8})
    assert one["met"] and one["recall"] >= 0.8 and one["precision"] == pytest.approx(every["precision"][enough].max())
    assert abs(reached({"rate": 0.25})["rate"] - 0.25) == pytest.approx(np.abs(every["rate"] - 0.25).min())
    said = fit_threshold({"cost": (1.0, 5.0)}, p, y, w)(p)
    cost = (w * said * (1 - y)).sum() + 5 * (w * (1 - said) * y).sum()
    assert cost == pytest.approx((every["false_yes"] + 5 * every["false_no"]).min())


def test_a_precision_that_is_nowhere_reached_is_told() -> None:
    p, y = np.array([0.9, 0.8, 0.2, 0.1]), np.array([0.0, 1.0, 1.0, 0.0])
    found = fit_threshold({"precision": 0.99}, p, y, None)
    assert (
        found.met is False and found.reached["precision"] == pytest.approx(2 / 3) and found(p).tolist() == [1, 1, 1, 0]
    )


def test_cuts_say_yes_to_all_or_none_where_that_is_best() -> None:
    p, y = np.array([0.2, 1.0], np.float32), np.array([1.0, 0.0])
    assert fit_threshold({"cost": (1.0, 0.0)}, p, y, None)(p).tolist() == [0, 0]
    assert fit_threshold({"cost": (0.0, 1.0)}, p, y, None)(p).tolist() == [1, 1]
    assert fit_threshold({"recall": 1.0}, p, y, None).value == 0.0


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.integers(0, 5))
def test_a_given_number_is_kept(value: float, seed: int) -> None:
    p, y, w = drawn(50, seed)
    found = fit_threshold(value, p, y, w)
    assert found.value == value and found.met is None
    assert found.reached["rate"] == pytest.approx((w * (p.astype(np.float64) >= value)).sum() / w.sum())
