from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from polytask.data.inference import MOST_BUCKETS, RoleGuess, epoch_unit, infer_roles, looks_like_id

ROWS = 2_000
RNG = np.random.default_rng(0)


def guess(name: str, values: object, kind: pa.DataType | None = None, rows: int | None = None) -> RoleGuess:
    table = pa.table({name: pa.array(values, kind)})
    return infer_roles(table.schema, table, rows=rows)[name]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("age", RNG.integers(0, 91, ROWS), "numeric"),
        ("stars", RNG.integers(1, 6, ROWS), "categorical"),
        ("industry_code", RNG.integers(0, 52, ROWS), "categorical"),
        ("price", RNG.random(ROWS), "numeric"),
        ("user_id", RNG.integers(0, 300, ROWS), "categorical"),
        ("VideoId", RNG.integers(0, 300, ROWS), "categorical"),
        ("flag", RNG.random(ROWS) < 0.5, "boolean"),
        ("city", RNG.choice(["Oslo", "Rome"], ROWS), "categorical"),
        ("hist", [[1, 2], [3]] * (ROWS // 2), "sequence"),
        ("tags", [["a"], []] * (ROWS // 2), "sequence"),
        ("embedding", [[0.5, 1.0]] * ROWS, "drop"),
        ("when", [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)] * (ROWS // 2), "datetime"),
        ("day", [dt.date(2024, 1, 1), dt.date(2024, 1, 2)] * (ROWS // 2), "datetime"),
        ("time_ms", 1_650_000_000_000 + np.arange(ROWS) * 977, "datetime"),
        ("amount", 1_650_000_000_000 + np.arange(ROWS) * 977, "numeric"),
        ("nothing", [None] * ROWS, "drop"),
        ("constant", [3] * ROWS, "drop"),
        ("mostly_missing", [3, None] * (ROWS // 2), "categorical"),
    ],
)
def test_roles_follow_types_values_and_names(name: str, values: object, kind: str) -> None:
    found = guess(name, values)
    assert found.kind == kind, found
    assert found.reason


def test_dictionaries_are_judged_by_their_values() -> None:
    column = pa.chunked_array([pa.array(["a", "b"] * 50).dictionary_encode(), pa.array(["c"] * 50).dictionary_encode()])
    table = pa.table({"city": column})
    assert infer_roles(table.schema, table)["city"] == RoleGuess("categorical", "3 distinct strings")


def test_a_row_key_is_dropped_by_values_when_all_rows_are_seen_and_by_name_otherwise() -> None:
    unique = RNG.permutation(10**6)[:ROWS]
    assert guess("user_id", unique).kind == "drop"
    assert guess("user_id", unique, rows=10 * ROWS).kind == "categorical"  # rare users look unique in a sample
    assert guess("row_id", unique, rows=10 * ROWS).kind == "drop"
    assert guess("amount", unique).kind == "numeric"
    assert guess("position", np.arange(ROWS)).kind == "drop"  # counts the rows, whatever its name
    assert "row key" in guess("uuid", [f"{value:032x}" for value in unique]).reason


def test_free_text_is_no_category() -> None:
    found = guess(
        "review", [f"this is review number {value} and it goes on for quite a while" for value in range(ROWS)]
    )
    assert found.kind == "drop" and "free text" in found.reason


def test_near_unique_ids_are_hashed_only_when_that_is_known() -> None:
    near_unique = np.concatenate([RNG.permutation(10**6)[: ROWS - 100], np.zeros(100, np.int64)])
    assert guess("user_id", near_unique).hash_buckets == 1024
    assert guess("user_id", near_unique, rows=10 * ROWS).hash_buckets is None
    assert guess("user_id", near_unique, rows=1 << 30).hash_buckets == MOST_BUCKETS
    assert guess("user_id", RNG.integers(0, 300, ROWS)).hash_buckets is None


def test_ids_that_pandas_turned_into_floats_stay_ids() -> None:
    assert guess("user_id", [1.0, 2.0, None, 2.0]).kind == "categorical"
    assert guess("user_id", [1.5, 2.0, None]).kind == "numeric"
    assert guess("user_id", [2.0**60, 2.0**61]).kind == "numeric"  # no longer exact


def test_few_rows_prove_nothing() -> None:
    assert guess("city", ["Oslo"] * 3).kind == "categorical"
    assert guess("age", [31]).kind == "categorical"
    assert guess("price", [], pa.float64()).kind == "numeric"


def test_columns_that_the_sample_lacks_are_judged_by_type() -> None:
    schema = pa.schema([("price", pa.float64()), ("city", pa.string()), ("label", pa.int64())])
    found = infer_roles(schema, pa.table({}), skip=["label"])
    assert {name: role.kind for name, role in found.items()} == {"price": "numeric", "city": "categorical"}


def test_units_of_epochs_follow_the_size_of_the_numbers() -> None:
    for unit, scale in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        column = pa.chunked_array([[1_650_000_000 * scale, 1_700_000_000 * scale]])
        assert epoch_unit("created_at", column) == unit
    assert epoch_unit("created_at", pa.chunked_array([[5, 7]])) is None
    assert epoch_unit("created_at", pa.chunked_array([pa.array([], pa.int64())])) is None


@pytest.mark.parametrize("name", ["humid", "paid", "idea", "monkey", "decode_time", "video", "grid", "skip"])
def test_words_that_only_contain_id_are_no_ids(name: str) -> None:
    assert not looks_like_id(name)
