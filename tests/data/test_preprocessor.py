"""From raw rows to a block: fitting, layout of the fused table, counts, refusals, and the way to disk."""

import copy
import datetime as dt
import json
import random

import numpy as np
import pyarrow as pa
import pytest

from polytask.data.columns import ColumnOptions
from polytask.data.fitting import count_rows, fit
from polytask.data.parts import Part
from polytask.data.preprocessor import Counts
from polytask.data.sources import open_source
from polytask.data.splits import SplitSpec, fit_split
from polytask.data.vocabulary import MISSING, RESERVED, UNSEEN, HashBuckets
from polytask.errors import UserError
from polytask.serving.preprocessing import from_json, read_vocabularies, to_json, write_vocabularies
from polytask.specs import LabelSpec, SequenceSpec

LABELS = (
    LabelSpec("buy", "binary", "bought", where="click == 1", weight="w", group="user"),
    LabelSpec("tier", "multiclass", "tier"),
    LabelSpec("spend", "regression", "spend", weight="w"),
)
OPTIONS = {
    "user": ColumnOptions("categorical", vocabulary="ids"),
    "age": ColumnOptions("numeric"),
    "price": ColumnOptions("numeric", encoding="piecewise"),
    "load": ColumnOptions("numeric", encoding="quantile", impute="zero"),
    "phase": ColumnOptions("numeric", encoding="periodic"),
    "plain": ColumnOptions("numeric", encoding="robust", impute="mean"),
    "flag": ColumnOptions("boolean"),
    "when": ColumnOptions("datetime", unit="s"),
    "city": ColumnOptions("categorical", min_count=2),
    "agent": ColumnOptions("categorical", hash_buckets=50),
    "history": ColumnOptions("sequence", vocabulary="ids", pooling="attention", target="user"),
    "tags": ColumnOptions("sequence", separator="|", pooling="sum"),
    "unused": ColumnOptions("drop"),
}


def raw(rows=400, seed=0):
    rng = np.random.default_rng(seed)

    def holes(values, share=0.1):
        return pa.array(values, mask=rng.random(rows) < share)

    return pa.table(
        {
            "user": holes(rng.integers(2**40, 2**40 + 30, rows)),
            "age": holes(rng.integers(18, 30, rows).astype(np.float64)),
            "price": holes(rng.lognormal(3.0, 2.0, rows)),
            "load": rng.exponential(size=rows).astype(np.float32),
            "phase": rng.normal(size=rows),
            "plain": rng.normal(size=rows).astype(np.float32),
            "flag": holes(rng.random(rows) < 0.5),
            "when": holes(rng.integers(1_600_000_000, 1_700_000_000, rows)),
            "city": holes(
                np.array(["Rome", "Oslo", "Bonn", f"once{seed}"])[np.append(rng.integers(0, 3, rows - 1), 3)]
            ),
            "agent": holes(np.array([f"agent{number}" for number in rng.integers(0, 200, rows)])),
            "history": [rng.integers(2**40, 2**40 + 40, size).tolist() for size in rng.integers(0, 5, rows)],
            "tags": ["|".join(rng.choice(["x", "y", "z"], size)) for size in rng.integers(0, 4, rows)],
            "unused": np.arange(rows),
            "click": rng.integers(0, 2, rows),
            "bought": holes(rng.integers(0, 2, rows)),
            "tier": holes(np.array(["gold", "silver", "tin"])[rng.integers(0, 3, rows)]),
            "spend": holes(rng.normal(5.0, 2.0, rows)),
            "w": rng.random(rows),
        }
    )


def fitted(table=None, options=None, labels=LABELS, **more):
    table = raw() if table is None else table
    return fit(Part(open_source(table)), OPTIONS if options is None else options, labels, **more).preprocessor


def batches(table):
    return list(open_source(table).scan())


def same_blocks(left, right):
    for name in ("ids", "numeric", "labels", "observed"):
        assert (getattr(left, name) == getattr(right, name)).all(), name
    for name in ("sequences", "weights", "groups"):
        ours, theirs = getattr(left, name), getattr(right, name)
        assert ours.keys() == theirs.keys()
        for key in ours:
            for one, other in zip(as_tuple(ours[key]), as_tuple(theirs[key]), strict=True):
                assert np.array_equal(one, other), (name, key)


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def message(*args, **options):
    with pytest.raises(UserError) as caught:
        fitted(*args, **options)
    return str(caught.value)


