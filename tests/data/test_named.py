"""Named data sets: looked up, downloaded, checked and converted once; the real ones where they are at hand."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import http.server
import io
import lzma
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from polytask.data import named
from polytask.data.expressions import parse
from polytask.data.named import Download, NamedDataset, PreparedDataset, RawFile
from polytask.data.named.census_income import COLUMNS, halves, read
from polytask.data.named.kuairand import OUTCOMES, clean, lookup
from polytask.errors import UserError

ONE, TWO = b"a,b\n1,2\n" * 40_000, b"c\n3\n"


def raw_file(name: str, content: bytes) -> RawFile:
    return RawFile(name, len(content), hashlib.sha256(content).hexdigest())


def packed_zip(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def packed_tar(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Toy(NamedDataset):
    """Two files, shipped in one archive."""

    name: ClassVar[str] = "toy"
    description: ClassVar[str] = "a toy"
    licence: ClassVar[str] = "none"
    citation: ClassVar[str] = "none"
    homepage: ClassVar[str] = "none"
    folders: ClassVar[tuple[str, ...]] = ("toy_folder", "toy")
    files: ClassVar[tuple[RawFile, ...]] = (raw_file("one.csv", ONE), raw_file("two.csv", TWO))
    archives: ClassVar[tuple[str, ...]] = ("toy.zip",)
    downloads: ClassVar[tuple[Download, ...]] = ()
    converter: ClassVar[int] = 1
    conversions = 0

    def convert(self, raw: Mapping[str, bytes]) -> Mapping[str, pa.Table]:
        type(self).conversions += 1
        assert raw == {"one.csv": ONE, "two.csv": TWO}
        return {split: pa.table({"x": list(range(n))}) for split, n in {"train": 3, "validation": 2, "test": 1}.items()}

    def summary(self, folder: Path, rows: Mapping[str, int]) -> PreparedDataset:
        files = [folder / f"{split}.parquet" for split in ("train", "validation", "test")]
        return PreparedDataset(self.name, *files, rows, (), {}, {"x": "numeric"}, "by hand")


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POLYTASK_DATA", raising=False)
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def toy() -> type[Toy]:
    return type("FreshToy", (Toy,), {"conversions": 0})


# --- the registry -----------------------------------------------------------------------------------------------------


def test_every_data_set_is_described() -> None:
    assert named.names() == ("census-income", "kuairand")
    for name in named.names():
        dataset = named.get(name)
        assert dataset.name == name
        assert all(len(file.sha256) == 64 and file.size > 0 for file in dataset.files)
        assert all(download.url.startswith("https://") for download in dataset.downloads)
        assert dataset.homepage.startswith("https://")
        described = named.describe(name)
        assert described["location"] == ""
        assert all(isinstance(text, str) for text in described.values())
        assert dataset.licence == described["licence"] != ""


def test_an_unknown_name_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"data set 'kuairnd': is not known; did you mean 'kuairand'\?"):
        named.get("kuairnd")
    with pytest.raises(UserError, match="choose one of census-income, kuairand"):
        named.describe("movies")


# --- where it is looked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "toy_folder", "toy"])
def test_the_data_folder_comes_before_the_cache(below: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in (tmp_path / "data" / below, Toy().cached):
        folder.mkdir(parents=True)
        (folder / "one.csv").write_bytes(ONE)
        (folder / "two.csv.gz").write_bytes(gzip.compress(TWO))
    assert Toy().locate() == tmp_path / "cache" / "raw" / "toy_folder"
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path / "data"))
    assert Toy().locate() == tmp_path / "data" / below


def test_half_a_data_set_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    (tmp_path / "one.csv").write_bytes(ONE)
    assert Toy().locate() is None


def test_a_wrong_data_folder_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path / "typo"))
    with pytest.raises(UserError, match=r"POLYTASK_DATA: names '.*typo', which is not there; name an existing folder"):
        Toy().locate()


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert named.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("POLYTASK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert named.cache_folder() == tmp_path / "xdg" / "polytask"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert named.cache_folder() == tmp_path / "home" / ".cache" / "polytask"


# --- packaging and checksums ------------------------------------------------------------------------------------------

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "one.csv": lambda content: content,
    "one.csv.gz": gzip.compress,
    "one.csv.bz2": bz2.compress,
    "one.csv.xz": lzma.compress,
    "toy.zip": lambda content: packed_zip({"readme.txt": b"?", "deep/one.csv": content}),
    "toy.tar.gz": lambda content: packed_tar({"readme.txt": b"?", "./deep/one.csv": content}),
    "toy2.zip": lambda content: packed_zip({"names.txt": b"?", "toy.tar.gz": packed_tar({"one.csv": content})}),
    "toy3.zip": lambda content: packed_zip({"one.csv.gz": gzip.compress(content)}),
}


@pytest.mark.parametrize("name", PACKINGS)
def test_the_content_counts_not_the_packaging(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKINGS[name](ONE))
    file = raw_file("one.csv", ONE)
    path = file.find(tmp_path, archives=("toy.zip", "toy.tar.gz", "toy2.zip", "toy3.zip"))
    assert path == tmp_path / name
    assert file.read(path) == ONE


@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("wrong", [ONE + b"x", ONE[:-1], b"b" + ONE[1:], ONE * 3])
def test_other_content_is_refused(name: str, wrong: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKINGS[name](wrong))
    with pytest.raises(UserError, match=r"'one.csv' in it is not the publisher's: expected sha256 .*, found sha256"):
        raw_file("one.csv", ONE).read(tmp_path / name)


@pytest.mark.parametrize("name", [name for name in PACKINGS if name != "one.csv"])
def test_a_truncated_package_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKINGS[name](ONE)[:-40])
    with pytest.raises(UserError, match=r"delete it and fetch it again"):
        raw_file("one.csv", ONE).read(tmp_path / name)


@pytest.mark.parametrize("content", [packed_zip({"other.csv": ONE}), packed_tar({"other.csv": ONE})])
def test_an_archive_without_the_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / ("toy.zip" if content.startswith(b"PK") else "toy.tar.gz")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read \(it does not hold 'one.csv'\)"):
        raw_file("one.csv", ONE).read(path)


# --- preparing --------------------------------------------------------------------------------------------------------


def test_a_data_set_is_converted_once(toy: type[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.zip").write_bytes(packed_zip({"one.csv": ONE, "two.csv": TWO}))
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    prepared = toy().prepare()
    assert dict(prepared.rows) == {"train": 3, "validation": 2, "test": 1}
    assert pq.read_table(prepared.test)["x"].to_pylist() == [0]
    monkeypatch.delenv("POLYTASK_DATA")
    assert toy().prepare() == prepared, "the conversion is enough"
    assert toy.conversions == 1
    assert [path.name for path in (tmp_path / "cache" / "prepared").iterdir()] == [f"toy-{toy().key}"]


def test_a_lost_file_is_made_again(toy: type[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.zip").write_bytes(packed_zip({"one.csv": ONE, "two.csv": TWO}))
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    toy().prepare().validation.unlink()
    assert pq.read_table(toy().prepare().validation).num_rows == 2
    toy().prepare().train.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"is damaged .*; delete that folder and run again"):
        toy().prepare()


def test_two_processes_may_convert_at_once(toy: type[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.zip").write_bytes(packed_zip({"one.csv": ONE, "two.csv": TWO}))
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    other: list[tuple[Path, int]] = []

    class Slower(toy):  # type: ignore[valid-type, misc]
        def convert(self, raw: Mapping[str, bytes]) -> Mapping[str, pa.Table]:
            first = toy().prepare().train
            other.append((first, first.stat().st_ino))
            return super().convert(raw)  # type: ignore[no-any-return]

    second = Slower().prepare().train
    assert [(second, second.stat().st_ino)] == other, "files that another process reads are not replaced"


def test_another_converter_makes_another_conversion(toy: type[Toy]) -> None:
    newer = type("NewerToy", (Toy,), {"converter": 2})
    assert newer().key != toy().key


def test_missing_files_name_the_command(toy: type[Toy], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        toy().prepare()
    text = str(caught.value)
    assert f"its files (one.csv, two.csv) are not in {tmp_path / 'cache' / 'raw' / 'toy_folder'}" in text
    assert "run 'polytask data fetch toy', or set POLYTASK_DATA" in text


def test_a_cache_that_cannot_be_written_is_named(
    toy: type[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy.zip").write_bytes(packed_zip({"one.csv": ONE, "two.csv": TWO}))
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written \(.*\); set POLYTASK_CACHE"):
        toy().prepare(tmp_path / "blocked")


def test_an_unknown_protocol_is_answered_with_a_suggestion() -> None:
    prepared = named.get("census-income").summary(Path("x"), {"train": 1, "validation": 1, "test": 1})
    with pytest.raises(UserError, match=r"data set 'census-income': has no protocol 'ma-2018-group-3'; did you mean"):
        prepared.under("ma-2018-group-3")


# --- fetching ---------------------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "site"
    folder.mkdir()
    serve = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_files_are_fetched_with_one_progress(site: tuple[Path, str], toy: type[Toy]) -> None:
    folder, url = site
    downloads = []
    for file, content in zip(Toy.files, (ONE, TWO), strict=True):
        (folder / file.name).write_bytes(content)
        downloads.append(Download(f"{url}/{file.name}", file.name, file.sha256, file.size))
    toy.downloads = tuple(downloads)
    seen: list[tuple[int, int | None]] = []
    assert toy().fetch(lambda *state: seen.append(state)) == toy().locate() == toy().cached
    assert seen[-1] == (len(ONE) + len(TWO), len(ONE) + len(TWO))
    assert seen == sorted(seen)
    assert toy().prepare().rows["train"] == 3


def test_an_archive_is_judged_by_its_members(site: tuple[Path, str], toy: type[Toy]) -> None:
    folder, url = site
    toy.downloads = (Download(f"{url}/toy.zip", "toy.zip", None, None),)
    (folder / "toy.zip").write_bytes(packed_zip({"one.csv": ONE, "two.csv": b"tampered"}))
    with pytest.raises(UserError, match=r"'two.csv' in it is not the publisher's"):
        toy().fetch()
    assert toy().locate() is None, "a wrong archive is not kept"
    (folder / "toy.zip").write_bytes(packed_zip({"x.tar.gz": packed_tar({"one.csv": ONE, "two.csv": TWO})}))
    seen: list[tuple[int, int | None]] = []
    toy().fetch(lambda *state: seen.append(state))
    size = (folder / "toy.zip").stat().st_size
    assert seen[-1] == (size, size)
    assert toy().prepare().rows["train"] == 3


# --- converters, on made-up rows --------------------------------------------------------------------------------------


def test_census_rows_are_named_stripped_and_their_gaps_missing() -> None:
    row = ["41", *["Some value "] * 41]
    for name in ("industry_code", "occupation_code", "wage_per_hour", "capital_gains", "capital_losses", "dividends"):
        row[COLUMNS.index(name)] = "7"
    for name in ("employer_size", "own_business", "veterans_benefits", "weeks_worked", "year"):
        row[COLUMNS.index(name)] = "2"
    row[COLUMNS.index("instance_weight")] = "1700.09"
    row[COLUMNS.index("migration_msa")] = "?"
    table = read((", ".join(row) + "\n").encode() * 2)
    assert table.num_rows == 2
    assert table.column_names == list(COLUMNS)
    assert table["education"].to_pylist() == ["Some value"] * 2
    assert table["migration_msa"].to_pylist() == [None, None]
    assert table["age"].to_pylist() == [41, 41]
    assert table.schema.field("industry_code").type == pa.int32()
    assert table["instance_weight"].to_pylist() == [1700.09] * 2


def test_the_halves_are_pinned() -> None:
    assert halves(16).nonzero()[0].tolist() == [1, 4, 5, 6, 7, 11, 13, 15]
    assert halves(99_762).sum() == 49_881
    assert halves(7).sum() == 3


def test_kuairand_lookup_keeps_order_and_large_ids() -> None:
    big = 2**24
    table = pa.table({"id": [big + 1, big, 5, big + 1]})
    other = pa.table({"id": [big, big + 1], "x": [10, 11]})
    assert lookup(table, other, "id")["x"].to_pylist() == [11, 10, None, 11]


def test_kuairand_impressions_are_cleaned() -> None:
    log = pa.table(
        {
            **{name: [1, 2, 3] for name in ("user_id", "video_id", "author_id", "date", "tab", "is_rand", *OUTCOMES)},
            "time_ms": [30, 10, 20],
            "hourmin": [2300, 0, 900],
            "duration_ms": [5, 0, 6],
            "tag": ["39,68", "unknown", "7"],
            "upload_date": [20220409] * 3,
            "freshness_days": [14, 15, 16],
        }
    )
    table = clean(log)
    assert table["time_ms"].to_pylist() == [10, 20, 30]
    assert table["user_id"].to_pylist() == [2, 3, 1]
    assert table["hour"].to_pylist() == [0, 9, 23]
    assert table["duration_ms"].to_pylist() == [None, 6, 5]
    assert table["tag"].to_pylist() == [None, [7], [39, 68]]


# --- the real files, where they are at hand ---------------------------------------------------------------------------

REAL = os.environ.get("POLYTASK_DATA", "")


def prepared(name: str, factory: pytest.TempPathFactory) -> PreparedDataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYTASK_DATA", REAL)
        if named.get(name).locate() is None:
            pytest.skip(f"POLYTASK_DATA does not hold {name}")
        return named.get(name).prepare(factory.mktemp(name))


@pytest.fixture(scope="module")
def census(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared("census-income", tmp_path_factory)


@pytest.fixture(scope="module")
def kuairand(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared("kuairand", tmp_path_factory)


needs_data = pytest.mark.skipif(not REAL, reason="POLYTASK_DATA is not set")


def every_column_has_a_role(dataset: PreparedDataset) -> None:
    for path in (dataset.train, dataset.validation, dataset.test):
        assert set(pq.read_schema(path).names) == set(dataset.dropped) | set(dataset.kinds)
    assert not set(dataset.dropped) & set(dataset.kinds)
    assert all(dataset.dropped.values()), "every dropped column has its reason"


def labels_of(dataset: PreparedDataset, *paths: Path) -> dict[str, npt.NDArray[np.float64]]:
    """The label of every task over the rows of these files, by its own expression."""
    table = pa.concat_tables([pq.read_table(path) for path in paths]).combine_chunks()
    (batch,) = table.to_batches()
    values = {task.task: parse(task.label, table.column_names).evaluate(batch) for task in dataset.tasks}
    return {task: np.asarray(value.cast(pa.float64())) for task, value in values.items()}


@needs_data
def test_census_rates_and_correlations(census: PreparedDataset) -> None:
    assert dict(census.rows) == {"train": 199_523, "validation": 49_881, "test": 49_881}
    every_column_has_a_role(census)
    for paths, expected in (
        ([census.train], {"income": 6.206, "never_married": 43.35, "college": 33.58}),
        ([census.validation, census.test], {"income": 6.201, "never_married": 43.25, "college": 33.49}),
    ):
        found = {task: 100 * values.mean() for task, values in labels_of(census, *paths).items()}
        assert found == pytest.approx(expected, abs=0.0051)
    everyone = labels_of(census.under("ma-2018-group-2"), census.train, census.validation, census.test)
    assert len(everyone["never_married"]) == 299_285
    correlation = np.corrcoef(everyone["college_associate"], everyone["never_married"])[0, 1]
    assert correlation == pytest.approx(-0.239, abs=0.0005)
    train = pq.read_table(census.train)
    assert train["migration_msa"].null_count > 0
    assert train["age"].null_count == train["income"].null_count == 0


@needs_data
def test_census_protocols_hide_what_defines_the_tasks(census: PreparedDataset) -> None:
    for name in ("ma-2018-group-1", "ma-2018-group-2"):
        protocol = census.under(name)
        assert len(protocol.tasks) == 2
        assert not {"education", "marital_status", "income", "instance_weight"} & set(protocol.kinds)
        every_column_has_a_role(protocol)
    assert census.under("ma-2018-group-1").tasks[0].task == "income"


@needs_data
def test_kuairand_rates_and_columns(kuairand: PreparedDataset) -> None:
    assert dict(kuairand.rows) == {"train": 94_784, "validation": 133_545 // 3, "test": 133_545 - 133_545 // 3}
    every_column_has_a_role(kuairand)
    train = pq.read_table(kuairand.train)
    validation, test = pq.read_table(kuairand.validation), pq.read_table(kuairand.test)
    early = labels_of(kuairand, kuairand.train)
    late = labels_of(kuairand, kuairand.validation, kuairand.test)
    assert list(early) == ["click", "long_view", "like", "profile", "follow", "comment", "forward"]
    expected = {  # percent, in training and later
        "click": (43.8, 44.5), "long_view": (30.7, 31.3), "like": (1.71, 1.71), "profile": (1.94, 1.79),
        "follow": (0.14, 0.13), "comment": (0.23, 0.27), "forward": (0.08, 0.09),
    }  # fmt: skip
    for task, rates in expected.items():
        found = [100 * part[task].mean() for part in (early, late)]
        assert found == pytest.approx(rates, abs=0.05 if rates[0] > 10 else 0.0051), task
    assert pc.mean(train["play_time_ms"]).as_py() == pytest.approx(21_500, abs=100)
    assert pc.max(train["date"]).as_py() == 20220430
    assert pc.min(validation["date"]).as_py() == 20220501
    assert pc.max(validation["time_ms"]).as_py() <= pc.min(test["time_ms"]).as_py()
    assert train["music_id"].type == train["user_id"].type == pa.int64()
    assert train["music_id"].null_count == train["user_active_degree"].null_count == 0


@needs_data
def test_kuairand_features_hold_no_outcome(kuairand: PreparedDataset) -> None:
    hidden = {
        "is_hate",
        "play_time_ms",
        "profile_stay_time",
        "comment_stay_time",
        "watch_ratio",
        "finish",
        "is_positive",
    }
    hidden |= {"like", "long_watch", *(task.label for task in kuairand.tasks)}
    assert not hidden & set(kuairand.kinds)
    with_time = kuairand.under("with-play-time")
    assert with_time.tasks[-1].label == "play_time_ms"
    assert with_time.kinds == kuairand.kinds
