"""Numbers: what each encoding computes, what is imputed, and that neither chunks nor extreme values change it."""

import itertools
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.numeric import LARGEST, LIMIT, SAMPLE, DistinctFloats, NumericEncoder, NumericFitter, finite_floats
from polytask.data.sampling import StreamSample
from polytask.data.vocabulary import MISSING, RESERVED, UNSEEN


def fitted(values, encoding="auto", impute="median", pieces=1):
    array = values if isinstance(values, pa.Array) else pa.array(values)
    fitter = NumericFitter(encoding, impute)
    bounds = np.linspace(0, len(array), pieces + 1).astype(int)
    for start, stop in itertools.pairwise(bounds.tolist()):
        fitter.update(array.slice(start, stop - start))
    return fitter.finish("x")


def scaled(encoder, values):
    return encoder.encode(pa.array(values))[0][0]


def test_robust_scaling_is_median_and_quartiles():
    values = np.random.default_rng(0).normal(50.0, 4.0, 20_000)
    encoder = fitted(values, "robust")
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    expected = (values - middle) / ((high - low) / 1.349)
    inputs, ids, missing = encoder.encode(pa.array(values))
    assert inputs[0].dtype == np.float32 and np.allclose(inputs[0], expected, atol=1e-5)
    assert ids == [] and missing == 0 and encoder.numerics == ("x",) and encoder.id_rows == {}
    assert abs(inputs[0].std() - 1.0) < 0.02


def test_scaled_values_are_clipped():
    encoder = fitted(np.random.default_rng(0).normal(size=1_000), "robust")
    assert scaled(encoder, [1e9, -1e9, 1e149, -1e300]).tolist()[:3] == [LIMIT, -LIMIT, LIMIT]


@pytest.mark.parametrize(("impute", "fill"), [("median", 3.0), ("mean", 4.0), ("zero", 0.0)])
@pytest.mark.parametrize("encoding", ["auto", "robust", "quantile", "piecewise", "periodic"])
def test_missing_and_infinite_values_are_imputed_and_counted(impute, fill, encoding):
    encoder = fitted([1.0, 2.0, 3.0, 4.0, 10.0, None, float("nan"), float("inf"), float("-inf")], encoding, impute)
    assert encoder.impute == fill
    inputs, ids, missing = encoder.encode(pa.array([None, float("nan"), float("inf"), -float("inf"), fill, 2.0]))
    assert missing == 4
    assert np.isfinite(inputs[0]).all() and (inputs[0][:4] == inputs[0][4]).all()
    if encoding == "auto":
        assert not encoder.flag_missing and all((column[:4] == MISSING).all() for column in ids)
        assert all((column[4:] != MISSING).all() for column in ids)
    else:
        assert encoder.numerics == ("x", "x:missing") and inputs[1].tolist() == [1, 1, 1, 1, 0, 0]


def test_no_flag_without_missing_values_in_training():
    encoder = fitted([1.0, 2.0, 3.0], "robust")
    inputs, _, missing = encoder.encode(pa.array([None, 1.0]))
    assert len(inputs) == 1 and missing == 1 and inputs[0][0] == 0.0  # the median


def test_heavy_tails_are_compressed_by_asinh():
    rng = np.random.default_rng(0)
    money = np.where(rng.random(50_000) < 0.5, 0.0, np.exp(rng.normal(6.0, 2.5, 50_000)))
    encoder = fitted(money)
    assert encoder.unit > 0.0
    expected = (np.arcsinh(money / encoder.unit) - encoder.location) / encoder.spread
    assert np.allclose(scaled(encoder, money), np.clip(expected, -LIMIT, LIMIT), atol=1e-5)
    assert abs(scaled(encoder, money)).max() < LIMIT
    assert fitted(rng.normal(size=50_000)).unit == 0.0
    assert fitted(money, "robust").unit == 0.0


def test_bins_hold_equal_shares_and_split_where_training_did():
    values = np.random.default_rng(0).gamma(2.0, size=64_000)
    encoder = fitted(values)
    bins = encoder.encode(pa.array(values))[1][0]
    assert encoder.id_rows["x:bin"] == RESERVED + 64
    counts = np.bincount(bins, minlength=66)
    assert counts[:2].tolist() == [0, 0] and counts[2:].min() > 800 and counts[2:].max() < 1_200
    assert (np.diff(bins[np.argsort(values)]) >= 0).all()
    edge = encoder.edges[10]
    assert encoder.encode(pa.array([np.nextafter(edge, -1), edge, -1e9, 1e9]))[1][0].tolist() == [12, 13, 2, 65]