def test_the_layout_of_the_fused_table():
    preprocessor = fitted()
    spec, spans = preprocessor.spec, preprocessor.space_rows()
    ends = [0, *(start + rows for start, rows in spans.values())]
    assert [start for start, _ in spans.values()] == ends[:-1] and spec.rows == ends[-1]  # no gap, no overlap
    assert spec.columns == (
        "user", "age:bin", "age:value", "flag", "when:hour", "when:weekday", "when:day", "when:month", "city", "agent",
    )  # fmt: skip
    assert spec.numerics == (
        "age", "price", "price:missing", "load", "phase", "plain", "when", "when:missing",
    )  # fmt: skip
    assert spec.embeddings == (
        "linear", "piecewise", "linear", "linear", "periodic", "linear", "linear", "linear",
    )  # fmt: skip
    assert [len(knots) > 1 for knots in spec.knots] == [False, True] + [False] * 6
    assert spec.sequences == (SequenceSpec("history", "attention", 0), SequenceSpec("tags", "sum", None))
    ids_start, ids_rows = spans["vocabulary ids"]
    assert spec.unseen[0] == ids_start + UNSEEN and ids_rows == RESERVED + 40  # users and the items of history
    assert spec.unseen[spec.columns.index("flag")] == spans["flag"][0]


def test_encoded_rows_lie_in_their_spans_and_shared_ids_are_equal():
    preprocessor, table = fitted(), raw()
    (batch,) = batches(table)
    block = preprocessor.encode(batch, labels=True)
    spec, spans = preprocessor.spec, preprocessor.space_rows()
    assert block.ids.shape == (400, len(spec.columns)) and block.numeric.shape == (400, len(spec.numerics))
    assert block.ids.dtype == np.int32 and block.numeric.dtype == np.float32
    assert block.ids.flags.c_contiguous and np.isfinite(block.numeric).all()
    places = {"user": "vocabulary ids", "city": "vocabulary city", "agent": "vocabulary agent"}
    for index, name in enumerate(spec.columns):
        start, rows = spans[places.get(name, name)]
        assert ((block.ids[:, index] >= start) & (block.ids[:, index] < start + rows)).all(), name
    start = spans["vocabulary ids"][0]
    items, offsets = block.sequences["history"]
    assert offsets[-1] == len(items) and len(offsets) == 401
    values = sorted({*table["user"].drop_null().to_pylist(), *table["history"].combine_chunks().flatten().to_pylist()})
    wanted = [start + RESERVED + values.index(item) for row in table["history"].to_pylist() for item in row]
    assert items.tolist() == wanted
    users = [MISSING if user is None else RESERVED + values.index(user) for user in table["user"].to_pylist()]
    assert (block.ids[:, 0] - start).tolist() == users


def test_labels_weights_and_groups_travel_with_the_rows():
    preprocessor, table = fitted(), raw()
    block = preprocessor.encode(batches(table)[0], labels=True)
    rows = table.to_pylist()
    assert preprocessor.tasks == ("buy", "tier", "spend")
    assert block.observed[0].tolist() == [row["click"] == 1 and row["bought"] is not None for row in rows]
    assert block.labels[0].tolist() == [float(row["bought"] or 0) * (row["click"] == 1) for row in rows]
    tiers = {"gold": 0.0, "silver": 1.0, "tin": 2.0, None: 0.0}
    assert block.labels[1].tolist() == [tiers[row["tier"]] for row in rows]
    assert preprocessor.labels[1].classes == ("gold", "silver", "tin")
    assert set(block.weights) == {"buy", "spend"} and np.allclose(block.weights["buy"], table["w"].to_numpy())
    assert block.groups["user"].tolist()[:1] == [rows[0]["user"]]
    without = preprocessor.encode(batches(table.select(list(OPTIONS)))[0])
    assert without.labels.shape == (0, 400) and without.weights == {} and (without.ids == block.ids).all()


@pytest.mark.parametrize("batch_rows", [7, 64, 399])
def test_the_fit_does_not_depend_on_batch_rows(batch_rows):
    whole, pieces = fitted(), fitted(batch_rows=batch_rows)
    assert pieces.columns == whole.columns and pieces.labels == whole.labels
    assert list(pieces.spaces) == list(whole.spaces)
    assert all(pieces.spaces[name] == whole.spaces[name] for name in whole.spaces)
    for task, stats in whole.stats.items():
        assert pieces.stats[task].quantiles == stats.quantiles
        assert pieces.stats[task].mean == pytest.approx(stats.mean, rel=1e-12)


