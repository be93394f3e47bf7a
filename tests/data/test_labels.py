"""Labels: expressions, sample spaces, missing values, classes, weights, groups; and their statistics in training."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from polytask.data.label_stats import ClassFinder, LabelFitter
from polytask.data.labels import LabelEncoder, group_keys, sample_weights
from polytask.errors import UserError
from polytask.specs import LabelSpec


def encoder(batch, kind="binary", label="y", classes=None, **options):
    spec = LabelSpec("task", kind, label, classes=classes, **options)
    return LabelEncoder(spec, tuple(batch.schema.names), classes)


def encoded(columns, kind="binary", label="y", **options):
    batch = pa.record_batch(columns)
    values, observed, unknown = encoder(batch, kind, label, **options).encode(batch)
    assert values.dtype == np.float32 and observed.dtype == np.bool_ and len(values) == len(batch)
    assert (values[~observed] == 0.0).all()
    return [value if known else None for value, known in zip(values.tolist(), observed.tolist(), strict=True)], unknown


def message(columns, *args, **options):
    with pytest.raises(UserError) as caught:
        encoded(columns, *args, **options)
    return str(caught.value)


def stats_of(batches, kind, label="y", classes=None, weight=None):
    batches = [pa.record_batch(columns) for columns in batches]
    fitter = LabelFitter(encoder(batches[0], kind, label, classes, weight=weight))
    for batch in batches:
        values, observed, _ = encoder(batch, kind, label, classes).encode(batch)
        fitter.update(values, observed, sample_weights(weight, batch.column(weight)) if weight else None)
    return fitter


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, 0, None], pa.int8()),
        pa.array([1.0, 0.0, float("nan")]),
        pa.array([True, False, None]),
        pa.array([1.0, -0.0, float("inf")]),
        pa.array([1, 0, None], pa.uint64()),
    ],
)
def test_a_missing_label_is_not_observed(array):
    assert encoded({"y": array}) == ([1.0, 0.0, None], 0)


def test_expressions_and_their_missing_values():
    columns = {"city": ["Rome", "Oslo", None], "age": [31, None, 20]}
    assert encoded(columns, label="city == 'Rome'")[0] == [1.0, 0.0, None]
    assert encoded(columns, label="age > 30 or city == 'Oslo'")[0] == [1.0, 1.0, None]  # False or missing is missing
    assert encoded(columns, "regression", "age / 2")[0] == [15.5, None, 10.0]
    one = encoder(pa.record_batch(columns), label="city == 'Rome'", where="age > 1")
    assert one.columns == ("city", "age") and one.label_columns == ("city",)


def test_the_sample_space_decides_what_is_observed():
    columns = {"y": [1, 0, 1, None], "click": [1, 1, None, 1]}
    assert encoded(columns, where="click == 1")[0] == [1.0, 0.0, None, None]
    assert encoded({**columns, "click": [True, False, None, True]}, where="click")[0] == [1.0, None, None, None]
    # a value that the task cannot have does no harm outside its sample space
    assert encoded({"y": [1, 7], "click": [1, 0]}, where="click == 1")[0] == [1.0, None]
    text = message(columns, where="click")
    assert text == (
        "tasks.task.where: 'click' is not true or false; write a comparison, for example where = \"click == 1\""
    )


def test_values_that_a_kind_cannot_have():
    assert message({"y": [0, 1, 2, 2]}) == (
        "tasks.task: label 'y': holds values that a binary label cannot have (2 of 4 rows, first 2); "
        "it takes 0 and 1; write an expression, choose another kind, or give classes"
    )
    assert "(1 of 2 rows, first -1); it takes class numbers from 0" in message({"y": [0, -1]}, "multiclass")
    assert "(1 of 2 rows, first 0.5)" in message({"y": [0.0, 0.5]}, "ordinal")
    assert "first 123456); it takes class numbers from 0 below 100,000" in message({"y": [0, 123456]}, "multiclass")
    assert "a count label cannot have (1 of 3 rows, first -2); it takes numbers from 0" in message(
        {"y": [0, 3, -2]}, "count"
    )
    assert encoded({"y": [-1.5, 1e6, None]}, "regression")[0] == [-1.5, 1e6, None]


def test_text_without_classes_is_refused_with_the_mapping():
    for array in (pa.array(["no", "yes", None]), pa.array(["no", "yes", None]).dictionary_encode()):
        assert message({"y": array}) == (
            "tasks.task: label 'y': is text ('no', 'yes'); "
            "add classes = ['no', 'yes'] (negative, positive), or label = \"y == 'yes'\""
        )
    many = message({"y": [f"w{i}" for i in range(9)]}, "ordinal")
    assert "is text ('w0', 'w1', 'w2', 'w3', 'w4', 'w5', ...); write an expression that gives a number" in many
    assert "is of type timestamp[us]; turn it into a number first" in message({"y": [dt.datetime(2024, 1, 1)]})
    assert "is of type list<item: int64>" in message({"y": [[1]]}, "regression")


@pytest.mark.parametrize(
    ("array", "classes"),
    [
        (pa.array(["lo", "hi", None, "mid"]), ("lo", "mid", "hi")),
        (pa.array(["lo", "hi", None, "mid"]).dictionary_encode(), ("lo", "mid", "hi")),
        (pa.array([-5, 2**60, None, 7]), (-5, 7, 2**60)),
        (pa.array([-5.0, 30.0, float("nan"), 7.0]), (-5, 7, 30)),
        (pa.array(["1", "30", None, "7"]), (1, 7, 30)),
    ],
)
def test_classes_number_their_values(array, classes):
    assert encoded({"y": array}, "ordinal", classes=classes)[0] == [0.0, 2.0, None, 1.0]


def test_classes_of_a_binary_label():
    assert encoded({"y": ["no", "yes"]}, classes=("no", "yes"))[0] == [0.0, 1.0]
    assert encoded({"y": [2, 1]}, classes=(1, 2))[0] == [1.0, 0.0]
    assert encoded({"y": [True, False]}, classes=(True, False))[0] == [0.0, 1.0]  # the order is the user's
    null_in_dictionary = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), ["no", None])
    assert encoded({"y": null_in_dictionary}, classes=("no", "yes"))[0] == [0.0, None]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "regression", "count"])
def test_values_outside_the_classes_are_refused(kind):
    assert message({"y": ["a", "b", "c", "c"]}, kind, classes=("a", "b")) == (
        "tasks.task: label 'y': holds values that are none of its classes (2 of 4 rows); "
        "classes are ['a', 'b']; add what is missing, or leave rows out with where"
    )
    assert "(1 of 2 rows)" in message({"y": [1, 1.5]}, kind, classes=(0, 1))


def test_classes_of_text_for_a_column_of_numbers():
    text = message({"y": [1, 2]}, classes=("no", "yes"))
    assert "holds values of type int64, but classes = ['no', 'yes'] are text; give the numbers" in text
    assert encoded({"y": [1, 2]}, classes=("1", "2"))[0] == [0.0, 1.0]


def test_text_classes_are_found_inside_the_sample_space():
    batches = [
        pa.record_batch({"y": pa.array(["b", "x", None]).dictionary_encode(), "ok": [1, 0, 1]}),
        pa.record_batch({"y": pa.array(["a", "c", "b"]).dictionary_encode(), "ok": [1, None, 1]}),
    ]
    finder = ClassFinder(encoder(batches[0], "multiclass", where="ok == 1"))
    for batch in batches:
        finder.update(batch)
    found = finder.finish()
    assert found.classes == ("a", "b")
    values, observed, unknown = found.encode(pa.record_batch({"y": ["b", "new", "a", "x"], "ok": [1, 1, 1, 0]}))
    assert values.tolist() == [1.0, 0.0, 0.0, 0.0] and observed.tolist() == [True, False, True, False]
    assert unknown == 1  # "x" lies outside of the sample space


def test_class_numbers_beyond_training_are_not_observed_later():
    fitter = stats_of([{"y": [0, 2, 1, None]}], "multiclass")
    final = fitter.finish_encoder()
    assert final.classes == (0, 1, 2) and fitter.finish().class_weights == (1.0, 1.0, 1.0)
    values, observed, unknown = final.encode(pa.record_batch({"y": [2, 3, None]}))
    assert values.tolist() == [2.0, 0.0, 0.0] and observed.tolist() == [True, False, False] and unknown == 1
    assert stats_of([{"y": [0, 1]}], "binary").finish_encoder().classes is None


def test_statistics_agree_with_numpy():
    rng = np.random.default_rng(0)
    value = rng.normal(1_000.0, 2.0, 10_000).astype(np.float32)
    weight = rng.random(10_000)
    missing = rng.random(10_000) < 0.3
    parts = np.array_split(np.arange(10_000), 7)
    batches = [{"y": pa.array(value[rows], mask=missing[rows]), "w": weight[rows]} for rows in parts]
    stats = stats_of(batches, "regression", weight="w").finish()
    y, w = value[~missing].astype(np.float64), weight[~missing].astype(np.float32).astype(np.float64)
    mean = np.average(y, weights=w)
    assert stats.rows == len(y) and stats.weight == pytest.approx(w.sum())
    assert stats.mean == pytest.approx(mean, rel=1e-12)
    assert stats.std == pytest.approx(np.sqrt(np.average((y - mean) ** 2, weights=w)), rel=1e-9)
    assert (stats.minimum, stats.maximum) == (y.min(), y.max()) and stats.class_weights == ()
    assert np.allclose(stats.quantiles, np.quantile(y, np.linspace(0, 1, 101)))
    plain = stats_of(batches, "regression").finish()
    assert plain.mean == pytest.approx(y.mean(), rel=1e-12) and plain.std == pytest.approx(y.std(), rel=1e-9)


def test_the_variance_of_large_labels_is_not_lost():
    value = np.array([2**24, 2**24 + 2, 2**24 + 4, 2**24 + 6] * 100, dtype=np.float64)
    stats = stats_of([{"y": part} for part in np.array_split(value, 9)], "count").finish()
    assert stats.std == pytest.approx(value.std(), rel=1e-9)


def test_class_weights_are_sums_of_sample_weights():
    batches = [{"y": [0, 1, 1, None], "w": [1.0, 2.0, None, 8.0]}, {"y": [3], "w": [0.5]}]
    stats = stats_of(batches, "multiclass", weight="w").finish()
    assert stats.class_weights == (1.0, 2.0, 0.0, 0.5) and stats.rows == 4 and stats.weight == 3.5
    assert stats_of([{"y": [0, 0]}], "binary").finish().class_weights == (2.0, 0.0)
    assert stats_of([{"y": ["b"]}], "ordinal", classes=("a", "b", "c")).finish().class_weights == (0.0, 1.0, 0.0)


def test_constant_unobserved_and_weightless_labels():
    assert stats_of([{"y": [3.0, 3.0]}], "regression").finish().std == 1.0
    empty = stats_of([{"y": pa.nulls(3)}], "binary").finish()
    assert (empty.rows, empty.weight, empty.std, empty.class_weights) == (0, 0.0, 1.0, (0.0, 0.0))
    weightless = stats_of([{"y": [1.0, 2.0], "w": [0.0, 0.0]}], "regression", weight="w").finish()
    assert (weightless.rows, weightless.weight, weightless.std) == (2, 0.0, 1.0)


def test_sample_weights():
    assert sample_weights("w", pa.array([1, None, 3])).tolist() == [1.0, 0.0, 3.0]
    assert sample_weights("w", pa.array([0.5, float("nan")])).tolist() == [0.5, 0.0]
    assert sample_weights("w", pa.array(["0.5", ""]).dictionary_encode()).tolist() == [0.5, 0.0]
    with pytest.raises(UserError) as caught:
        sample_weights("w", pa.array([1.0, -2.0, float("inf")]))
    assert str(caught.value) == (
        "column 'w': is a sample weight, but 2 of 3 rows are negative or infinite (first -2); "
        "give finite weights from 0"
    )
    with pytest.raises(UserError, match="column 'w': is numeric, but holds text"):
        sample_weights("w", pa.array(["heavy"]))


def test_group_keys_keep_users_apart():
    ids = pa.array([2**53, 2**53 + 1, None, 0, None])
    keys = group_keys(ids)
    assert keys[0] != keys[1] and keys[2] == keys[4] and keys[2] not in (0, keys[0], keys[1])
    words = pa.array(["u1", "u2", None, "u1"])
    for array in (words, words.dictionary_encode()):
        keys = group_keys(array)
        assert keys[0] == keys[3] and len(set(keys.tolist())) == 3 and keys.dtype == np.int64
    whole = pa.array([1, 2, 3])
    assert group_keys(whole).flags.writeable  # tensors share its memory
    assert group_keys(pa.nulls(2)).tolist()[0] == group_keys(pa.nulls(1)).tolist()[0]


def test_mistakes_in_expressions_name_what_is_wrong():
    batch = pa.record_batch({"click": [1]})
    with pytest.raises(UserError, match="column 'clik' does not exist; did you mean 'click'"):
        _ = encoder(batch, label="clik == 1").columns
