"""Tables in memory: pandas, polars, Arrow and mappings."""

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from polytask.data.sources import open_source
from polytask.data.sources.normal import TEXT
from polytask.errors import UserError


def rows(source):
    return [row for batch in source.scan() for row in batch.to_pylist()]


def test_fragments_of_65536_rows():
    source = open_source({"x": np.arange(150_000)})
    assert [fragment.rows for fragment in source.fragments] == [65_536, 65_536, 18_928]
    batches = list(source.read(source.fragments[1], batch_rows=40_000))
    assert [len(batch) for batch in batches] == [40_000, 25_536] and batches[0]["x"][0].as_py() == 65_536


def test_arrow_buffers_are_shared():
    column = pa.array(np.arange(1000))
    source = open_source(pa.table({"x": column}))
    (batch,) = source.scan()
    assert batch["x"].buffers()[1].address == column.buffers()[1].address


def test_pandas_keeps_types_and_ignores_the_index():
    frame = pd.DataFrame(
        {
            "id": pd.array([2**53 + 1, None], dtype="Int64"),
            "big": np.array([2**64 - 1, 0], dtype=np.uint64),
            "missing": [1.0, np.nan],
            "text": ["a", None],
            "category": pd.Categorical(["x", None], categories=["y", "x"]),
            "when": pd.to_datetime(["2022-01-01", None]),
            "objects": pd.Series([Decimal("1.5"), None], dtype=object, index=[10, 10]),
            "ids": [[1, 2], []],
            7: [True, False],
        },
        index=[10, 10],
    )
    source = open_source(frame)
    kinds = {field.name: field.type for field in source.schema}
    assert kinds["id"] == pa.int64() and kinds["big"] == pa.uint64() and kinds["missing"] == pa.float64()
    assert kinds["text"] == TEXT and kinds["category"] == TEXT and kinds["objects"] == pa.float64()
    assert pa.types.is_timestamp(kinds["when"]) and kinds["ids"] == pa.list_(pa.int64()) and kinds["7"] == pa.bool_()
    found = rows(source)
    assert found[0]["id"] == 2**53 + 1 and found[0]["big"] == 2**64 - 1 and found[0]["category"] == "x"
    assert [found[1][name] for name in ("id", "missing", "text", "category", "when", "objects")] == [None] * 6


def test_pandas_columns_that_cannot_be_read_are_all_named():
    frame = pd.DataFrame({"a": [1, "x", "y"], "b": [1, 2, 3], "c": [True, 1, None]}, dtype=object)
    with pytest.raises(UserError) as caught:
        open_source(frame)
    text = str(caught.value)
    assert "column 'a': mixed types: str 2, int 1; convert the column to one type" in text
    assert "column 'c': mixed types: bool 1, int 1" in text and "'b'" not in text
    with pytest.raises(UserError, match="column 'a': exists 2 times in the DataFrame; rename"):
        open_source(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_polars_frames_and_lazy_frames():
    frame = pl.DataFrame(
        {"s": ["a", None], "c": pl.Series(["x", "y"], dtype=pl.Categorical), "i": [2**63, 1], "l": [[1], [2, 3]]}
    )
    expected = [{"s": "a", "c": "x", "i": 2**63, "l": [1]}, {"s": None, "c": "y", "i": 1, "l": [2, 3]}]
    for data in (frame, frame.lazy()):
        source = open_source(data)
        assert rows(source) == expected
        assert source.schema.field("s").type == TEXT and source.schema.field("c").type == TEXT
    assert open_source(frame).name == "DataFrame"


def test_mappings_of_arrays_and_lists():
    source = open_source(
        {
            "a": np.array([1.0, np.nan]),
            "b": ["x", None],
            "c": pa.array([1, 2]),
            "d": pl.Series([1, 2]),
            "e": pd.Series([1, 2]),
        }
    )
    assert rows(source)[1] == {"a": None, "b": None, "c": 2, "d": 2, "e": 2}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "columns differ in length: 'a' 2, 'b' 1"),
        ({"a": [1, "x"]}, "column 'a': mixed types: int 1, str 1"),
        ({"a": np.zeros((2, 2))}, r"found an array of shape \(2, 2\) instead of one value a row"),
        ({"a": 5}, "found one int instead of one value a row"),
        ({"a": "text"}, "found one str instead of one value a row"),
        ({"a": [2**70]}, "column 'a': cannot be read"),
        ({"a": np.array([1j])}, "column 'a': cannot be read"),
        ({}, "mapping: has no columns"),
        ({"a": []}, "mapping: has no rows"),
        (pd.DataFrame(), "DataFrame: has no columns"),
        (5, "cannot be read: it is of type builtins.int; pass a path"),
        ([{"a": 1}], "of type builtins.list"),
    ],
)
def test_refusals(data, message):
    with pytest.raises(UserError, match=message):
        open_source(data)


def test_other_arrow_producers_and_sources_themselves():
    batch = pa.record_batch({"x": [1, 2]})
    assert rows(open_source(batch)) == [{"x": 1}, {"x": 2}]
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    source = open_source(reader)
    assert rows(source) == [{"x": 1}, {"x": 2}] and open_source(source) is source


def test_chunks_with_different_dictionaries():
    column = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()])
    assert [row["x"] for row in rows(open_source(pa.table({"x": column})))] == ["a", "b", "c", "b"]


def test_fingerprint_depends_on_values_only():
    text = pa.array(["a", None, "b"])
    data = {"s": text, "l": pa.array([[1], None, [2, 3]]), "f": [0.5, float("nan"), 1.0]}
    plain = open_source(data).fingerprint()
    chunked = pa.chunked_array([text.slice(0, 1).dictionary_encode(), text.slice(1).dictionary_encode()])
    assert open_source(data | {"s": chunked}).fingerprint() == plain
    assert open_source(data | {"l": pa.array([[1, 2], None, [3]])}).fingerprint() != plain
    assert open_source(data | {"s": pa.array(["a", "b", None])}).fingerprint() != plain


def test_neither_torch_nor_frames_are_imported():
    code = (
        "import sys, pyarrow as pa, polytask.data.splits, polytask.data.expressions, polytask.data.sources as sources;"
        "sources.open_source(pa.Table.from_arrays([pa.nulls(3)], names=['a'])).head();"
        "print([m for m in ('torch', 'pandas', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_column_is_no_table():
    with pytest.raises(UserError, match="Series: cannot be read as a table"):
        open_source(pl.Series("x", [1.0]))


def test_a_named_pandas_index_is_a_column():
    frame = pd.DataFrame({"user": [3, 4], "click": [0, 1]})
    assert open_source(frame.set_index("user")).schema.names == ["user", "click"]
    assert open_source(frame).schema.names == ["user", "click"]
