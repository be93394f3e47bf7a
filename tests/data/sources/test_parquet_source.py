"""Parquet sources: many files, types that unify or do not, streaming, damage."""

import decimal
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.data.sources import open_source
from polytask.data.sources.normal import TEXT, promote
from polytask.errors import UserError


def write(path: Path, columns, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_fragments_are_row_groups_and_stream_in_batches(tmp_path):
    path = write(
        tmp_path / "a.parquet", {"x": np.arange(1000), "s": [f"v{i % 7}" for i in range(1000)]}, row_group_size=400
    )
    source = open_source(path)
    assert [(f.file, f.group, f.rows) for f in source.fragments] == [(0, 0, 400), (0, 1, 400), (0, 2, 200)]
    assert source.rows == 1000 and source.schema == pa.schema({"x": pa.int64(), "s": TEXT})
    batches = list(source.read(source.fragments[1], ["s", "x"], batch_rows=150))
    assert [len(batch) for batch in batches] == [150, 150, 100]
    assert batches[0].schema.names == ["s", "x"] and batches[0].schema.field("s").type == TEXT
    assert [x for batch in source.scan(["x"], batch_rows=64) for x in batch["x"].to_pylist()] == list(range(1000))
    assert source.head(3).to_pylist() == [{"x": i, "s": f"v{i}"} for i in range(3)]
    assert source.head(2000).num_rows == 1000 and source.head(0).num_rows == 0
    assert repr(source) == f"ParquetSource('{path}', 1,000 rows, 2 columns)"


def test_folder_glob_and_list_agree(tmp_path):
    for number in range(3):
        write(tmp_path / f"day={number}" / "part.parquet", {"x": [number]})
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "README.txt").write_text("not data")
    sources = [
        open_source(tmp_path),
        open_source(str(tmp_path / "**" / "*.parquet")),
        open_source([tmp_path / f"day={number}" / "part.parquet" for number in range(3)]),
    ]
    for source in sources:
        assert pa.Table.from_batches(source.scan())["x"].to_pylist() == [0, 1, 2]
        assert source.fingerprint() == sources[0].fingerprint()
    assert "column 'day': is given by the names of folders only" in str(sources[0].problems[0])


def test_types_are_brought_to_few(tmp_path):
    columns = {
        "dec": pa.array([decimal.Decimal("1.25"), None]),
        "half": pa.array([1.5, 2.5], pa.float16()),
        "large": pa.array(["a", None], pa.large_string()),
        "codes": pa.array([5, 7], pa.int32()).dictionary_encode(),
        "category": pa.array(["x", "y"]).dictionary_encode(),
        "ids": pa.array([[1, 2], None], pa.large_list(pa.int32())),
        "words": pa.array([["a"], []], pa.list_(pa.large_string())),
        "clock": pa.array([3, None], pa.time32("s")),
        "when": pa.array([0, 1], pa.timestamp("ms", "UTC")),
        "flag": pa.array([True, None]),
        "none": pa.nulls(2),
        "struct": pa.array([{"a": 1}, None]),
        "raw": pa.array([b"x", None]),
        "vector": pa.array([[0.5], [1.5]]),
    }
    source = open_source(write(tmp_path / "a.parquet", columns))
    assert {field.name: str(field.type) for field in source.schema} == {
        "dec": "double",
        "half": "float",
        "large": str(TEXT),
        "codes": "int32",
        "category": str(TEXT),
        "ids": "list<item: int32>",
        "words": "list<item: string>",
        "clock": "int64",
        "when": "timestamp[ms, tz=UTC]",
        "flag": "bool",
        "none": "null",
    }
    table = source.head(2)
    assert table.schema.types == source.schema.types
    assert table["dec"].to_pylist() == [1.25, None] and table["codes"].to_pylist() == [5, 7]
    assert table["large"].to_pylist() == ["a", None] and table["words"].to_pylist() == [["a"], []]
    assert table["ids"].to_pylist() == [[1, 2], None] and table["clock"].to_pylist() == [3000, None]
    notes = "\n".join(map(str, source.problems))
    assert "column 'dec': decimal128(3, 2) is read as double" in notes
    for column in ("struct", "raw", "vector"):
        assert f"column '{column}': has type" in notes
    assert {problem.severity for problem in source.problems} == {"note"}


