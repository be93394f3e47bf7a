"""Splits: shares, independence of chunking, stability, and what is refused."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.hashing import hash_rows, unit_interval
from polytask.data.quantiles import from_ordered, select_ordered, to_ordered
from polytask.data.sources import open_source
from polytask.data.splits import SplitSpec, assign_split, fit_split
from polytask.errors import UserError


def assigned(spec, columns, batch_rows=65_536):
    source = open_source(columns)
    split = fit_split(spec, source)
    first, found = 0, []
    for batch in source.scan(batch_rows=batch_rows):
        found.append(assign_split(split, batch, first))
        first += len(batch)
    return split, np.concatenate(found)


def test_random_is_independent_of_chunks_and_has_the_shares():
    columns = {"x": np.arange(100_000)}
    spec = SplitSpec("random", validation=0.2, test=0.1, seed=5)
    _, whole = assigned(spec, columns)
    _, pieces = assigned(spec, columns, batch_rows=777)
    assert whole.dtype == np.uint8 and (whole == pieces).all()
    assert np.allclose(np.bincount(whole) / 100_000, [0.7, 0.2, 0.1], atol=0.005)
    _, other = assigned(SplitSpec("random", validation=0.2, test=0.1, seed=6), columns)
    assert 0.3 < (whole != other).mean() < 0.6
    assert "".join(map(str, whole[:40])) == PINNED_RANDOM


def test_a_larger_validation_share_leaves_the_test_rows_alone():
    columns = {"x": np.arange(10_000)}
    _, small = assigned(SplitSpec("random", validation=0.1, test=0.1), columns)
    _, large = assigned(SplitSpec("random", validation=0.5, test=0.1), columns)
    assert ((small == 2) == (large == 2)).all() and (large[small == 1] == 1).all()


def test_hash_keeps_keys_together_in_any_encoding():
    keys = [f"user{i % 997}" for i in range(5_000)]
    spec = SplitSpec("hash", validation=0.2, test=0.2, column="u")
    _, plain = assigned(spec, {"u": pa.array(keys)})
    _, encoded = assigned(spec, {"u": pa.array(keys).dictionary_encode()}, batch_rows=100)
    assert (plain == encoded).all()
    assert all(len(set(plain[i::997].tolist())) == 1 for i in range(997))
    assert np.allclose(np.bincount(plain) / 5_000, [0.6, 0.2, 0.2], atol=0.05)
    assert "".join(map(str, plain[:40])) == PINNED_HASH


PINNED_RANDOM = "0002000200210020100001002110010100001111"
PINNED_HASH = "1100002112101010020001022202000201000020"


def test_a_sample_drawn_with_the_same_seed_does_not_follow_the_split():
    _, splits = assigned(SplitSpec("random", validation=0.3, test=0.2, seed=9), {"x": np.arange(20_000)})
    sample = unit_interval(hash_rows(0, 20_000, seed=9)) < 0.25
    assert abs(sample[splits == 0].mean() - 0.25) < 0.02


def test_none_trains_on_everything():
    assert assigned(SplitSpec("none"), {"x": [1, 2, 3]})[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "times",
    [
        pa.array(range(100, 0, -1), pa.int16()),
        pa.array(range(2**64 - 1, 2**64 - 101, -1), pa.uint64()),
        pa.array(np.linspace(1.0, -1.0, 100), pa.float32()),
        pa.array([dt.date(2022, 4, 1) - dt.timedelta(days=i) for i in range(100)]),
        pa.array([dt.datetime(1969, 12, 31, 12) - dt.timedelta(seconds=i) for i in range(100)], pa.timestamp("ns")),
    ],
    ids=["int", "uint64", "float", "date", "timestamp"],
)
def test_time_puts_the_newest_rows_last(times):
    split, found = assigned(SplitSpec("time", validation=0.2, test=0.1, column="t"), {"t": times}, batch_rows=13)
    assert found.tolist() == [2] * 10 + [1] * 20 + [0] * 70
    assert split.counts == (70, 20, 10)
    values = times.cast(pa.int64()) if pa.types.is_timestamp(times.type) else times
    if pa.types.is_date(times.type):
        values = times.cast(pa.int32())
    assert (split.validation_from, split.test_from) == (values[29].as_py(), values[9].as_py())


def test_equal_times_stay_together():
    times = [1] * 50 + [2] * 30 + [3] * 20
    split, found = assigned(
        SplitSpec("time", validation=0.1, test=0.1, column="t"), {"t": times[:80] + [2] * 10 + times[90:]}
    )
    assert split.counts == (50, 40, 10) and (split.validation_from, split.test_from) == (2, 3)
    assert found.tolist() == [0] * 50 + [1] * 40 + [2] * 10


def test_time_with_validation_or_test_only():
    times = {"t": list(range(10))}
    assert assigned(SplitSpec("time", 0.3, 0.0, "t"), times)[0].counts == (7, 3, 0)
    assert assigned(SplitSpec("time", 0.0, 0.3, "t"), times)[0].counts == (7, 0, 3)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"t": ["a", "b"]}, "split column 't': is text, which has no order in time; convert it to a date"),
        ({"t": [1.0, None, float("nan"), 2.0]}, "2 rows have no time; fill them"),
        ({"t": [5] * 100}, "no rows are left for train and validation: too many rows share one time"),
        ({"u": [5]}, "'t' does not exist in mapping"),
    ],
)
def test_time_refuses(column, message):
    with pytest.raises(UserError, match=message):
        assigned(SplitSpec("time", column="t"), column)


def test_columns_name_their_split():
    values = pa.array(["train", "val", "test", "train", "validation"]).dictionary_encode()
    split, found = assigned(SplitSpec("column", column="s"), {"s": values}, batch_rows=2)
    assert found.tolist() == [0, 1, 2, 0, 1] and split.counts == (2, 2, 1)
    spec = SplitSpec("column", column="s", train_values=(1, 2), validation_values=(), test_values=(True,))
    with pytest.raises(
        UserError, match=r"2 rows have values that belong to no split: '3' 1, '\(missing\)' 1; add .*split.values.train"
    ):
        assigned(spec, {"s": pa.array([1, 3, None, 2])})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["train", "tset", "tset", None],
            r"3 rows have values .*'tset' 2, '\(missing\)' 1; add them to data.split.values",
        ),
        (["test", "test"], "no row has one of the training values 'train'; found 'test' 2"),
        ([0.5, 1.0], "is double, but must hold text, integers or booleans"),
    ],
)
def test_columns_refuse(values, message):
    with pytest.raises(UserError, match=message):
        assigned(SplitSpec("column", column="s"), {"s": values})


def test_unseen_values_are_refused_later_too():
    split = fit_split(SplitSpec("column", column="s"), open_source({"s": ["train", "test"]}))
    with pytest.raises(UserError, match="'new' 1"):
        assign_split(split, pa.record_batch({"s": ["train", "new"]}), 0)


def test_all_mistakes_of_a_spec_at_once():
    with pytest.raises(UserError) as caught:
        SplitSpec("hsh", validation=-0.1, test=1.5, train_values=("a",), test_values=("a",))
    text = str(caught.value)
    for part in (
        "did you mean 'hash'?",
        "split.validation: must be a share in [0, 1), found -0.1",
        "found 1.5",
        "'a' is named 2",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.5, "test": 0.5}, "leave no rows for training"),
        ({"validation": float("nan")}, "found nan"),
        ({"by": "time"}, "split.column: is needed for a split by time"),
        ({"by": "random", "column": "u"}, "a split by random reads no column"),
    ],
)
def test_impossible_specs(options, message):
    with pytest.raises(UserError, match=message):
        SplitSpec(**options)


def test_lists_cannot_be_keys():
    with pytest.raises(UserError, match="'u' is a list"):
        fit_split(SplitSpec("hash", column="u"), open_source({"u": pa.array([[1], [2]])}))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60), st.data())
def test_selection_agrees_with_sorting(values, data):
    rank = data.draw(st.integers(0, len(values) - 1))
    source = open_source({"x": pa.array([*values, None], pa.int64())})
    found, valid = select_ordered(source, "x", [rank, 0])
    assert valid == len(values)
    assert [from_ordered(value, pa.int64()) for value in found] == [sorted(values)[rank], min(values)]


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=60), st.data())
def test_selection_of_floats(values, data):
    rank = data.draw(st.integers(0, len(values) - 1))
    found, _ = select_ordered(open_source({"x": pa.array(values)}), "x", [rank])
    assert from_ordered(found[0], pa.float64()) == sorted(values)[rank]


def test_types_without_order():
    assert to_ordered(pa.array(["a"])) is None and to_ordered(pa.array([True])) is None
