"""What a named data set is: files that are found or downloaded, converted once, and described honestly."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from polytask.data.fetch import Progress, fetch
from polytask.data.named.places import cache_folder, data_folder
from polytask.data.named.raw import RawFile
from polytask.errors import Problem, UserError, suggest
from polytask.types import LabelSpec

SPLITS = ("train", "validation", "test")
ROW_GROUP = 65_536


@dataclass(frozen=True, slots=True)
class Download:
    """One address, pinned.

    Attributes:
        url: Where the file is.
        name: What it is called on disk.
        sha256: Checksum of the downloaded file; ``None`` for an archive whose members are checked instead.
        size: Its exact length in bytes, if it is pinned.
        limit: Most bytes accepted where the length is not pinned.
    """

    url: str
    name: str
    sha256: str | None
    size: int | None
    limit: int = 1 << 27


@dataclass(frozen=True, slots=True)
class Protocol:
    """A published way of using a data set: which tasks, and which columns are not features then.

    Attributes:
        description: Whose protocol it is, and what it is for.
        tasks: The tasks, in the publication's order.
        dropped: Columns that are no features under this protocol, each with the reason.
    """

    description: str
    tasks: tuple[LabelSpec, ...]
    dropped: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """A data set as three Parquet files, with what one must know to train on it.

    Attributes:
        name: The data set.
        train: Parquet file of the training rows.
        validation: Parquet file of the validation rows.
        test: Parquet file of the test rows.
        rows: Number of rows per split.
        tasks: The suggested tasks.
        dropped: Columns that must not become features, each with the reason.
        kinds: Per feature column its kind: ``numeric``, ``categorical``, ``sequence``, ``boolean`` or ``datetime``.
        keys: Columns that identify a row, passed through to predictions; those that are features too are in `kinds`.
        group: The column of user or query ids, if there is one.
        split: How the rows were divided, in a sentence.
        protocols: Other ways of using the same rows, see `under`.
    """

    name: str
    train: Path
    validation: Path
    test: Path
    rows: Mapping[str, int]
    tasks: tuple[LabelSpec, ...]
    dropped: Mapping[str, str]
    kinds: Mapping[str, str]
    split: str
    keys: tuple[str, ...] = ()
    group: str | None = None
    protocols: Mapping[str, Protocol] = field(default_factory=dict)

    def under(self, protocol: str) -> PreparedDataset:
        """The same rows with the tasks and the dropped columns of one of `protocols`.

        Raises:
            UserError: There is no such protocol.
        """
        if protocol not in self.protocols:
            what = f"has no protocol '{protocol}'"
            raise UserError(Problem(f"data set '{self.name}'", what, suggest(protocol, tuple(self.protocols))))
        chosen = self.protocols[protocol]
        kinds = {column: kind for column, kind in self.kinds.items() if column not in chosen.dropped}
        return replace(self, tasks=chosen.tasks, dropped=chosen.dropped, kinds=kinds)


class NamedDataset(ABC):
    """A public data set known by name. Subclasses describe it and convert it; finding and keeping is done here.

    A data set is looked for in ``POLYTASK_DATA`` (there, or in one of `folders` below it) and then in the user's cache.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    homepage: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    protocols: ClassVar[Mapping[str, Protocol]] = {}
    files: ClassVar[tuple[RawFile, ...]]
    archives: ClassVar[tuple[str, ...]] = ()
    downloads: ClassVar[tuple[Download, ...]]
    converter: ClassVar[int]
    """Raise it when `convert` or `summary` changes what is written: old conversions are then not used any more."""

    @abstractmethod
    def convert(self, raw: Mapping[str, bytes]) -> Mapping[str, pa.Table]:
        """The three splits as tables, from the verified contents of `files` by their names."""

    @abstractmethod
    def summary(self, folder: Path, rows: Mapping[str, int]) -> PreparedDataset:
        """What is said about the three Parquet files in ``folder``."""

    def locate(self) -> Path | None:
        """The folder that holds all `files`, packed or not; ``None`` where there is none. Contents are not read here.

        Raises:
            UserError: ``POLYTASK_DATA`` is set to something that is not a folder.
        """
        root = data_folder()
        places = [] if root is None else [root, *(root / folder for folder in self.folders)]
        places.append(self.cached)
        return next((place for place in places if all(file.find(place, self.archives) for file in self.files)), None)

    @property
    def cached(self) -> Path:
        """The folder in the user's cache where `fetch` puts the publisher's files."""
        return cache_folder() / "raw" / self.folders[0]

    def fetch(self, progress: Progress | None = None) -> Path:
        """Downloads the publisher's files into the user's cache and returns their folder; keeps those already there.

        Args:
            progress: Called with the bytes that are there and the bytes there will be, over all files together;
                the second is ``None`` while unknown.

        Raises:
            UserError: A file cannot be had or is not the publisher's; see `polytask.data.fetch.fetch`.
        """
        sizes = [download.size for download in self.downloads]
        total = sum(size for size in sizes if size is not None) if None not in sizes else None
        before = 0
        for download in self.downloads:
            target = self.cached / download.name
            report = None if progress is None else _shifted(progress, before, total)
            fetch(
                download.url,
                target,
                sha256=download.sha256,
                size=download.size,
                limit=download.limit,
                progress=report,
            )
            before += target.stat().st_size
        self._verify_archives()
        return self.cached

    def prepare(self, cache: Path | None = None) -> PreparedDataset:
        """The data set as Parquet, converted on the first call and kept.

        Args:
            cache: Where conversions are kept; the user's cache by default.

        Raises:
            UserError: The publisher's files are neither found nor converted before, or are not the publisher's, or the
                cache cannot be written.
        """
        home = (cache_folder() if cache is None else cache) / "prepared"
        folder = home / f"{self.name}-{self.key}"
        if not _complete(folder):
            tables = self.convert(self._contents())
            try:
                _write(tables, folder)
            except OSError as error:
                what = f"cannot be written ({error.strerror or error})"
                raise UserError(
                    Problem(str(home), what, "set POLYTASK_CACHE to a folder that you may write")
                ) from error
        try:
            rows = {split: pq.read_metadata(folder / f"{split}.parquet").num_rows for split in SPLITS}
        except pa.ArrowInvalid as error:
            raise UserError(
                Problem(str(folder), f"is damaged ({error})", "delete that folder and run again")
            ) from error
        return self.summary(folder, rows)

    @property
    def key(self) -> str:
        """Identifies a conversion: checksums of the publisher's files and the version of the converter."""
        parts = [str(self.converter), *(file.sha256 for file in self.files)]
        return sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _contents(self) -> dict[str, bytes]:
        folder = self.locate()
        if folder is None:
            looked = " and ".join(str(place) for place in (data_folder(), self.cached) if place is not None)
            what = f"its files ({', '.join(file.name for file in self.files)}) are not in {looked}"
            remedy = f"run 'polytask data fetch {self.name}', or set POLYTASK_DATA to the folder that holds them"
            raise UserError(Problem(f"data set '{self.name}'", what, remedy))
        paths = {file: file.find(folder, self.archives) for file in self.files}
        return {file.name: file.read(path) for file, path in paths.items() if path is not None}

    def _verify_archives(self) -> None:
        """A download without a checksum of its own is an archive: what is in it must be the publisher's files."""
        for download in self.downloads:
            if download.sha256 is None:
                path = self.cached / download.name
                try:
                    for file in self.files:
                        file.read(path)
                except UserError:
                    path.unlink(missing_ok=True)
                    raise


def _shifted(progress: Progress, before: int, total: int | None) -> Progress:
    def report(done: int, of: int | None) -> None:
        progress(before + done, total if total is not None else None if of is None else before + of)

    return report


def _complete(folder: Path) -> bool:
    return all((folder / f"{split}.parquet").is_file() for split in SPLITS)


def _write(tables: Mapping[str, pa.Table], folder: Path) -> None:
    """Writes all splits or none: into a folder beside, which then takes its name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as beside:
        new = Path(beside) / folder.name
        new.mkdir()
        for split in SPLITS:
            pq.write_table(tables[split], new / f"{split}.parquet", row_group_size=ROW_GROUP, compression="zstd")
        try:
            new.replace(folder)
        except OSError:  # something is there: the same from another process, or the rest of a damaged conversion
            if _complete(folder):
                return  # the other process reads it by now
            for split in SPLITS:
                (new / f"{split}.parquet").replace(folder / f"{split}.parquet")
