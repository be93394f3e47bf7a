"""CSV sources: types from all rows, broken files with their lines, and the cache."""

import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.data.sources import CsvOptions, open_source
from polytask.data.sources.csv import cache_folder
from polytask.data.sources.normal import TEXT
from polytask.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "csv"


def opened(tmp_path, text, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_source(path, csv=CsvOptions(**options))


def table(tmp_path, text, name="a.csv", **options):
    return opened(tmp_path, text, name, **options).head(1000).to_pydict()


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2", "", " 3 "], pa.int64(), [1, -2, None, 3]),
        (["9007199254740993", "1", "NA", "2"], pa.int64(), [2**53 + 1, 1, None, 2]),
        (["18446744073709551615", "1", "2", "3"], pa.uint64(), [2**64 - 1, 1, 2, 3]),
        (["18446744073709551615", "-1", "2", "3"], TEXT, ["18446744073709551615", "-1", "2", "3"]),
        (["123456789012345678901", "1", "2", "3"], TEXT, ["123456789012345678901", "1", "2", "3"]),
        (["1", "2.5", "-.5e3", "null"], pa.float64(), [1.0, 2.5, -500.0, None]),
        (["inf", "-Infinity", "1", "None"], pa.float64(), [float("inf"), float("-inf"), 1.0, None]),
        (["true", "False", "TRUE", "NaN"], pa.bool_(), [True, False, True, None]),
        (["", "NA", "NaN", "null"], pa.null(), [None] * 4),
        (["2022-01-01", "2022-12-31", "", "2022-01-02"], pa.date32(), None),
        (["2022-01-01 10:00", "2022-12-31", "", "2022-01-02T10:00:00.5"], pa.timestamp("us"), None),
        (["2022-01-01 10:00Z", "2022-12-31 10:00:00+02:00", "", "2022-01-01 10:00Z"], pa.timestamp("us", "UTC"), None),
        (["2022-13-01", "2022-12-31", "", "x"], TEXT, ["2022-13-01", "2022-12-31", None, "x"]),
        (["1_000", "0x10", "1d", "--1"], TEXT, ["1_000", "0x10", "1d", "--1"]),
        (['"a,b"', '"x""y"', '"line\nbreak"', "é"], TEXT, ["a,b", 'x"y', "line\nbreak", "é"]),
    ],
)
def test_types(tmp_path, cells, kind, values):
    source = opened(tmp_path, "k,x\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    assert source.schema.field("x").type == kind
    if values is not None:
        assert source.head()["x"].to_pylist() == values


def test_dates_and_times_have_their_values(tmp_path):
    text = "d,t\n2022-01-02,2022-01-02\n1969-12-31,2022-01-02 03:04:05.25\n"
    found = table(tmp_path, text)
    assert [str(value) for value in found["d"]] == ["2022-01-02", "1969-12-31"]
    assert [str(value) for value in found["t"]] == ["2022-01-02 00:00:00", "2022-01-02 03:04:05.250000"]


def test_types_come_from_all_rows_even_beyond_the_first_block(tmp_path, monkeypatch):
    monkeypatch.setattr("polytask.data.sources.csv_text.BLOCK_BYTES", 1000)
    lines = [f"{i},{i},{i},\n" for i in range(1000)]
    lines[700], lines[800], lines[900] = "0,1.5,0,\n", "0,0,oops,\n", "0,0,0,7\n"
    source = opened(tmp_path, "int,float,mixed,late\n" + "".join(lines))
    assert source.schema.types == [pa.int64(), pa.float64(), TEXT, pa.int64()]
    (problem,) = source.problems
    assert problem.severity == "warning"
    assert "column 'mixed' of" in problem.where
    assert "mixed types: 1 of 1,000 values are not numbers (first: 'oops' on line 802)" in problem.what
    assert "leave the cells empty if 'oops' means 'missing'" in problem.remedy
    found = source.head(1000)
    assert found["late"].to_pylist()[899:902] == [None, 7, None] and found["mixed"][801].as_py() == "801"
    assert [fragment.rows for fragment in source.fragments] == [1000]


def test_null_tokens(tmp_path):
    text = "a,b\n?,x\n1,?\n"
    assert table(tmp_path, text) == {"a": ["?", "1"], "b": ["x", "?"]}
    assert table(tmp_path, text, null_tokens=("", "?")) == {"a": [None, 1], "b": ["x", None]}


@pytest.mark.parametrize("strip", [None, True])
def test_spaces_after_the_separator(tmp_path, strip):
    text = "a, b, c\n1, x y, ?\n2,  z, 3\n"
    found = table(tmp_path, text, strip=strip, null_tokens=("", "?"))
    assert found == {"a": [1, 2], "b": ["x y", "z"], "c": [None, 3]}


def test_spaces_stay_where_not_every_line_has_them(tmp_path):
    assert table(tmp_path, "a,b\n1, x\n2,y\n")["b"] == [" x", "y"]
    assert table(tmp_path, "a, b\n1, x\n2,y\n", strip=False)["b"] == [" x", "y"]


def test_separators_compression_and_line_ends(tmp_path):
    expected = {"a": [1, 2], "b": ["x", "y"]}
    assert table(tmp_path, "a\tb\n1\tx\n2\ty\n", "a.tsv") == expected
    assert table(tmp_path, "a;b\n1;x\n2;y\n", separator=";") == expected
    for mark in ";\t|":
        assert table(tmp_path, "a;b\n1;x\n2;y\n".replace(";", mark), "seen.csv") == expected
    assert table(tmp_path, "\ufeffa,b\r\n1,x\r\n\r\n2,y") == expected
    assert table(tmp_path, gzip.compress(b"a,b\n1,x\n2,y\n"), "a.csv.gz") == expected
    assert table(tmp_path, bz2.compress(b"a,b\n1,x\n2,y\n"), "a.csv.bz2") == expected
    assert table(tmp_path, "a\tb\n1\tx\n2\ty\n".encode("utf-16"), "u.tsv", encoding="utf-16") == expected
    assert table(tmp_path, "\n1,x\n2,y\n", column_names=("a", "b")) == expected
    assert table(tmp_path, 'a\tb\n1\t"x\n2\ty"z\n', "q.tsv", quoting=False) == {"a": [1, 2], "b": ['"x', 'y"z']}


def test_folders_of_csv_files(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.csv").write_text("x,s\n1,a\n")
    (folder / "b.csv").write_text("x,s\n2,\n")
    source = open_source(folder)
    assert pa.Table.from_batches(source.scan()).to_pydict() == {"x": [1, 2], "s": ["a", None]}
    (folder / "c.csv").write_text("x,s\nseven,a\n")
    with pytest.raises(UserError, match=r"column 'x': mixed types across files: int64 in .*a.csv.*text in .*c.csv"):
        open_source(folder)
    (folder / "b.csv").write_text("x,s\n2\n")
    (folder / "c.csv").write_text("")
    with pytest.raises(UserError) as caught:
        open_source([folder / "a.csv", folder / "b.csv"])
    assert "ragged" in str(caught.value)


def test_ragged_rows_are_named_by_line(tmp_path):
    text = 'a,b\n1,"two\nlines"\n\n3\n4,5,6\n7,8\n9\n10\n'
    with pytest.raises(UserError) as caught:
        opened(tmp_path, text)
    assert "4 ragged rows; expected 2 fields as in the header: line 5 has 1, line 6 has 3, line 8 has 1" in str(
        caught.value
    )
    assert not list((tmp_path / "cache").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"", {}, r"is empty \(0 bytes\)"),
        ("\n\n", {}, "has no lines"),
        ("a,b\n", {}, "has a header line but no rows"),
        ("a,a,b\n1,2,3\n", {}, "2 columns are named 'a'; give every column its own name, or add a header"),
        (
            ",b\n0,1\n",
            {},
            r"column 1 has no name in the header line; name it \(a pandas index: write with index=False\)",
        ),
        ("a;b\n1;2;3\n", {}, "has a single column, named 'a;b'; the separator seems to be ';'"),
        (b"a,b\n1,caf\xe9\n", {}, r"line 2 \(byte 9\) is not utf-8: found 0xe9; convert the file to UTF-8"),
        (b"a,caf\xe9\n1,2\n", {}, r"line 1 \(byte 5\) is not utf-8"),
        ("a,b\n1,2\n".encode("utf-16"), {}, r"line 1 \(byte 0\) is not utf-8: found 0xff"),
        ("a,b\n1,2\n", {"column_names": ("x", "y", "z")}, "2 ragged rows; expected 3 fields"),
    ],
)
def test_broken_files(tmp_path, text, options, message):
    with pytest.raises(UserError, match=message):
        opened(tmp_path, text, **options)