def test_encoding_does_not_depend_on_batch_rows_nor_on_column_order():
    preprocessor, table = fitted(), raw(seed=3)
    whole = preprocessor.encode(batches(table)[0], labels=True)
    turned = table.select(table.column_names[::-1])
    parts = [preprocessor.encode(batch, labels=True) for batch in open_source(turned).scan(batch_rows=37)]
    assert (np.concatenate([part.ids for part in parts]) == whole.ids).all()
    assert (np.concatenate([part.numeric for part in parts]) == whole.numeric).all()
    assert (np.concatenate([part.sequences["tags"][0] for part in parts]) == whole.sequences["tags"][0]).all()


def test_what_is_unseen_and_missing_is_counted():
    preprocessor = fitted()
    counts = Counts()
    changed = {
        "user": [1, None, 2**40], "age": [30.0, float("inf"), None], "city": ["Rome", "once0", "Lima"],
        "flag": [True, None, None], "tags": ["x|new|w", "", None], "agent": [None, "a", "b"],
        "tier": ["gold", "copper", None],
    }  # fmt: skip
    table = raw(400).slice(0, 3)
    for name, values in changed.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    table = table.set_column(table.column_names.index("history"), "history", pa.array([[1, None], None, []]))
    preprocessor.encode(batches(table)[0], labels=True, counts=counts)
    assert counts.rows == 3
    assert {name: counts.unseen[name] for name in ("user", "city", "tags", "history")} == {
        "user": 1, "city": 2, "tags": 2, "history": 1,
    }  # fmt: skip
    assert {name: counts.missing[name] for name in ("user", "age", "flag", "tags", "agent", "history")} == {
        "user": 1, "age": 2, "flag": 2, "tags": 1, "agent": 1, "history": 2,
    }  # fmt: skip
    assert counts.unknown_labels == {"tier": 1}


def test_statistics_come_from_the_training_part_only():
    table = pa.table({"x": [1.0, 2.0, 3.0, 1e9], "y": [0, 1, 1, 1], "part": ["train", "train", "train", "test"]})
    source = open_source(table)
    split = fit_split(SplitSpec("column", column="part"), source)
    options = {"x": ColumnOptions("numeric", encoding="robust"), "y2": ColumnOptions("drop")}
    found = fit(Part(source, split), options, [LabelSpec("y", "binary", "y")])
    assert found.fragment_rows.tolist() == [3] and found.preprocessor.stats["y"].rows == 3
    assert found.preprocessor.columns[0].encoder.location == 2.0
    assert count_rows(Part(source, split)).tolist() == [3] and count_rows(Part(source, split, 2)).tolist() == [1]
    assert count_rows(Part(source)).tolist() == [4]
    empty = fit_split(SplitSpec("column", column="part", train_values=("train",)), source)
    with pytest.raises(UserError, match="has no training rows; check the split"):
        fit(Part(source, empty, 1), options, [])


def test_hashed_columns_know_whether_they_hold_text():
    table = pa.table({"a": [1, 2], "b": ["x", "y"], "c": pa.nulls(2), "y": [0, 1]})
    options = {name: ColumnOptions("categorical", hash_buckets=100) for name in "abc"}
    spaces = fitted(table, options, [LabelSpec("y", "binary", "y")]).spaces
    assert spaces == {"a": HashBuckets(100, False), "b": HashBuckets(100, True), "c": HashBuckets(100, False)}


def test_shared_vocabularies_take_the_widest_limits():
    table = pa.table({"a": [1, 1, 1, 2], "b": [[3, 3], [3], [4], []], "y": [0, 1, 0, 1]})
    options = {
        "a": ColumnOptions("categorical", vocabulary="v", min_count=3, max_vocabulary=1),
        "b": ColumnOptions("sequence", vocabulary="v", min_count=2, max_vocabulary=2),
    }
    spaces = fitted(table, options, [LabelSpec("y", "binary", "y")]).spaces
    assert list(spaces) == ["v"] and spaces["v"].values.to_pylist() == [1, 3]


