"""Finds a publisher's file however it was packed, and reads it with its content checked.

Mirrors wrap the same file as plain text, gzip, bzip2, xz, tar or zip. What identifies a data set is the content, so the
checksum is that of the unpacked bytes.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from polytask.errors import Problem, UserError

CHUNK = 1 << 20
# RuntimeError: an encrypted zip, or one with a compression that Python does not know
_DAMAGED = (OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)
_UNPACK: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    ".gz": lambda stream: cast("IO[bytes]", gzip.GzipFile(fileobj=stream)),
    ".bz2": lambda stream: cast("IO[bytes]", bz2.BZ2File(stream)),
    ".xz": lambda stream: cast("IO[bytes]", lzma.LZMAFile(stream)),  # noqa: SIM115 - closed by its user below
}


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file of the publisher, known by its content.

    Attributes:
        name: The publisher's name of the unpacked file.
        size: Bytes of the unpacked file.
        sha256: Checksum of the unpacked file, in hexadecimal.
    """

    name: str
    size: int
    sha256: str

    def find(self, folder: Path, archives: tuple[str, ...] = ()) -> Path | None:
        """The file in ``folder``: plain, compressed, or inside one of ``archives``; only names are looked at."""
        names = [self.name, *(self.name + suffix for suffix in _UNPACK), *archives]
        return next((folder / name for name in names if (folder / name).is_file()), None)

    def read(self, path: Path) -> bytes:
        """The verified content of the file at ``path``, unpacked as far as needed.

        Raises:
            UserError: The file is damaged, does not hold this file, or holds other bytes than the publisher's.
        """
        digest = hashlib.sha256()
        pieces: list[bytes] = []
        size = 0
        try:
            with path.open("rb") as file, _member(file, path.name, self.name) as content:
                while size <= self.size and (
                    piece := content.read(CHUNK)
                ):  # never more than a hostile archive's first excess
                    pieces.append(piece)
                    digest.update(piece)
                    size += len(piece)
        except _DAMAGED as error:
            raise UserError(Problem(str(path), f"cannot be read ({error})", "delete it and fetch it again")) from error
        found = f"sha256 {digest.hexdigest()} ({size:,} bytes{' or more' if size > self.size else ''})"
        if size != self.size or digest.hexdigest() != self.sha256:
            what = f"'{self.name}' in it is not the publisher's: expected sha256 {self.sha256} ({self.size:,} bytes)"
            raise UserError(Problem(str(path), f"{what}, found {found}", "delete it and fetch it again"))
        return b"".join(pieces)


@contextmanager
def _member(stream: IO[bytes], packed: str, name: str) -> Iterator[IO[bytes]]:
    """Unpacks ``stream``, a file called ``packed``, until the file called ``name`` is reached."""
    if packed == name:
        yield stream
    elif packed.endswith(".zip"):
        with zipfile.ZipFile(stream) as archive:
            inner = _choose([info.filename for info in archive.infolist() if not info.is_dir()], name)
            with archive.open(inner) as file, _member(file, PurePosixPath(inner).name, name) as content:
                yield content
    elif ".tar" in packed or packed.endswith(".tgz"):
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            yield _tar_member(archive, name)
    elif (suffix := PurePosixPath(packed).suffix) in _UNPACK:
        with _UNPACK[suffix](stream) as file, _member(file, packed.removesuffix(suffix), name) as content:
            yield content
    else:
        raise tarfile.ReadError(f"it is neither '{name}' nor an archive")


def _tar_member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    for info in archive:
        file = archive.extractfile(info) if info.isfile() and PurePosixPath(info.name).name == name else None
        if file is not None:
            return file
    raise tarfile.ReadError(f"it does not hold '{name}'")


def _choose(members: list[str], name: str) -> str:
    """The member called ``name``, or else the one that may hold it: compressed, or an archive in the archive."""

    def rank(member: str) -> int:
        base = PurePosixPath(member).name
        wanted = [name, *(name + suffix for suffix in _UNPACK)]
        return wanted.index(base) if base in wanted else len(wanted) if ".tar" in base or base.endswith(".tgz") else 99

    best = min(members, key=rank, default="")
    if not best or rank(best) == 99:
        raise zipfile.BadZipFile(f"it does not hold '{name}'")
    return best
