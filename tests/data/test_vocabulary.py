"""Ids stay apart, whatever the type and the path by which they arrive; what training has not seen is told apart too."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.counting import VocabularyCounter, count_integers
from polytask.data.keys import as_text, integer_keys, keys_of_text
from polytask.data.vocabulary import MISSING, RESERVED, UNSEEN, HashBuckets, Vocabulary

INT64 = st.integers(-(2**63), 2**63 - 1)


def fitted(*arrays, text=False, **limits):
    counter = VocabularyCounter(text=text)
    for array in arrays:
        counter.update(array)
    return counter.finish(**limits)


def reference(values, rows):
    """What an encoder should give, by a Python dictionary."""
    known = {value: RESERVED + row for row, value in enumerate(values)}
    return [MISSING if row is None else known.get(row, UNSEEN) for row in rows]


def test_neighbours_beyond_float32_and_float64_stay_different():
    for kind, low in ((pa.int32(), 2**24), (pa.int64(), 2**53), (pa.uint64(), 2**63), (pa.int64(), -(2**53))):
        values = pa.array([low, low + 1, low + 2], kind)
        vocabulary = fitted(values)
        assert vocabulary.encode(values).tolist() == [2, 3, 4], (kind, low)
        assert vocabulary.encode(pa.array([low + 1, None], kind)).tolist() == [3, MISSING]


@given(st.lists(INT64, min_size=1, max_size=30), st.lists(st.one_of(st.none(), INT64), max_size=30))
def test_integers_of_any_size_are_looked_up_exactly(trained, rows):
    vocabulary = fitted(pa.array(trained, pa.int64()))
    assert vocabulary.values.to_pylist() == sorted(set(trained))
    asked = [*rows, *trained]
    assert vocabulary.encode(pa.array(asked, pa.int64())).tolist() == reference(sorted(set(trained)), asked)


@given(st.integers(-(2**31), 2**31 - 40), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_the_table_and_the_search_agree_for_32_bits(low, rows):
    values = np.arange(low, low + 40, 3)
    vocabulary = Vocabulary(pa.array(values, pa.int64()))
    assert vocabulary._table is not None
    asked = pa.array([*rows, *values.tolist(), -(2**31), 2**31 - 1], pa.int32())
    by_table = vocabulary.encode(asked)
    assert by_table.tolist() == vocabulary._rows_by_search(asked.to_numpy().astype(np.int64)).tolist()
    assert by_table.tolist() == vocabulary.encode(asked.cast(pa.int64())).tolist()
    assert by_table.tolist() == reference(values.tolist(), asked.to_pylist())


def test_a_table_that_begins_near_the_end_of_32_bits_does_not_wrap_around():
    vocabulary = Vocabulary(pa.array([2**31 - 1, 2**31, 2**31 + 1]))
    asked = pa.array([-(2**31), -(2**31) + 1, 2**31 - 1], pa.int32())  # equal to known ids modulo 2^32
    assert vocabulary.encode(asked).tolist() == [UNSEEN, UNSEEN, 2]
    low = Vocabulary(pa.array([-(2**63), -(2**63) + 5]))
    assert low.encode(pa.array([2**63 - 1, -(2**63), 0])).tolist() == [UNSEEN, 2, UNSEEN]


def test_sparse_ids_take_the_search_and_dense_ones_the_table():
    rng = np.random.default_rng(0)
    sparse = np.unique(rng.integers(-(2**62), 2**62, 5_000))
    vocabulary = Vocabulary(pa.array(sparse))
    assert vocabulary._table is None
    rows = np.concatenate([rng.permutation(sparse), [1, 2, 3]])
    wanted = np.concatenate([np.searchsorted(sparse, rows[:-3]) + RESERVED, [UNSEEN] * 3])
    assert (vocabulary.encode(pa.array(rows)) == wanted).all()
    assert Vocabulary(pa.array(np.arange(5_000)))._table is not None


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.uint32(), pa.int64(), pa.float64()]
)
def test_the_width_of_a_column_does_not_matter(kind):
    vocabulary = fitted(pa.array([5, 100, 7, 5], pa.int32()))
    assert vocabulary.encode(pa.array([7, 100, None, 6], kind)).tolist() == [3, 4, MISSING, UNSEEN]


def test_integers_that_arrive_as_floats_are_the_same_ids():
    vocabulary = fitted(pa.array([1, 16777216, 16777217, None]))
    floats = pa.array([16777217.0, 16777216.0, None, float("nan"), 1.5, float("inf"), -0.0], pa.float64())
    assert vocabulary.encode(floats).tolist() == [4, 3, MISSING, MISSING, UNSEEN, UNSEEN, UNSEEN]
    assert fitted(pa.array([0.0, float("nan"), 2.5])).encode(pa.array([-0.0, 2.5, 0.0])).tolist() == [2, 3, 2]


def test_unsigned_ids_beyond_63_bits():
    vocabulary = fitted(pa.array([2**64 - 1, 2**63, 3], pa.uint64()))
    asked = pa.array([3, 2**63, 2**64 - 1, 2**63 + 1, None], pa.uint64())
    found = vocabulary.encode(asked).tolist()
    assert sorted(found[:3]) == [2, 3, 4] and found[3:] == [UNSEEN, MISSING]


def test_text_and_its_dictionary_form_agree():
    words = ["b", "a", None, "new", "", "ä"]
    vocabulary = fitted(pa.array(["a", "b", "", "ä", None, "a"]), text=True)
    assert vocabulary.values.to_pylist() == ["", "a", "b", "ä"]
    plain, encoded = pa.array(words), pa.array(words).dictionary_encode()
    assert vocabulary.encode(plain).tolist() == [4, 3, MISSING, UNSEEN, 2, 5]
    assert vocabulary.encode(encoded).tolist() == vocabulary.encode(plain).tolist()
    assert vocabulary.encode(plain.cast(pa.large_string())).tolist() == vocabulary.encode(plain).tolist()
    assert vocabulary.encode(encoded.slice(1, 3)).tolist() == [3, MISSING, UNSEEN]


def test_dictionaries_with_nulls_repeated_and_unused_values():
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 3, 2], pa.int32()), ["a", None, "b", "a", "unused"])
    vocabulary = fitted(array, text=True)
    assert vocabulary.values.to_pylist() == ["a", "b"]
    assert vocabulary.encode(array).tolist() == [2, MISSING, MISSING, 2, 3]
    long = pa.DictionaryArray.from_arrays(pa.array([7, None, 99], pa.int32()), [f"w{i}" for i in range(100)])
    assert fitted(long, text=True).values.to_pylist() == ["w7", "w99"]
    assert fitted(long, text=True).encode(long).tolist() == [2, MISSING, 3]
    numbers = pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int32()), pa.array([10, 20]))
    assert fitted(numbers).encode(numbers).tolist() == [3, 2, MISSING]


def test_long_text_vocabularies_are_looked_up_by_hash_with_the_same_result():
    words = pa.array([f"user_{i * 7}" for i in range(5_000)])
    vocabulary = fitted(words, text=True)
    asked = pa.array(["user_7", None, "user_8", "", "user_34993"])
    assert len(words) > 2 * len(asked)
    by_hash = vocabulary.encode(asked)
    assert vocabulary._hashed is not None and "_hashed" in vocabulary.__dict__
    padded = pa.concat_arrays([asked, pa.array(["x"] * 5_000)])
    assert by_hash.tolist() == vocabulary.encode(padded)[:5].tolist()
    assert by_hash.tolist() == reference(vocabulary.values.to_pylist(), asked.to_pylist())


def test_text_where_numbers_were_trained():
    vocabulary = fitted(pa.array([7, -3, 2**63 - 1, 1234567890123456789]))
    words = ["7", "-3", "9223372036854775807", "1234567890123456789", "seven", "7.0", None, "9223372036854775808"]
    rows = [3, 2, 5, 4, UNSEEN, UNSEEN, MISSING, UNSEEN]
    assert vocabulary.encode(pa.array(words)).tolist() == rows
    assert vocabulary.encode(pa.array(words).dictionary_encode()).tolist() == rows
    # the smallest integer is an id like any other, not a mark for "unreadable"
    assert fitted(pa.array([-(2**63)])).encode(pa.array(["x"])).tolist() == [UNSEEN]


def test_numbers_where_text_was_trained():
    vocabulary = fitted(pa.array(["7", "0.5", "true"]), text=True)
    assert vocabulary.encode(pa.array([7, 8, None])).tolist() == [3, UNSEEN, MISSING]
    assert vocabulary.encode(pa.array([7.0, 0.5, float("nan")])).tolist() == [3, 2, MISSING]
    assert vocabulary.encode(pa.array([True, False])).tolist() == [4, UNSEEN]
    large = fitted(pa.array(["1000000000000000"]), text=True)
    assert large.encode(pa.array([1e15])).tolist() == [2]


def test_keys_of_text_and_as_text_at_their_limits():
    words = ["0", "-0", "007", "99999999999999999999", "-9223372036854775808", " 1", "+1", ""]
    keys, reads = keys_of_text(pa.array(words))
    assert reads.tolist() == [True, True, True, False, False, False, False, False]
    assert keys[:3].tolist() == [0, 0, 7]
    assert as_text(pa.array([1e300, 2.0**53, -1.25])).to_pylist() == ["1e+300", "9007199254740992", "-1.25"]


def test_booleans_and_times_are_categories():
    assert fitted(pa.array([True, False, None])).encode(pa.array([False, True, None])).tolist() == [2, 3, MISSING]
    assert fitted(pa.array([True, False])).encode(pa.array([0, 1, 2])).tolist() == [2, 3, UNSEEN]
    days = [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2, 3), None, dt.datetime(1950, 6, 1)]
    vocabulary = fitted(pa.array(days, pa.timestamp("ms")))
    for kind in (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms", "Europe/Rome")):
        assert vocabulary.encode(pa.array(days, kind)).tolist() == [3, 4, MISSING, 2], kind
    assert vocabulary.encode(pa.array([dt.date(2024, 1, 1), None], pa.date32())).tolist() == [3, MISSING]
    assert vocabulary.encode(pa.array([dt.date(1950, 6, 1)], pa.date64())).tolist() == [2]


def test_all_null_columns():
    empty = fitted(pa.nulls(3))
    assert empty.rows == RESERVED
    assert empty.encode(pa.nulls(2)).tolist() == [MISSING, MISSING]
    assert empty.encode(pa.array([5, None])).tolist() == [UNSEEN, MISSING]
    assert empty.encode(pa.array(["a"])).tolist() == [UNSEEN]
    words = fitted(pa.array(["a"]), text=True)
    assert words.encode(pa.nulls(1)).tolist() == [MISSING]
    assert words.encode(pa.array([], pa.string())).tolist() == []


def test_min_count_and_max_vocabulary():
    array = pa.array([5, 5, 5, 9, 9, 1, 1, 7])
    assert fitted(array, min_count=2).values.to_pylist() == [1, 5, 9]
    assert fitted(array, max_vocabulary=2).values.to_pylist() == [1, 5]  # of 1 and 9, equally frequent, the smaller
    assert fitted(array, min_count=3, max_vocabulary=2).values.to_pylist() == [5]
    assert fitted(array, min_count=9).rows == RESERVED
    words = fitted(pa.array(["b", "a", "b"]), pa.array(["c", "a", None]), text=True, min_count=2)
    assert words.values.to_pylist() == ["a", "b"]


def test_counting_is_independent_of_chunks_and_merges_when_much_waits(monkeypatch):
    rng = np.random.default_rng(1)
    keys = np.concatenate([rng.integers(0, 50, 3_000), rng.integers(-(2**60), 2**60, 3_000)])
    whole = fitted(pa.array(keys), min_count=2)
    monkeypatch.setattr("polytask.data.counting._PENDING", 100)
    pieces = fitted(*(pa.array(part) for part in np.array_split(keys, 37)), min_count=2)
    values, counts = np.unique(keys, return_counts=True)
    assert len(values) > 3_000
    assert whole.values.to_pylist() == values[counts >= 2].tolist() == pieces.values.to_pylist()


def test_counting_many_rows_of_few_values_stays_small():
    counter = VocabularyCounter(text=False)
    for _ in range(300):
        counter.update(pa.array(np.arange(1_000)))
    assert counter._waiting <= 1 << 16 and sum(len(values) for values, _ in counter._pending) < 100_000
    assert counter.finish(min_count=300).rows == RESERVED + 1_000


@given(st.lists(st.one_of(st.integers(-50, 50), INT64), max_size=60))
def test_count_integers_is_unique_with_counts(values):
    keys = np.array(values, dtype=np.int64)
    found, counts = count_integers(keys)
    expected, expected_counts = np.unique(keys, return_counts=True)
    assert found.tolist() == expected.tolist() and counts.tolist() == expected_counts.tolist()


def test_extended_keeps_old_rows():
    old = fitted(pa.array([3, 9]))
    longer = old.extended(fitted(pa.array([1, 9, 4])))
    assert longer.encode(pa.array([3, 9])).tolist() == old.encode(pa.array([3, 9])).tolist()
    assert longer.values.to_pylist() == [3, 9, 1, 4]
    assert longer.encode(pa.array([1, 4, 5])).tolist() == [4, 5, UNSEEN]


def test_hashing_agrees_over_types_and_marks_what_is_missing():
    space = HashBuckets(1_000, text=False)
    ids = space.encode(pa.array([16777216, 16777217, None]))
    assert ids[0] != ids[1] and ids[2] == MISSING and (ids[:2] >= RESERVED).all()
    assert space.rows == 1_002
    assert space.encode(pa.array([16777216.0, float("nan"), None])).tolist() == [ids[0], MISSING, MISSING]
    assert space.encode(pa.array(["16777217", "x", None])).tolist() == [ids[1], UNSEEN, MISSING]
    words = HashBuckets(1_000, text=True)
    encoded = pa.array(["a", None, "17", "a"]).dictionary_encode()
    assert words.encode(encoded).tolist() == words.encode(encoded.dictionary_decode()).tolist()
    assert words.encode(pa.array([17, 17.0]))[0] == words.encode(encoded)[2] == words.encode(pa.array([17.0]))[0]
    assert words.encode(encoded)[1] == MISSING
    stamp = dt.datetime(2024, 5, 1)
    assert len({int(space.encode(pa.array([stamp], pa.timestamp(unit)))[0]) for unit in ("s", "ms", "us", "ns")}) == 1


def test_hash_buckets_are_used_evenly_and_never_change():
    ids = HashBuckets(16, text=False).encode(pa.array(np.arange(16_000)))
    counts = np.bincount(ids, minlength=18)
    assert counts[:2].sum() == 0 and counts[2:].min() > 850 and counts[2:].max() < 1_150
    assert HashBuckets(1_000).encode(pa.array(["a", "b"])).tolist() == [836, 775]
    assert HashBuckets(1_000).encode(pa.array([1, 2])).tolist() == [432, 859]


def test_integer_keys_are_not_copied_where_nothing_changes():
    array = pa.array([1, 2, 3])
    assert np.shares_memory(integer_keys(array)[0], array.to_numpy())
    with pytest.raises(ValueError, match="read-only"):
        integer_keys(array)[0][0] = 5
