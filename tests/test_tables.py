"""Opening tables: which rows form which part, and what every column becomes."""

import datetime as dt
import functools
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.config import parse_config
from polytask.data import named, simulators
from polytask.data.columns import ColumnOptions
from polytask.data.fitting import count_rows, fit
from polytask.errors import UserError
from polytask.tables import open_tables

ROWS = 2_000
TASKS = {"buy": {"kind": "binary", "label": "bought", "where": "click == 1", "weight": "w", "group": "user_id"}}


def table(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "row_id": np.arange(rows),
            "user_id": rng.integers(10**6, 10**6 + 300, rows),
            "age": rng.normal(40, 10, rows),
            "city": np.array(["Rome", "Oslo"])[rng.integers(0, 2, rows)],
            "code": np.array(["1", "2", "30"])[rng.integers(0, 3, rows)],
            "tags": np.array(["a|b", "b", ""])[rng.integers(0, 3, rows)],
            "time_ms": np.sort(rng.integers(1_650_000_000_000, 1_660_000_000_000, rows)),
            "started": rng.integers(1_650_000_000, 1_660_000_000, rows),
            "day": [dt.date(2024, 1, 1 + number % 28) for number in range(rows)],
            "part": np.array(["train", "dev", "test"])[rng.choice(3, rows, p=[0.7, 0.2, 0.1])],
            "click": rng.integers(0, 2, rows),
            "bought": rng.integers(0, 2, rows),
            "w": rng.random(rows),
            "secret": rng.random(rows),
        }
    )


def opened(data=None, *, tasks=TASKS, features=None, given=None, base=None, **of_data):
    config = parse_config(
        {"data": {"source": "memory.parquet", **of_data}, "tasks": tasks, "features": features or {}},
        components=False,
        relative_to=base,
    )
    return open_tables(config, data, **(given or {}))


def message(*args, **options):
    with pytest.raises(UserError) as caught:
        opened(*args, **options)
    return str(caught.value)


def rows_of(tables):
    return {name: int(count_rows(part).sum()) for name, part in tables.parts.items()}


def ids_of(part):
    return [row for batch in part.scan(["row_id"]) for row in batch.column("row_id").to_pylist()]


def test_by_default_rows_are_divided_by_chance():
    tables = opened(table())
    assert list(tables.parts) == ["train", "validation", "test"]
    counts = rows_of(tables)
    assert sum(counts.values()) == ROWS and 1_500 < counts["train"] < 1_700
    seen = [row for part in tables.parts.values() for row in ids_of(part)]
    assert sorted(seen) == list(range(ROWS))
    assert ids_of(opened(table()).parts["test"]) == ids_of(tables.parts["test"])
    assert ids_of(opened(table(), split={"seed": 1}).parts["test"]) != ids_of(tables.parts["test"])


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ({"by": "hash", "column": "user_id", "validation": 0.2, "test": 0.2}, ["train", "validation", "test"]),
        ({"by": "time", "column": "time_ms", "validation": 0.2, "test": 0.0}, ["train", "validation"]),
        ({"by": "random", "test": 0.0}, ["train", "validation"]),
    ],
)
def test_the_configured_split(split, names):
    tables = opened(table(), split=split)
    assert list(tables.parts) == names and sum(rows_of(tables).values()) == ROWS
    if split["by"] == "time":
        assert max(ids_of(tables.parts["train"])) < min(ids_of(tables.parts["validation"]))


def test_a_split_column_says_the_part_and_is_no_feature():
    values = {"train": ["train"], "validation": ["dev"], "test": ["test"]}
    tables = opened(table(), split={"by": "column", "column": "part", "values": values})
    wanted = {name: table()["part"].to_pylist().count(value[0]) for name, value in values.items()}
    assert rows_of(tables) == wanted
    assert tables.roles["part"] == ColumnOptions("drop")
    assert tables.reasons["part"] == "says which part a row belongs to"
    two = table().filter(pa.compute.not_equal(table()["part"], "test"))
    only = {"train": ["train"], "validation": ["dev"]}
    assert list(opened(two, split={"by": "column", "column": "part", "values": only}).parts) == ["train", "validation"]
    text = message(
        table(), split={"by": "column", "column": "part", "values": {"train": ["train"], "validation": ["v"]}}
    )
    assert "values that belong to no split: 'dev'" in text