def test_latin_1_can_be_asked_for(tmp_path):
    assert table(tmp_path, b"a,b\n1,caf\xe9\n", encoding="latin-1") == {"a": [1], "b": ["café"]}


def test_a_quotation_mark_that_never_closes(tmp_path, monkeypatch):
    monkeypatch.setattr("polytask.data.sources.csv_text.BLOCK_BYTES", 1000)
    with pytest.raises(UserError, match="a quotation mark is never closed; repair it, or set quoting=False"):
        opened(tmp_path, 'a,b\n1,"x\n' + "2,y\n" * 2000)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_truncated_compression(tmp_path, compress):
    content = compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20_000)))
    name = "a.csv.gz" if compress is gzip.compress else "a.csv.bz2"
    with pytest.raises(UserError, match="cannot be read"):
        opened(tmp_path, content[: len(content) // 2], name)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"separator": "::"}, "must be one character, found '::'"), ({"encoding": "utf8x"}, "'utf8x' is unknown")],
)
def test_options_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        CsvOptions(**options)


def test_the_cache_is_used_and_follows_the_file(tmp_path, cache, monkeypatch):
    text = "a,b\n1,x\n2,3\n4,5\n"
    first = opened(tmp_path, text)
    (copy,) = cache.iterdir()
    assert copy.suffix == ".parquet" and len(first.problems) == 1
    monkeypatch.setattr("polytask.data.sources.csv._survey", lambda *_: pytest.fail("read again"))
    again = open_source(tmp_path / "a.csv")
    assert again.problems == first.problems and again.head() == first.head()
    assert again.fingerprint() == first.fingerprint()
    monkeypatch.undo()
    monkeypatch.setenv("POLYTASK_CACHE", str(cache.parent))
    changed = opened(tmp_path, text + "6,7\n")
    assert changed.rows == 4 and changed.fingerprint() != first.fingerprint()
    assert open_source(tmp_path / "a.csv", csv=CsvOptions(null_tokens=("x",))).head()["b"].to_pylist()[0] is None
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_copy_is_made_again(tmp_path, cache):
    opened(tmp_path, "a\n1\n")
    (copy,) = cache.iterdir()
    copy.write_bytes(b"PAR1 no more")
    assert open_source(tmp_path / "a.csv").head()["a"].to_pylist() == [1]
    assert pq.read_metadata(copy).num_rows == 1


def test_the_cache_folder(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache" / "csv"
    monkeypatch.delenv("POLYTASK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "polytask" / "csv"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "polytask" / "csv"
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written .*set POLYTASK_CACHE"):
        open_source(tmp_path / "a.csv", cache=tmp_path / "file" / "sub")
    assert open_source(tmp_path / "a.csv", cache=tmp_path / "own").rows == 1


def test_row_groups_of_65536_rows(tmp_path):
    text = "i,s\n" + "".join(f"{i},v{i % 10}\n" for i in range(140_000))
    source = opened(tmp_path, text)
    assert [fragment.rows for fragment in source.fragments] == [65_536, 65_536, 8_928]
    assert [i for batch in source.scan(["i"]) for i in batch["i"].to_pylist()] == list(range(140_000))