def test_everything_wrong_with_options_and_labels_is_told_at_once():
    options = {
        "agee": ColumnOptions("numeric"),
        "history": ColumnOptions("sequence", pooling="attention", target="price"),
        "price": ColumnOptions("numeric"),
    }
    labels = [LabelSpec("buy", "binary", "bougth == 1", weight="weight", group="usr")]
    text = message(options=options, labels=labels)
    for part in (
        "5 problems",
        "features.agee: column 'agee' does not exist; did you mean 'age'",
        "features.history.target: 'price' is not a categorical feature",
        "column 'bougth' does not exist; did you mean 'bought'",
        "tasks.buy.weight: column 'weight' does not exist",
        "tasks.buy.group: column 'usr' does not exist; did you mean 'user'",
    ):
        assert part in text, text


def test_everything_wrong_with_values_is_told_at_once():
    table = pa.table({"a": ["1", "two"], "b": ["x", "y"], "c": [1, 2], "y": [0, 5], "w": [1.0, -1.0]})
    options = {"a": ColumnOptions("numeric"), "b": ColumnOptions("datetime"), "c": ColumnOptions("sequence")}
    text = message(table, options, [LabelSpec("t", "binary", "y"), LabelSpec("u", "regression", "y", weight="w")])
    for part in (
        "5 problems",
        "column 'a': is numeric, but holds text that is no number (1 of 2 rows read, first 'two')",
        "column 'b': is a date-time, but holds text",
        "column 'c': is a sequence, but holds int64",
        "tasks.t: label 'y': holds values that a binary label cannot have",
        "column 'w': is a sample weight, but 1 of 2 rows",
    ):
        assert part in text, text


def test_a_vocabulary_of_text_and_numbers_is_refused():
    table = pa.table({"a": [1], "b": [["x"]], "c": pa.nulls(1), "y": [0]})
    options = {name: ColumnOptions("sequence" if name == "b" else "categorical", vocabulary="v") for name in "abc"}
    assert message(table, options, []) == (
        "vocabulary 'v': is shared by text and numbers: 'a' (numbers), 'b' (text); give them separate vocabularies"
    )


def test_tables_that_do_not_fit_a_fitted_preprocessor():
    preprocessor, table = fitted(), raw()
    preprocessor.check(open_source(table).schema, labels=True)
    features = table.select(list(OPTIONS))
    preprocessor.check(open_source(features).schema, labels=False)
    changed = table.drop_columns(["age", "bought"]).rename_columns({"city": "citi"})
    changed = changed.set_column(0, "user", pa.array([[1]] * 400))
    changed = changed.set_column(changed.column_names.index("history"), "history", pa.array(["a"] * 400))
    changed = changed.set_column(changed.column_names.index("when"), "when", pa.array(["2024"] * 400))
    with pytest.raises(UserError) as caught:
        preprocessor.check(open_source(changed).schema, labels=True)
    for part in (
        "column 'age': is missing (the model reads it as a feature)",
        "column 'bought': is missing (the model reads it as a label)",
        "column 'city': is missing (the model reads it as a feature); did you mean 'citi'?",
        "column 'user': holds lists, the model expects one value a row",
        "column 'history': holds text, the model expects lists of ids",
        "column 'when': holds text, the model expects dates or times",
    ):
        assert part in str(caught.value)
    nulls = pa.table({name: pa.nulls(2) for name in OPTIONS})
    preprocessor.check(open_source(nulls).schema, labels=False)
    block = preprocessor.encode(batches(nulls)[0])
    assert np.isfinite(block.numeric).all() and all(len(items) == 0 for items, _ in block.sequences.values())


def test_other_types_at_prediction_give_the_same_rows():
    preprocessor, table = fitted(), raw(seed=5).select(list(OPTIONS))
    other = table.to_pydict()
    other["user"] = pa.array([None if user is None else str(user) for user in other["user"]])
    other["age"] = pa.array(["" if age is None else f" {age}" for age in other["age"]])
    other["flag"] = pa.array([None if flag is None else int(flag) for flag in other["flag"]])
    other["when"] = pa.array(
        [None if when is None else dt.datetime.fromtimestamp(when, dt.UTC) for when in other["when"]]
    )
    other["tags"] = pa.array([text.split("|") if text else [] for text in other["tags"]], pa.list_(pa.string()))
    other["load"] = np.asarray(other["load"], dtype=np.float64)
    left, right = (preprocessor.encode(batches(one)[0]) for one in (table, pa.table(other)))
    same_blocks(left, right)