def test_given_tables_stand_for_their_part():
    validation, test = table(300, seed=1), table(200, seed=2)
    tables = opened(table(), given={"validation": validation, "test": test})
    assert rows_of(tables) == {"train": ROWS, "validation": 300, "test": 200} and tables.problems == ()
    only = opened(table(), given={"validation": validation})
    assert rows_of(only) == {"train": ROWS, "validation": 300}
    last = opened(table(), given={"test": test})
    counts = rows_of(last)
    assert list(counts) == ["train", "validation", "test"]
    assert counts["test"] == 200 and counts["train"] + counts["validation"] == ROWS
    split = opened(table(), given={"validation": validation}, split={"by": "hash", "column": "user_id", "test": 0.25})
    counts = rows_of(split)
    assert counts["validation"] == 300 and counts["train"] + counts["test"] == ROWS and counts["test"] > 300


def test_a_split_that_nobody_needs_is_a_warning():
    tables = opened(table(), given={"validation": table(300), "test": table(200)}, split={"by": "random"})
    assert [str(problem) for problem in tables.problems] == [
        "data.split: is not used: validation and test rows have tables of their own; remove it, or one of the tables"
    ]
    assert tables.problems[0].severity == "warning"


def test_without_rows_for_validation_nothing_is_opened():
    assert message(table(), split={"validation": 0.0}).startswith(
        "data.split: no row is left for validation, which decides when to stop; give it a share or values, or name"
    )
    tables = opened(table(), split={"validation": 0.0, "test": 0.2}, given={"validation": table(50)})
    assert list(tables.parts) == ["train", "validation", "test"]


def test_files_are_relative_to_the_configuration(tmp_path):
    for name, rows in (("a", 400), ("b", 300), ("v", 50), ("t", 40)):
        pq.write_table(table(rows), tmp_path / f"{name}.parquet")
    tables = opened(source="a.parquet", validation="v.parquet", test="t.parquet", base=tmp_path)
    assert rows_of(tables) == {"train": 400, "validation": 50, "test": 40}
    several = opened(source=["a.parquet", "b.parquet"], validation="v.parquet", base=tmp_path)
    assert rows_of(several) == {"train": 700, "validation": 50}
    # a table in memory goes before a file
    mixed = opened(table(100), source="a.parquet", validation="v.parquet", base=tmp_path, given={"test": table(60)})
    assert rows_of(mixed) == {"train": 100, "validation": 50, "test": 60}


