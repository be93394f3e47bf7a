"""Columns by role: truth values, points in time, lists; and how raw arrays are read."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from polytask.data.columns import (
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    DatetimeFitter,
    NumericColumn,
    SequenceColumn,
    id_rows,
    number_of,
)
from polytask.data.numeric import NumericFitter
from polytask.data.readings import days, epoch_unit, list_items, numbers, timestamps, truths
from polytask.data.vocabulary import MISSING, RESERVED, UNSEEN, HashBuckets, Vocabulary
from polytask.errors import UserError

UTC = dt.UTC
FALSE, TRUE = RESERVED, RESERVED + 1


def datetime_column(array, unit=None):
    fitter = DatetimeFitter("t", unit)
    fitter.update(array)
    return fitter.finish()


def test_booleans_of_every_type():
    column = BooleanColumn("b")
    assert id_rows(column) == {"b": RESERVED + 2} and number_of(column) is None
    for array in (
        pa.array([True, False, None]),
        pa.array([1, 0, None], pa.int8()),
        pa.array([2.5, 0.0, float("nan")]),
        pa.array(["true", "False", None]),
        pa.array(["1", " 0 ", ""]).dictionary_encode(),
    ):
        encoded = column.encode(array)
        assert encoded.ids[0].tolist() == [TRUE, FALSE, MISSING], array.type
        assert encoded.ids[0].dtype == np.int32 and encoded.missing == 1 and encoded.unseen == 0
    assert column.encode(pa.nulls(2)).ids[0].tolist() == [MISSING, MISSING]
    with pytest.raises(UserError, match=r"column 'b': is boolean, .*\(2 of 3 rows read, first 'maybe'\); write true"):
        column.encode(pa.array(["true", "maybe", "maybe"]))


def test_categories_count_what_is_unseen_and_missing():
    column = CategoricalColumn("c", Vocabulary(pa.array(["a", "b"])))
    encoded = column.encode(pa.array(["b", "new", None, "other", "a"]))
    assert encoded.ids[0].tolist() == [3, UNSEEN, MISSING, UNSEEN, 2]
    assert (encoded.unseen, encoded.missing) == (2, 1)


def test_datetime_parts_and_age():
    stamps = [dt.datetime(2024, 2, 29, 23, 59), dt.datetime(2023, 1, 1, 0, 0), dt.datetime(1969, 12, 31, 12), None]
    array = pa.array(stamps, pa.timestamp("ms"))
    column = datetime_column(array)
    assert column.parts == ("hour", "weekday", "day", "month")
    encoded = column.encode(array)
    hour, weekday, day, month = (ids.tolist() for ids in encoded.ids)
    assert hour == [RESERVED + 23, RESERVED, RESERVED + 12, MISSING]
    assert weekday == [RESERVED + 3, RESERVED + 6, RESERVED + 2, MISSING]  # Thursday, Sunday, Wednesday
    assert day == [RESERVED + 28, RESERVED, RESERVED + 30, MISSING]
    assert month == [RESERVED + 1, RESERVED, RESERVED + 11, MISSING]
    assert encoded.missing == 1 and column.age.numerics == ("t", "t:missing")
    age = days(array).to_pylist()
    assert age[2] == -0.5 and age[3] is None
    low, middle, high = np.quantile(age[:3], [0.25, 0.5, 0.75])
    assert np.allclose(encoded.numerics[0][:3], (np.array(age[:3]) - middle) / ((high - low) / 1.349), atol=1e-5)
    assert encoded.numerics[1].tolist() == [0, 0, 0, 1]
    assert id_rows(column) == {"t:hour": 26, "t:weekday": 9, "t:day": 33, "t:month": 14}


def test_only_parts_that_vary_are_kept():
    dates = pa.array([dt.date(2024, 3, day) for day in range(1, 8)], pa.date32())
    assert datetime_column(dates).parts == ("weekday", "day")
    assert datetime_column(pa.array([dt.datetime(2024, 1, 1)] * 3, pa.timestamp("s"))).parts == ()
    empty = datetime_column(pa.nulls(3))
    assert empty.parts == () and np.isfinite(empty.encode(pa.nulls(2)).numerics[0]).all()


def test_every_form_of_a_point_in_time_agrees():
    stamps = [dt.datetime(2022, 4, 24, 23, 0, 30), dt.datetime(2021, 5, 1, 7), None]
    column = datetime_column(pa.array(stamps, pa.timestamp("us")))
    expected = column.encode(pa.array(stamps, pa.timestamp("us")))
    seconds = [int(stamp.replace(tzinfo=UTC).timestamp()) if stamp else None for stamp in stamps]
    zoned = pa.array([stamp.replace(tzinfo=UTC) if stamp else None for stamp in stamps])
    forms = [pa.array(stamps, pa.timestamp(unit)) for unit in ("s", "ms", "ns")]
    forms += [pa.array(seconds), pa.array(seconds, pa.float64()), zoned.cast(pa.timestamp("ns", "Asia/Tokyo"))]
    for array in forms:
        found = column.encode(array)
        assert [ids.tolist() for ids in found.ids] == [ids.tolist() for ids in expected.ids], array.type
        assert np.allclose(found.numerics, expected.numerics, atol=1e-5)
        assert found.missing == 1
    milliseconds = DatetimeColumn(column.name, column.parts, column.age, "ms")
    found = milliseconds.encode(pa.array([None if second is None else second * 1_000 for second in seconds]))
    assert [ids.tolist() for ids in found.ids] == [ids.tolist() for ids in expected.ids]


def test_units_of_integers_by_their_size():
    second = 1_650_801_230
    for unit, scale in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        assert epoch_unit(pa.array([second * scale, None, 0, second * scale])) == unit
        column = datetime_column(pa.array([second * scale, second * scale + 3_600 * scale]), unit)
        assert column.parts == ("hour",) and column.unit == unit
    assert epoch_unit(pa.chunked_array([[float(second) * 1e3, float("nan")]])) == "ms"
    assert epoch_unit(pa.nulls(2).cast(pa.int64())) == "s"


def test_times_outside_of_the_calendar_do_no_harm():
    column = datetime_column(pa.array([dt.datetime(2024, 1, 1), dt.datetime(2024, 5, 7, 3)]))
    for array in (
        pa.array([2**62, -(2**62), 2**63 - 1]),
        pa.array([2**64 - 1, 2**63, 5], pa.uint64()),
        pa.array([1e30, float("inf"), float("nan")]),
        pa.array([2**62, -(2**62)], pa.int64()).cast(pa.timestamp("s")),
        pa.array([2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32()),
    ):
        encoded = column.encode(array)
        assert np.isfinite(encoded.numerics[0]).all()
        for ids, rows in zip(encoded.ids, id_rows(column).values(), strict=True):
            assert ((ids >= 0) & (ids < rows)).all()


def test_a_date_time_column_of_text_is_refused():
    with pytest.raises(UserError, match="column 't': is a date-time, but holds text; give timestamps"):
        timestamps("t", pa.array(["2024-01-01"]).dictionary_encode(), None)
    with pytest.raises(UserError, match=r"column 't': is a date-time, but holds bool"):
        timestamps("t", pa.array([True]), None)


def test_lists_with_nulls_and_empty_ones():
    column = SequenceColumn("s", Vocabulary(pa.array([10, 20, 30])))
    array = pa.array([[10, 30], None, [], [99, None, 20], [10]])
    items, offsets = column.encode(array).sequence
    assert items.tolist() == [2, 4, UNSEEN, MISSING, 3, 2] and items.dtype == np.int32
    assert offsets.tolist() == [0, 2, 2, 2, 5, 6]
    encoded = column.encode(array)
    assert (encoded.unseen, encoded.missing) == (1, 2)  # the null list and the null item
    items, offsets = column.encode(array.slice(1, 3)).sequence
    assert items.tolist() == [UNSEEN, MISSING, 3] and offsets.tolist() == [0, 0, 0, 3]
    for kind in (pa.large_list(pa.int32()), pa.list_(pa.int16())):
        assert column.encode(array.cast(kind)).sequence[0].tolist() == [2, 4, UNSEEN, MISSING, 3, 2]


def test_a_null_list_with_items_behind_it_is_empty():
    values, offsets = pa.array([1, 2, 3]), pa.array([0, 2, 3], pa.int32())
    array = pa.ListArray.from_arrays(offsets, values, mask=pa.array([True, False]))
    items, starts = list_items("s", array, None)
    assert items.to_pylist() == [3] and starts.tolist() == [0, 0, 1]


def test_text_with_a_separator():
    column = SequenceColumn("s", Vocabulary(pa.array(["a", "b"])), separator="|")
    words = pa.array(["a|b", "", None, "b", "a||new"])
    for array in (words, words.dictionary_encode(), words.cast(pa.large_string())):
        items, offsets = column.encode(array).sequence
        assert items.tolist() == [2, 3, 3, 2, UNSEEN, UNSEEN], array.type
        assert offsets.tolist() == [0, 2, 2, 2, 3, 6]
    lists = column.encode(pa.array([["a"], ["b", "a"]])).sequence  # lists are taken as they are
    assert lists[0].tolist() == [2, 3, 2]


def test_columns_without_any_list():
    column = SequenceColumn("s", HashBuckets(10))
    items, offsets = column.encode(pa.nulls(3)).sequence
    assert len(items) == 0 and offsets.tolist() == [0, 0, 0, 0]
    items, offsets = column.encode(pa.array([], pa.list_(pa.int64()))).sequence
    assert len(items) == 0 and offsets.tolist() == [0]
    with pytest.raises(UserError, match="column 's': is a sequence, but holds text; give lists, or text with a sep"):
        column.encode(pa.array(["a|b"]).dictionary_encode())
    with pytest.raises(UserError, match="column 's': is a sequence, but holds int64"):
        column.encode(pa.array([1]))


def test_text_that_reads_as_numbers_is_read():
    words = pa.array([" 1.5", "-2e3", "", None, ".5", "nan", "inf", "1.5"])
    expected = [1.5, -2000.0, None, None, 0.5, pytest.approx(float("nan"), nan_ok=True), float("inf"), 1.5]
    assert numbers("x", words).to_pylist() == expected
    assert numbers("x", words.dictionary_encode()).to_pylist() == expected
    fitter = NumericFitter("robust")
    fitter.update(numbers("x", words))
    column = NumericColumn(fitter.finish("x"))
    assert column.encode(words.dictionary_encode()).missing == 4
    assert numbers("x", pa.array([True, None])).to_pylist() == [1, None]
    assert numbers("x", pa.nulls(1)).to_pylist() == [None]
    assert numbers("x", pa.array([dt.datetime(1970, 1, 2), None], pa.timestamp("s"))).to_pylist() == [
        86_400 * 10**6,
        None,
    ]


def test_text_that_is_no_number_is_named_with_its_rows():
    words = ["1", "12abc", "n/a", "2", "n/a"]
    text = "column 'x': is numeric, but holds text that is no number (3 of 5 rows read, first '12abc'); clean the"
    for array in (pa.array(words), pa.array(words).dictionary_encode()):
        with pytest.raises(UserError) as caught:
            numbers("x", array)
        assert str(caught.value).startswith(text)
    unused = pa.DictionaryArray.from_arrays(pa.array([0, 0, None], pa.int32()), ["4", "n/a"])
    assert numbers("x", unused).to_pylist() == [4.0, 4.0, None]
    with pytest.raises(UserError, match=r"column 'x': is numeric, but holds list<item: int64>; drop it"):
        numbers("x", pa.array([[1]]))


def test_truths_of_unsigned_and_null():
    assert truths("b", pa.array([0, 7], pa.uint64())).to_pylist() == [False, True]
    assert truths("b", pa.nulls(1)).to_pylist() == [None]