def test_widths_and_dictionaries_unify_across_files(tmp_path):
    write(
        tmp_path / "a.parquet",
        {"i": pa.array([1], pa.int8()), "f": pa.array([0.5], pa.float32()), "s": ["a"], "n": pa.nulls(1)},
    )
    write(
        tmp_path / "b.parquet",
        {"n": ["z"], "s": pa.array(["b"]).dictionary_encode(), "f": pa.array([0.25]), "i": pa.array([2**40])},
    )
    source = open_source(tmp_path)
    assert source.schema == pa.schema({"i": pa.int64(), "f": pa.float64(), "s": TEXT, "n": TEXT})
    rows = [{"i": 1, "f": 0.5, "s": "a", "n": None}, {"i": 2**40, "f": 0.25, "s": "b", "n": "z"}]
    assert [row for batch in source.scan() for row in batch.to_pylist()] == rows
    assert source.problems == ()


def test_integers_meet_floats_with_a_warning_and_never_lose_an_id(tmp_path):
    write(tmp_path / "a.parquet", {"i": pa.array([1, 2**53 + 1])})
    write(tmp_path / "b.parquet", {"i": pa.array([0.5])})
    source = open_source(tmp_path)
    assert "integer in some files, float in others: int64 in" in str(source.problems[0])
    with pytest.raises(UserError, match=r"column 'i' of .*a.parquet: a value of type int64 does not fit into double"):
        list(source.scan())


def test_files_that_disagree_are_all_named(tmp_path):
    write(tmp_path / "a.parquet", {"x": [1], "y": [1], "z": [1]})
    write(tmp_path / "b.parquet", {"x": ["1"], "y": [1], "z": [True]})
    write(tmp_path / "c.parquet", {"x": [1], "z": [1], "extra": [0]})
    with pytest.raises(UserError) as caught:
        open_source(tmp_path)
    text = str(caught.value)
    folder = tmp_path
    assert (
        f"column 'x': mixed types across files: int64 in {folder}/a.parquet, {folder}/c.parquet, text in {folder}/b"
        in text
    )
    assert f"column 'y': missing in 1 of 3 files ({folder}/c.parquet)" in text
    assert f"column 'extra': missing in 2 of 3 files ({folder}/a.parquet, {folder}/b.parquet)" in text
    assert "column 'z': mixed types across files" in text


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (pa.int32(), pa.uint32(), pa.int64()),
        (pa.int64(), pa.uint64(), None),
        (pa.uint8(), pa.uint64(), pa.uint64()),
        (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("s"), pa.timestamp("s", "UTC"), None),
        (pa.date32(), pa.timestamp("s"), None),
        (pa.list_(pa.int8()), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (pa.list_(pa.int8()), pa.list_(pa.string()), None),
        (TEXT, pa.int8(), None),
        (pa.bool_(), pa.int8(), None),
    ],
)
def test_promotion_is_symmetric(left, right, expected):
    assert promote(left, right) == expected and promote(right, left) == expected


def damaged(tmp_path):
    whole = write(tmp_path / "whole.parquet", {"x": np.arange(10_000)}).read_bytes()
    files = {"truncated": whole[:-50], "text": b"hello, I am no Parquet file", "empty": b""}
    for name, content in files.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated", "starts like Parquet but its end is missing or damaged, it was probably truncated"),
        ("text", "is not a Parquet file"),
        ("empty", r"is empty \(0 bytes\); write it again, or remove it"),
        ("absent", "does not exist; did you mean"),
        ("*.pq", "pattern .* matches no file"),
    ],
)
def test_damaged_files(tmp_path, name, message):
    path = damaged(tmp_path) / (name if "*" in name else f"{name}.parquet")
    with pytest.raises(UserError, match=message):
        open_source(path)


