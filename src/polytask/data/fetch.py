"""Downloads one file: resumable, checked, bounded, and with an error that helps when it cannot be had."""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from polytask.errors import Problem, UserError

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be (``None`` where the server does not say)."""

CHUNK = 1 << 18
LARGEST = 1 << 31  # bytes
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class _TransientError(Exception):
    """Worth another attempt."""


class _RestartError(Exception):
    """The partial file cannot be continued; the next attempt starts from its first byte."""


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s) only, and never from https down to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise UserError(Problem(req.full_url, f"redirects to {newurl}, which is not followed", "check the address"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True, slots=True)
class _Job:
    url: str
    target: Path
    sha256: str | None
    size: int | None
    limit: int
    progress: Progress | None
    timeout: float

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def by_hand(self) -> str:
        checksum = f" (sha256 {self.sha256})" if self.sha256 else ""
        by_hand = f"download it by hand, save it as {self.target}{checksum}"
        return f"{by_hand}, or set POLYTASK_DATA to a folder that already holds the data"

    def fail(self, what: str, remedy: str | None = None) -> UserError:
        return UserError(Problem(self.url, what, self.by_hand if remedy is None else remedy))


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size: int | None = None,
    limit: int = LARGEST,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 0.5,
) -> Path:
    """Downloads ``url`` to ``target`` and returns ``target``; nothing is done when the right file is already there.

    Bytes go to ``target`` + ``.part`` and are hashed on the way; the file gets its name when it is complete and its
    checksum is right. A ``.part`` left by an earlier attempt, or by a killed process, is continued where the server
    honours byte ranges, and begun anew where it does not.

    Args:
        url: An ``http`` or ``https`` address.
        target: Where the file goes; missing folders are made.
        sha256: Checksum of the file in hexadecimal; ``None`` only where the caller verifies the content itself.
        size: Exact length in bytes, where known.
        limit: Most bytes that are ever written, for files of unknown size.
        progress: Called about every 256 KiB.
        timeout: Seconds without a byte from the server that count as a failure.
        attempts: Tries in all; only failures that can pass (time-outs, cut connections, HTTP 429 and 5xx) are retried.
        pause: Seconds before the second attempt, doubled before each further one.

    Raises:
        UserError: The address is not http(s), the server refuses or cannot be reached, the checksum or the length is
            wrong, or the disk is full or not writable. The text says how to supply the file by hand.
    """
    job = _Job(url, target, sha256, size, min(limit, size) if size is not None else limit, progress, timeout)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise job.fail("is not an http or https address", "give an address such as https://host/file")
    with _readable_disk_errors(job):
        if _already_there(job):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_space(job)
    return _download(job, attempts, pause)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _download(job: _Job, attempts: int, pause: float) -> Path:
    last = "no attempt was made"
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            resumed, found = _attempt(job)
        except _RestartError as error:
            last = str(error)
            _remove(job)
            continue
        except _TransientError as error:
            last = str(error)
            continue
        if job.sha256 is None or found == job.sha256.lower():
            with _readable_disk_errors(job):
                job.part.replace(job.target)
            return job.target
        _remove(job)
        last = f"the downloaded file is not the expected one: sha256 expected {job.sha256}, found {found}"
        if not resumed:  # a wrong file that was continued may have had a stale beginning: that deserves a fresh start
            raise job.fail(f"{last}; it was deleted")
    raise job.fail(f"could not be downloaded in {attempts} attempts, the last of which failed because {last}")


def _attempt(job: _Job) -> tuple[bool, str]:
    """One request; returns whether an older part was continued, and the checksum of the whole."""
    digest = hashlib.sha256()
    with _readable_disk_errors(job):
        have = _hash_part(job, digest)
    if job.size is not None and have == job.size:
        return True, digest.hexdigest()
    with _open(job, have) as response:
        start = _first_byte(response, have)
        if start == 0 and have:
            digest = hashlib.sha256()
        total = _total(response, start)
        if job.size is not None and total is not None and total != job.size:
            raise job.fail(f"the server offers {total:,} bytes where {job.size:,} were expected")
        done = _receive(job, response, start, total, digest)
    if total is not None and done < total:
        raise _TransientError(f"the connection was cut after {done:,} of {total:,} bytes")
    if job.size is not None and done < job.size:
        raise _TransientError(f"the server sent {done:,} of {job.size:,} bytes")
    return start > 0, digest.hexdigest()


def _open(job: _Job, have: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "polytask", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(job.url, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.build_opener(_WebOnly).open(request, timeout=job.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            raise _RestartError("the server holds fewer bytes than the partial file") from error
        if error.code in TRANSIENT:
            raise _TransientError(f"the server answered {error.code} {error.reason}") from error
        raise job.fail(f"the server answered {error.code} {error.reason}") from error
    except (http.client.HTTPException, OSError) as error:
        raise _TransientError(_reason(error)) from error
    return response


def _receive(
    job: _Job, response: http.client.HTTPResponse, start: int, total: int | None, digest: hashlib._Hash
) -> int:
    done = start
    with _readable_disk_errors(job), job.part.open("ab" if start else "wb") as file:
        for piece in _body(response):
            if done + len(piece) > job.limit:
                file.close()
                _remove(job)
                raise job.fail(f"the server sends more than the expected {job.limit:,} bytes; what came was deleted")
            file.write(piece)
            digest.update(piece)
            done += len(piece)
            if job.progress is not None:
                job.progress(done, total if job.size is None else job.size)
    return done


def _body(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            piece = response.read(CHUNK)
        except (http.client.HTTPException, OSError) as error:
            raise _TransientError(_reason(error)) from error
        if not piece:
            return
        yield piece


def _first_byte(response: http.client.HTTPResponse, have: int) -> int:
    """0 where the server sends the whole file, ``have`` where it continues; anything else starts over."""
    if response.status == 200:
        return 0
    span = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", span)
    if response.status == 206 and match and int(match[1]) == have:
        return have
    raise _RestartError(f"the server answered a range request with {response.status} and Content-Range '{span}'")


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _already_there(job: _Job) -> bool:
    if not job.target.is_file() or (job.size is not None and job.target.stat().st_size != job.size):
        return False
    if job.sha256 is not None and sha256_of(job.target) != job.sha256.lower():
        return False
    if job.progress is not None:
        job.progress(job.target.stat().st_size, job.target.stat().st_size)
    return True


def _hash_part(job: _Job, digest: hashlib._Hash) -> int:
    if not job.part.is_file():
        return 0
    have = job.part.stat().st_size
    if have > job.limit:
        job.part.unlink()
        return 0
    for piece in _pieces(job.part):
        digest.update(piece)
    return have


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _check_space(job: _Job) -> None:
    have = job.part.stat().st_size if job.part.is_file() else 0
    free = shutil.disk_usage(job.target.parent).free
    if job.size is not None and job.size - have > free:
        raise job.fail(
            f"needs {job.size - have:,} bytes, but only {free:,} are free in {job.target.parent}",
            "make room, or set POLYTASK_CACHE to a folder on another disk",
        )


def _remove(job: _Job) -> None:
    with _readable_disk_errors(job):
        job.part.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__


@contextmanager
def _readable_disk_errors(job: _Job) -> Iterator[None]:
    """Turns errors of the file system into one sentence; errors of the network are caught before they get here."""
    try:
        yield
    except OSError as error:
        where = error.filename or job.part
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what, remedy = f"the disk is full at {where}", "make room; the download continues where it stopped"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            what, remedy = f"no permission to write {where}", "set POLYTASK_CACHE to a folder that you may write"
        else:
            what, remedy = f"{where} cannot be written ({error.strerror or error})", "set POLYTASK_CACHE elsewhere"
        raise job.fail(what, remedy) from error