def test_repeated_values_get_rows_of_their_own():
    rng = np.random.default_rng(0)
    amounts = np.array([0.0, 15_024.0, 7_298.0, 99_999.0])
    values = np.concatenate([amounts[rng.integers(0, 4, 5_000)], rng.random(500)])
    encoder = fitted(values)
    assert encoder.exact == (0.0, 7_298.0, 15_024.0, 99_999.0)
    _, ids, _ = encoder.encode(pa.array([15_024.0, -0.0, 15_025.0, None, 99_999.0]))
    assert ids[1].tolist() == [4, 2, UNSEEN, MISSING, 5]
    assert encoder.id_rows["x:value"] == RESERVED + 4
    assert fitted(rng.random(5_000)).exact == ()
    assert fitted(np.concatenate([np.zeros(400), rng.random(600)])).exact == ()  # most rows are continuous


def test_a_constant_column_and_one_without_values():
    for value in (0.0, 0.1, -7.0, 1e140):
        for encoding in ("auto", "robust", "quantile", "piecewise", "periodic"):
            encoder = fitted([value] * 1_000, encoding)
            inputs, _, _ = encoder.encode(pa.array([value, value + 1.0, None]))
            assert inputs[0][0] == inputs[0][2] and np.isfinite(inputs[0]).all()
            assert abs(inputs[0][0]) < 1e-6, (value, encoding)
    for array in (pa.nulls(5), pa.array([np.nan, np.inf, None]), pa.array([], pa.float64())):
        encoder = fitted(array)
        inputs, ids, missing = encoder.encode(pa.array([5.0, None]))
        assert np.isfinite(inputs[0]).all() and ids == [] and missing == 1


def test_quantile_encoding_gives_normal_scores():
    values = np.random.default_rng(0).exponential(size=50_001)
    encoder = fitted(values, "quantile")
    found = scaled(encoder, values)
    order = np.argsort(values)
    assert (np.diff(found[order]) >= 0).all()
    for share in (0.005, 0.1, 0.5, 0.9, 0.995):
        expected = NormalDist().inv_cdf(share)
        assert abs(found[order][int(share * 50_000)] - expected) < 0.01
    assert scaled(encoder, [-1e9, 1e9]).tolist() == pytest.approx([-3.0, 3.0], abs=0.01)


def test_quantile_encoding_puts_a_heap_of_equal_values_in_its_middle():
    values = np.concatenate([np.zeros(600), np.linspace(1.0, 2.0, 400)])
    encoder = fitted(values, "quantile")
    assert scaled(encoder, [0.0])[0] == pytest.approx(NormalDist().inv_cdf(0.3), abs=0.01)
    assert scaled(encoder, [1.5])[0] == pytest.approx(NormalDist().inv_cdf(0.8), abs=0.01)


def test_piecewise_knots_are_scaled_quantiles():
    values = np.random.default_rng(0).normal(3.0, 2.0, 30_000)
    encoder = fitted(values, "piecewise")
    assert len(encoder.knots) == 24 and (np.diff(encoder.knots) > 0).all()
    at = scaled(encoder, np.quantile(values, np.linspace(0, 1, 24)))
    assert np.allclose(at, encoder.knots, atol=1e-5)
    assert fitted([1.0, 1.0, 1.0, 2.0] * 50, "piecewise").knots == pytest.approx(tuple(scaled(
        fitted([1.0, 1.0, 1.0, 2.0] * 50, "piecewise"), [1.0, 2.0]
    )))  # fmt: skip


@pytest.mark.parametrize("encoding", ["auto", "robust", "quantile", "piecewise", "periodic"])
@pytest.mark.parametrize("impute", ["median", "mean"])
def test_the_fit_does_not_depend_on_how_rows_are_cut(encoding, impute):
    rng = np.random.default_rng(0)
    values = rng.choice([0.0, -0.0, 2.5, 100.0], 9_000)
    values[rng.random(9_000) < 0.3] = rng.lognormal(3.0, 3.0)
    array = pa.array(values, mask=rng.random(9_000) < 0.05)
    whole = fitted(array, encoding, impute)
    assert whole == fitted(array, encoding, impute, pieces=7) == fitted(array, encoding, impute, pieces=613)