def test_all_damaged_files_are_named_at_once(tmp_path):
    damaged(tmp_path)
    with pytest.raises(UserError) as caught:
        open_source([tmp_path / f"{name}.parquet" for name in ("whole", "truncated", "text")])
    assert len(caught.value.problems) == 2


def test_damage_inside_is_found_while_reading(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": np.arange(100_000)}, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"row group 0 cannot be read .*the file is damaged or gone"):
        list(open_source(path).scan())


def test_a_file_that_changes_under_us_is_refused(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": [1, 2]})
    source = open_source(path)
    write(path, {"x": [1, 2, 3]})
    with pytest.raises(UserError, match="was changed while it was in use"):
        list(source.scan())
    path.unlink()
    with pytest.raises(UserError, match="row group 0 cannot be read"):
        list(source.scan())


def test_rows_are_needed_but_single_files_may_be_empty(tmp_path):
    write(tmp_path / "a.parquet", {"x": pa.array([], pa.int64())})
    with pytest.raises(UserError, match=r"a.parquet: has no rows"):
        open_source(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", {"x": [1]})
    source = open_source(tmp_path)
    assert source.rows == 1 and source.fragments[0].file == 1
    assert str(source.problems[0]).endswith("a.parquet': has no rows")


def test_nothing_usable(tmp_path):
    with pytest.raises(UserError, match="has no column that can be used"):
        open_source(write(tmp_path / "a.parquet", {"x": [{"a": 1}]}))
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(UserError, match="column 'x': exists 2 times in table"):
        open_source(twice)


def test_paths(tmp_path):
    (tmp_path / "empty").mkdir()
    parquet = write(tmp_path / "m" / "a.parquet", {"x": [1]})
    (tmp_path / "m" / "b.csv").write_text("x\n1\n")
    odd = write(tmp_path / "noname", {"x": [1]})
    assert open_source(odd).rows == 1
    (tmp_path / "data.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError) as caught:
        open_source([tmp_path / "empty", parquet, parquet, tmp_path / "m" / "b.csv", tmp_path / "data.xlsx"])
    text = str(caught.value)
    for part in (
        "holds no Parquet or CSV file",
        "is named more than once",
        "mixes Parquet and CSV",
        "data.xlsx': is of no known type",
    ):
        assert part in text
    with pytest.raises(UserError, match="the list of files is empty"):
        open_source([])
    with pytest.raises(UserError, match=r"nowhere' does not exist either"):
        open_source(tmp_path / "nowhere" / "a.parquet")
    with pytest.raises(UserError, match=r"empty' is empty"):
        open_source(tmp_path / "empty" / "a.parquet")
    (tmp_path / "m" / ".hidden").touch()
    with pytest.raises(UserError, match=r"does not exist; choose one of a.parquet, b.csv$"):
        open_source(tmp_path / "m" / "other.orc")


def test_unknown_columns_are_suggested(tmp_path):
    source = open_source(write(tmp_path / "a.parquet", {"user": [1], "click": [0]}))
    with pytest.raises(UserError, match=r"column 'clicks': does not exist in .*a.parquet; did you mean 'click'\?"):
        list(source.scan(["clicks"]))
    with pytest.raises(ValueError, match="batch_rows must be at least 1"):
        source.read(source.fragments[0], batch_rows=0)


def test_fingerprint_follows_the_content_not_the_place(tmp_path):
    first = open_source(write(tmp_path / "a" / "x.parquet", {"x": [1, 2]})).fingerprint()
    assert open_source(write(tmp_path / "b" / "y.parquet", {"x": [1, 2]})).fingerprint() == first
    assert open_source(write(tmp_path / "c" / "x.parquet", {"x": [1, 3]})).fingerprint() != first


def test_sources_travel_to_other_processes(tmp_path):
    source = open_source(write(tmp_path / "a.parquet", {"x": [1, 2]}))
    assert pickle.loads(pickle.dumps(source)).head() == source.head()  # noqa: S301 (our own bytes)