def test_the_way_to_disk_and_back(tmp_path):
    table = raw(rows=3_000)
    preprocessor = fitted(table)
    write_vocabularies(preprocessor, tmp_path)
    saved = json.loads(json.dumps(to_json(preprocessor), allow_nan=False))
    restored = from_json(saved, read_vocabularies(saved, tmp_path))
    assert restored == preprocessor and restored.spec == preprocessor.spec
    (batch,) = batches(raw(rows=1_000, seed=9))
    same_blocks(restored.encode(batch, labels=True), preprocessor.encode(batch, labels=True))
    assert restored.columns[0].space is restored.spaces["ids"]


def test_empty_vocabularies_survive_the_way_to_disk(tmp_path):
    table = pa.table({"a": pa.nulls(2), "b": ["x", "y"], "y": [0, 1]})
    options = {"a": ColumnOptions("categorical"), "b": ColumnOptions("categorical", min_count=5)}
    preprocessor = fitted(table, options, [LabelSpec("y", "binary", "y")])
    write_vocabularies(preprocessor, tmp_path)
    saved = json.loads(json.dumps(to_json(preprocessor)))
    assert from_json(saved, read_vocabularies(saved, tmp_path)) == preprocessor


def test_hostile_descriptions_raise_nothing_else_than_the_documented_errors(tmp_path):
    preprocessor = fitted()
    write_vocabularies(preprocessor, tmp_path)
    saved = json.loads(json.dumps(to_json(preprocessor)))
    vocabularies = read_vocabularies(saved, tmp_path)
    rng = random.Random(0)
    refused = 0
    for _ in range(600):
        broken = copy.deepcopy(saved)
        damage(broken, rng)
        try:
            from_json(broken, vocabularies)
        except (KeyError, TypeError, ValueError):
            refused += 1
    assert refused > 300
    for broken in (None, [], "x", 3, {}, {"columns": 3}, {**saved, "stats": []}, {**saved, "spaces": {"a": 1}}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            from_json(broken, vocabularies)


def damage(value, rng):
    """Replaces, removes or repeats something somewhere inside of nested lists and dictionaries."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.8:
            value = value[key]
            continue
        if rng.random() < 0.2:
            del value[key]
        else:
            value[key] = rng.choice(
                [None, -1, 0, 10**400, 1e308, float("nan"), "x", "", [], {}, [[1]], {"a": 1}, True, [3, 2, 1]]
            )
        return


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda saved: saved["columns"].append(saved["columns"][0]), "described twice"),
        (lambda saved: saved["spaces"].append(saved["spaces"][0]), "described twice"),
        (lambda saved: saved["stats"].pop("buy"), "no statistics of .'buy'."),
        (lambda saved: saved["columns"][10].update(target="age"), "target 'age' of 'history' is not a categorical"),
        (lambda saved: saved["columns"][1]["encoder"].update(spread=0.0), "spread 0"),
        (lambda saved: saved["spaces"][2].update(buckets=2**31 - 1), "more rows than 32 bits"),
        (lambda saved: saved["spaces"][2].update(buckets=0), "greater than or equal to 1"),
        (lambda saved: saved["columns"][0].update(role="pickle"), "role"),
        (lambda saved: saved["columns"][7].update(parts=["hour", "century"]), "'hour', 'weekday'"),
    ],
)
def test_descriptions_that_do_not_fit_together(change, text):
    preprocessor = fitted()
    saved = json.loads(json.dumps(to_json(preprocessor)))
    change(saved)
    with pytest.raises(ValueError, match=text):
        from_json(saved, preprocessor.spaces)


def test_vocabulary_files_are_looked_at(tmp_path):
    import pyarrow.parquet as pq

    saved = {"spaces": [{"name": "v"}]}
    with pytest.raises(OSError, match=r"0\.parquet"):
        read_vocabularies(saved, tmp_path)
    file = tmp_path / "0.parquet"
    for values, text in (
        (pa.array([1, 1]), "holds a value twice"),
        (pa.array(["a", None]), "or a missing one"),
        (pa.array([1.5]), "vocabulary 0 holds double"),
    ):
        pq.write_table(pa.table({"value": values}), file)
        with pytest.raises(ValueError, match=text):
            read_vocabularies(saved, tmp_path)
    pq.write_table(pa.table({"other": [1]}), file)
    with pytest.raises((KeyError, ValueError)):
        read_vocabularies(saved, tmp_path)
    file.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises((OSError, ValueError)):
        read_vocabularies(saved, tmp_path)