def test_the_fit_does_not_depend_on_chunks_beyond_the_sample_either(monkeypatch):
    monkeypatch.setattr("polytask.data.numeric.SAMPLE", 500)
    values = pa.array(np.random.default_rng(0).normal(size=20_000))
    whole = fitted(values, "auto", "mean")
    assert whole == fitted(values, "auto", "mean", pieces=11) == fitted(values, "auto", "mean", pieces=401)
    assert abs(whole.location) < 0.15 and abs(whole.spread - 1.0) < 0.15


def test_integers_near_two_to_the_53_and_of_all_widths():
    values = 2**53 + np.arange(-1_000, 1_001, dtype=np.int64)
    encoder = fitted(values, "robust")
    assert encoder.location == 2.0**53
    found = scaled(encoder, values)
    assert np.isfinite(found).all() and (np.diff(found.astype(np.float64)) >= 0).all()
    assert abs(found[0] + found[-1]) < 1e-2
    small = fitted(pa.array([1, 2, 3, 4], pa.int64()), "robust")
    for kind in (pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float32(), pa.float16()):
        assert fitted(pa.array([1, 2, 3, 4]).cast(kind), "robust") == small
    assert np.isfinite(scaled(fitted(pa.array([2**64 - 1, 0], pa.uint64()), "robust"), [0.0, 2.0**64])).all()


@given(st.lists(st.floats(width=64), min_size=1, max_size=40), st.lists(st.floats(width=64), min_size=1, max_size=20))
@pytest.mark.parametrize("encoding", ["auto", "robust", "quantile", "piecewise", "periodic"])
def test_no_value_ever_gives_nan_or_a_warning(encoding, trained, rows):
    encoder = fitted(trained, encoding)
    inputs, ids, missing = encoder.encode(pa.array(rows))
    assert all(np.isfinite(column).all() and (np.abs(column) <= LIMIT).all() for column in inputs)
    for name, column in zip(encoder.id_rows, ids, strict=True):
        assert ((column >= 0) & (column < encoder.id_rows[name])).all()
    assert missing == sum(not abs(value) <= LARGEST for value in rows)


def test_sentinels_at_the_end_of_the_float_range_count_as_infinite():
    values, known = finite_floats(pa.array([1.0, 1.7e308, -1e300, 1e140]))
    assert known is not None and known.tolist() == [True, False, False, True] and values[3] == 1e140
    assert finite_floats(pa.array([1.0, 2.0]))[1] is None
    assert fitted([1.0, 2.0, 3.0, 1.7e308], "robust", "mean").impute == 2.0
    float32 = fitted(pa.array([1.0, 2.0, 3.4e38], pa.float32()), "auto", "mean")
    assert np.isfinite(scaled(float32, [3.4e38])).all()


def test_the_sample_is_uniform_bounded_and_independent_of_chunks():
    stream = np.arange(100_000, dtype=np.float64)
    whole, pieces = StreamSample(1_000, seed=3), StreamSample(1_000, seed=3)
    whole.update(stream)
    for part in np.array_split(stream, 333):
        pieces.update(part)
        assert pieces._held <= 2_000
    assert len(whole.ordered()) == 1_000 and (whole.ordered() == pieces.ordered()).all() and pieces.seen == 100_000
    assert abs(whole.ordered().mean() - 50_000) < 3_500
    other = StreamSample(1_000, seed=4)
    other.update(stream)
    assert len(np.intersect1d(other.ordered(), whole.ordered())) < 50
    assert SAMPLE > 100_000


def test_distinct_values_are_counted_until_there_are_too_many():
    distinct = DistinctFloats(3)
    distinct.update(np.array([1.0, 2.0, 1.0]))
    distinct.update(np.array([2.0, -0.0, 0.0]))
    assert distinct.counted is not None
    assert distinct.counted[0].tolist() == [0.0, 1.0, 2.0] and distinct.counted[1].tolist() == [2, 2, 2]
    distinct.update(np.array([9.0]))
    distinct.update(np.array([1.0]))
    assert distinct.counted is None


@pytest.mark.parametrize(
    "change",
    [
        {"spread": 0.0}, {"spread": -1.0}, {"spread": float("nan")}, {"impute": float("inf")}, {"unit": -1.0},
        {"location": float("nan")}, {"edges": (2.0, 1.0)}, {"exact": (1.0, float("nan"))}, {"knots": (3.0, 1.0)},
    ],
)  # fmt: skip
def test_impossible_encoders_are_refused(change):
    with pytest.raises(ValueError, match="the encoder of 'x'"):
        NumericEncoder(**{"name": "x", "encoding": "auto", "impute": 0.0, "location": 0.0, "spread": 1.0, **change})
