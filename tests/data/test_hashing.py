"""The hash must never change: pinned values, and a slow reference written from the documented formula."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.hashing import hash_array, hash_rows, splitmix64, unit_interval

M = (1 << 64) - 1


def mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & M
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M
    return x ^ (x >> 31)


def reference(value: bytes | int | None, seed: int) -> int:
    key = mix(seed & M)
    if value is None:
        return mix((key - 1) & M)
    if isinstance(value, int):
        return mix((value & M) ^ key)
    words = [int.from_bytes(value[i : i + 8], "little") for i in range(0, len(value), 8)]
    total = sum(mix(word ^ mix((key + 3 + i) & M)) for i, word in enumerate(words))
    return mix((mix((key + 2) & M) + len(value) + total) & M)


def test_splitmix64_is_the_published_sequence():
    state = (np.arange(3, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    assert [hex(x) for x in splitmix64(state).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_pinned_values():
    assert [hex(x) for x in hash_array(pa.array(["", "a", "user_12345", "Zürich", None])).tolist()] == PINNED_TEXT
    assert [hex(x) for x in hash_array(pa.array([0, 1, -1, 16777217, None]), seed=7).tolist()] == PINNED_INTEGERS
    assert [hex(x) for x in hash_array(pa.array([0.5, 2.0, float("nan"), float("inf")])).tolist()] == PINNED_FLOATS


PINNED_TEXT = [
    "0x1fd1ea3fc07376a7",
    "0xcf5c5a32d13a68ea",
    "0x4ad92c480edcf168",
    "0x569d49cf48cb4e00",
    "0x8b4fda8c892b50e",
]
PINNED_INTEGERS = [
    "0xb8b4c2977eabce45",
    "0x3d41bf495cd3075f",
    "0xa9a96b699dc41760",
    "0x1dbb842a9613929b",
    "0x3d41bf495cd3075f",
]
PINNED_FLOATS = ["0xca7f82a971036486", "0xd7cc9674ff5ffa39", "0x7f0962e7a3349e36", "0x3295dc19a86beaeb"]


@given(st.lists(st.none() | st.text(max_size=40)), st.integers(-(2**63), 2**64))
def test_text_follows_the_documented_formula(values, seed):
    expected = [reference(None if value is None else value.encode(), seed) for value in values]
    assert hash_array(pa.array(values, pa.string()), seed).tolist() == expected
    assert hash_array(pa.array(values, pa.large_string()), seed).tolist() == expected
    assert hash_array(pa.array(values, pa.string()).dictionary_encode(), seed).tolist() == expected


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), st.integers(0, 5))
def test_integers_follow_the_documented_formula(values, seed):
    assert hash_array(pa.array(values, pa.int64()), seed).tolist() == [reference(value, seed) for value in values]


def test_slices_and_long_texts_beside_short_ones():
    texts = ["x" * 100_003, "a", "", "y" * 9, None, "z" * 8]
    whole = hash_array(pa.array(texts, pa.string()))
    assert hash_array(pa.array(["pad", *texts, "pad"]).slice(1, len(texts))).tolist() == whole.tolist()
    assert whole[0] == reference(texts[0].encode(), 0)


def test_more_words_than_are_hashed_at_once(monkeypatch):
    texts = pa.array([f"user-{number:020}" for number in range(50)] + ["w" * 500])
    whole = hash_array(texts)
    monkeypatch.setattr("polytask.data.hashing._WORDS_AT_ONCE", 7)
    assert hash_array(texts).tolist() == whole.tolist()


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.uint64(), pa.float32(), pa.float64()])
def test_one_key_in_any_numeric_type(kind):
    assert hash_array(pa.array([0, 5, None], kind)).tolist() == hash_array(pa.array([0, 5, None], pa.int64())).tolist()


def test_big_ids_stay_different():
    ids = pa.array([16777216, 16777217, 2**63 - 1, 2**63 - 2])
    assert len(set(hash_array(ids).tolist())) == 4
    assert hash_array(pa.array([-0.0])).tolist() == hash_array(pa.array([0])).tolist()


def test_dates_times_booleans_and_all_null():
    days = pa.array([19_000, None], pa.date32())
    assert hash_array(days).tolist() == hash_array(pa.array([19_000, None])).tolist()
    assert hash_array(pa.array([True, False])).tolist() == hash_array(pa.array([1, 0])).tolist()
    assert hash_array(pa.nulls(2)).tolist() == [reference(None, 0)] * 2


def test_nested_columns_are_refused():
    with pytest.raises(TypeError, match="no stable hash for values of type list"):
        hash_array(pa.array([[1]]))


def test_rows_do_not_depend_on_chunks_and_are_even():
    whole = hash_rows(0, 100_000, seed=3)
    assert hash_rows(70, 30, seed=3).tolist() == whole[70:100].tolist()
    places = unit_interval(whole)
    assert places.min() >= 0 and places.max() < 1
    assert np.abs(np.histogram(places, 10, (0, 1))[0] - 10_000).max() < 500


def test_no_collisions_among_similar_texts():
    texts = pa.array([f"{a}_{b}" for a in range(300) for b in range(300)])
    hashes = hash_array(texts)
    assert len(np.unique(hashes)) == len(texts)
    assert np.abs(np.bincount((hashes % np.uint64(16)).astype(int)) - len(texts) / 16).max() < 400
