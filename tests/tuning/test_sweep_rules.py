from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.tuning.rules import rungs, stops

CURVES = st.lists(st.lists(st.tuples(st.floats(-1, 1)), min_size=4, max_size=4), min_size=5, max_size=9)


@given(CURVES, st.floats(-1, 1))
def test_the_median_rule_is_a_median(earlier: list[list[tuple[float]]], value: float) -> None:
    rivals = [one[1][0] for one in earlier]
    assert stops("median", [(0.0,), (value,)], earlier, whole=4) == (value < median(rivals))


def test_nothing_is_stopped_early_in_training_without_rivals_or_at_the_end() -> None:
    good, bad = [(1.0,)] * 8, [(0.0,)] * 8
    assert stops("median", bad[:2], [good] * 5, whole=8)
    assert not stops("median", bad[:1], [good] * 5, whole=8)  # before a quarter
    assert not stops("median", bad[:2], [good] * 4, whole=8)
    assert not stops("median", bad[:2], [good] * 4 + [good[:1]], whole=8)  # which did not come so far
    assert not stops("median", bad, [good] * 5, whole=8) and not stops("halving", bad, [good] * 5, whole=8)
    assert not stops("none", bad[:2], [good] * 5, whole=8)


@pytest.mark.parametrize("whole", [1, 2, 3, 9, 10, 100])
def test_rungs_lie_before_the_end(whole: int) -> None:
    assert all(0 < here < whole for here in rungs(whole))


@given(st.lists(st.integers(0, 1000), unique=True, min_size=1, max_size=30))
def test_halving_keeps_the_better_third_of_all_so_far(values: list[int]) -> None:
    for number, value in enumerate(values):
        curve, earlier = [(float(value),)], [[(float(one),)] for one in values[:number]]
        place = sorted(values[: number + 1], reverse=True).index(value)
        assert stops("halving", curve, earlier, whole=9) == (place >= max(1, (number + 1) // 3))
        assert not stops("halving", curve * 2, [one * 2 for one in earlier], whole=9)  # between rungs


@pytest.mark.parametrize("rule", ["median", "halving"])
def test_a_trial_that_is_good_for_one_task_goes_on(rule: str) -> None:
    earlier = [[(0.5, 0.5)] * 3] * 6
    assert stops(rule, [(0.1, 0.1)], earlier, whole=3)  # type: ignore[arg-type]
    assert not stops(rule, [(0.1, 0.9)], earlier, whole=3)  # type: ignore[arg-type]