def test_all_tables_that_cannot_be_opened_are_named_at_once(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    text = message(source="none.parquet", validation="bad.parquet", test="gone.csv", base=tmp_path)
    for part in ("3 problems", "none.parquet", "is not a Parquet file", "gone.csv"):
        assert part in text, text


def test_labels_keys_and_dropped_columns_are_no_features():
    tables = opened(table(), keys=["row_id"], drop=["secret"])
    kinds = {name: role.kind for name, role in tables.roles.items()}
    assert [name for name, kind in kinds.items() if kind == "drop"] == ["row_id", "click", "bought", "w", "secret"]
    reasons = {name: tables.reasons[name] for name in ("row_id", "click", "bought", "w", "secret")}
    assert reasons == {
        "row_id": "key",
        "click": "sample space of buy",
        "bought": "label of buy",
        "w": "sample weight of buy",
        "secret": "data.drop",
    }
    assert kinds["user_id"] == "categorical"  # the group is a feature as well
    assert tables.keys == ("row_id",) and tables.labels[0].where == "click == 1"
    assert set(tables.reasons) == set(kinds) == set(table().column_names)


def test_columns_of_an_expression_are_no_features_unless_asked_for():
    tasks = {"adult": {"kind": "binary", "label": "age >= 18 and city == 'Rome'"}}
    assert opened(table(), tasks=tasks).roles["age"].kind == "drop"
    insisted = opened(table(), tasks=tasks, features={"age": {"kind": "numeric"}, "city": {"min_count": 2}})
    assert insisted.roles["age"].kind == "numeric" and insisted.reasons["age"] == "asked for"
    assert insisted.roles["city"].kind == "drop"  # an option alone does not make it a feature


def test_roles_are_inferred_and_the_configuration_beats_them():
    tables = opened(table())
    kinds = {name: role.kind for name, role in tables.roles.items() if role.kind != "drop"}
    assert kinds == {
        "user_id": "categorical", "age": "numeric", "city": "categorical", "code": "categorical",
        "tags": "categorical", "time_ms": "datetime", "started": "numeric", "day": "datetime",
        "part": "categorical", "secret": "numeric",
    }  # fmt: skip
    assert tables.roles["time_ms"].unit == "ms" and tables.roles["day"].unit is None
    assert tables.reasons["city"] == "2 distinct strings"
    features = {
        "defaults": {"min_count": 3, "impute": "mean"},
        "code": {"kind": "numeric", "encoding": "robust"},
        "tags": {"separator": "|"},
        "started": {"kind": "datetime"},
        "user_id": {"hash_buckets": 64},
        "city": {"vocabulary": "places", "max_vocabulary": 5},
        "age": {"kind": "drop"},
        "secret": {"encoding": "quantile", "impute": "zero"},
    }
    roles = opened(table(), features=features).roles
    assert roles["code"] == ColumnOptions("numeric", encoding="robust", min_count=3, impute="mean")
    assert (roles["tags"].kind, roles["tags"].separator) == ("sequence", "|")
    assert (roles["started"].kind, roles["started"].unit) == ("datetime", "s")
    assert (roles["user_id"].hash_buckets, roles["user_id"].min_count) == (64, 1)
    assert (roles["city"].vocabulary, roles["city"].max_vocabulary, roles["city"].min_count) == ("places", 5, 3)
    assert roles["age"] == ColumnOptions("drop", min_count=3, impute="mean")
    assert (roles["secret"].encoding, roles["secret"].impute) == ("quantile", "zero")


def test_a_unit_makes_numbers_date_times():
    counts = table().append_column("when", pa.array([None, *(float(1_650_841_230 + i) for i in range(1, ROWS))]))
    roles = opened(counts, features={"when": {"unit": "ms"}, "time_ms": {"unit": "us"}}).roles
    assert (roles["when"].kind, roles["when"].unit) == ("datetime", "ms")  # said goes before what their size tells
    assert (roles["time_ms"].kind, roles["time_ms"].unit) == ("datetime", "us")
    with pytest.raises(UserError, match='unit belongs to kind = "datetime"'):
        opened(counts, features={"when": {"kind": "numeric", "unit": "ms"}})


def test_mistakes_in_label_and_sample_space_are_told_together():
    text = message(table(), tasks={"buy": {"kind": "binary", "label": "bougth", "where": "agee > 3"}})
    assert "2 problems" in text and "'bougth' does not exist" in text and "'agee' does not exist" in text


def test_text_in_a_numeric_role_is_read_or_refused_with_its_value():
    fine = opened(table(), features={"code": {"kind": "numeric"}})
    encoder = fit(fine.parts["train"], {"code": fine.roles["code"]}, []).preprocessor.columns[0].encoder
    assert encoder.exact == (1.0, 2.0, 30.0)
    wrong = opened(table(), features={"city": {"kind": "numeric"}})
    with pytest.raises(UserError, match=r"column 'city': is numeric, but holds text that is no number .*'(Rome|Oslo)'"):
        fit(wrong.parts["train"], wrong.roles, wrong.labels)


def test_roles_are_judged_on_rows_from_all_over_the_table():
    rows = 100_000
    sorted_table = {
        "country": np.repeat(["it", "no"], rows // 2), "x": np.arange(rows) / 7.0, "y": np.arange(rows) % 2,
        "id": np.arange(rows),
    }  # fmt: skip
    tables = opened(sorted_table, tasks={"y": {"kind": "binary", "label": "y"}})
    assert tables.roles["country"].kind == "categorical" and tables.roles["id"].kind == "drop"
    small = opened(
        {"k": [f"k{n}" for n in range(6_000)], "y": [0, 1] * 3_000}, tasks={"y": {"kind": "binary", "label": "y"}}
    )
    assert small.roles["k"].kind == "drop" and "row key" in small.reasons["k"]  # all rows were looked at


def test_everything_wrong_is_told_at_once():
    text = message(
        table(),
        tasks={
            "buy": {"kind": "binary", "label": "bougth", "weight": "weigth"},
            "spend": {"kind": "regression", "label": "age + ", "group": "usr_id"},
        },
        features={"citty": {"kind": "categorical"}, "tags": {"pooling": "attention", "target": "user"}},
        keys=["rowid"],
        drop=["secrets"],
        split={"by": "hash", "column": "user"},
    )
    for part in (
        "9 problems",
        "features.citty: column 'citty' does not exist; did you mean 'city'?",
        "features.tags.target: column 'user' does not exist",
        "data.drop: column 'secrets' does not exist; did you mean 'secret'?",
        "data.keys: column 'rowid' does not exist; did you mean 'row_id'?",
        "data.split.column: column 'user' does not exist; did you mean 'user_id'",
        "tasks.buy: expression 'bougth': column 'bougth' does not exist; did you mean 'bought'",
        "tasks.buy.weight: column 'weigth' does not exist",
        "tasks.spend: expression 'age + ': cannot be read",
        "tasks.spend.group: column 'usr_id' does not exist; did you mean 'user_id'",
    ):
        assert part in text, text


def test_mistakes_of_columns_and_of_the_split_are_told_together():
    text = message(table(), drop=["nothing"], split={"by": "time", "column": "city"})
    assert "2 problems" in text and "column 'nothing' does not exist" in text and "has no order in time" in text
    lists = table().append_column("list", pa.array([[1]] * ROWS))
    assert "is a list" in message(lists, split={"by": "hash", "column": "list"})


def test_protocols_belong_to_named_data_sets():
    assert "only named data sets have protocols; remove it" in message(protocol="ma-2018", source="x.parquet")


def test_a_simulated_data_set_brings_parts_keys_and_roles(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    small = functools.partial(simulators.ShortVideo, rows=5_000)
    monkeypatch.setattr(simulators, "get", lambda name: small)
    tasks = {"like": {"kind": "binary", "label": "like"}}
    tables = opened(source="simulator:short-video", tasks=tasks)
    prepared = small().prepare()
    assert rows_of(tables) == {"train": 4_000, "validation": 500, "test": 500}
    assert tables.keys == prepared.keys
    for name, kind in prepared.kinds.items():
        assert tables.roles[name].kind == ("drop" if name == "like" else kind)
        assert tables.reasons[name] == ("label of like" if name == "like" else "known of this data set")
    for name, reason in prepared.dropped.items():
        assert tables.roles[name].kind == "drop" and tables.reasons[name] in (reason, "key", "label of like")
    other = opened(source="simulator:short-video", tasks=tasks, split={"by": "random", "test": 0.0, "validation": 0.5})
    counts = rows_of(other)
    assert sum(counts.values()) == 5_000 and list(counts) == ["train", "validation"]
    replaced = opened(source="simulator:short-video", tasks=tasks, given={"test": prepared.validation})
    assert ids(replaced.parts["test"], prepared) == ids(replaced.parts["validation"], prepared)


def ids(part, prepared):
    return [row for batch in part.scan([prepared.keys[0]]) for row in batch.column(0).to_pylist()]


@pytest.mark.skipif("POLYTASK_DATA" not in os.environ, reason="needs the real data in POLYTASK_DATA")
def test_census_income():
    tasks = {"income": {"kind": "binary", "label": "income == '50000+.'"}}
    tables = opened(source="census-income", tasks=tasks)
    prepared = named.get("census-income").prepare()
    assert rows_of(tables) == dict(prepared.rows)
    assert tables.roles["income"].kind == tables.roles["instance_weight"].kind == "drop"
    assert all(tables.roles[name].kind == "drop" for name in prepared.dropped)
    assert tables.roles["capital_gains"].kind == "numeric" and tables.roles["industry_code"].kind == "categorical"
