from __future__ import annotations

import math

import numpy as np
import pytest

from polytask.comparing.statistics import holm, interval, paired_test, ranks, t_quantile, t_within


def test_an_interval_by_hand() -> None:
    # mean 4, std sqrt(((-2)^2 + 0 + 0 + 2^2) / 3) = 1.632993, t(.975, 3) = 3.182446, over sqrt(4)
    found = interval([2.0, 4.0, 4.0, 6.0])
    assert (found.mean, found.count, found.sign) == (4.0, 4, 1)
    assert found.high - 4.0 == pytest.approx(3.182446 * 1.632993 / 2, rel=1e-6)
    assert 4.0 - found.low == pytest.approx(found.high - 4.0)


@pytest.mark.parametrize(
    ("values", "sign"), [([1.0, 1.1, 0.9], 1), ([-1.0, -1.1, -0.9], -1), ([-1.0, 1.0, 0.5], 0), ([5.0], 0), ([], 0)]
)
def test_a_sign_is_given_only_where_the_interval_excludes_zero(values: list[float], sign: int) -> None:
    assert interval(values).sign == sign


def test_one_value_has_no_interval_and_missing_ones_are_left_out() -> None:
    alone = interval([3.0, math.nan])
    assert (alone.mean, alone.count) == (3.0, 1) and math.isnan(alone.low) and math.isnan(alone.high)
    assert interval([1.0, math.nan, 3.0]) == interval([1.0, 3.0])
    assert math.isnan(interval([math.nan]).mean)


def test_a_paired_test_by_hand() -> None:
    # differences 1, 2, 3: t = 2 sqrt(3); with two degrees of freedom P(|T| > t) = 1 - t / sqrt(2 + t^2)
    t = 2 * math.sqrt(3)
    assert paired_test([1.0, 2.0, 3.0]) == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert paired_test([-1.0, -2.0, -3.0]) == pytest.approx(paired_test([1.0, 2.0, 3.0]))


def test_differences_without_spread() -> None:
    assert paired_test([0.0, 0.0, 0.0]) == 1.0
    assert paired_test([0.5, 0.5, 0.5]) == 0.0
    assert math.isnan(paired_test([0.5]))


def test_holm_by_hand() -> None:
    # sorted .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, .04 -> the last is raised to .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_what_has_no_value() -> None:
    found = holm([0.01, math.nan, 0.02])
    assert found[0] == 0.02 and math.isnan(found[1]) and found[2] == 0.02


def test_ranks_share_places() -> None:
    values = np.array([0.5, 0.9, 0.5, np.nan, 0.1])
    assert np.array_equal(ranks(values, higher_is_better=True), [2.5, 1.0, 2.5, np.nan, 4.0], equal_nan=True)
    assert np.array_equal(ranks(values, higher_is_better=False), [2.5, 4.0, 2.5, np.nan, 1.0], equal_nan=True)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 29, 100])
def test_t_is_that_of_scipy(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is in the extra 'baselines'")
    for probability in (0.5, 0.6, 0.9, 0.975, 0.9995):
        assert t_quantile(probability, freedom) == pytest.approx(
            stats.t.ppf(probability, freedom), rel=1e-10, abs=1e-12
        )
    for t in (0.0, 0.3, 2.0, -2.0, 8.0):
        assert t_within(t, freedom) == pytest.approx(1 - 2 * stats.t.sf(abs(t), freedom), abs=1e-13)


def test_the_textbook_table() -> None:
    table = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262}
    assert {freedom: round(t_quantile(0.975, freedom), 3) for freedom in table} == table
