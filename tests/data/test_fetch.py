"""The downloader against a server on this machine that cuts, refuses, stalls and lies."""

from __future__ import annotations

import errno
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from polytask.data import fetch as module
from polytask.data.fetch import fetch, sha256_of
from polytask.errors import UserError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does; ``requests`` records the Range header of every request."""

    content: bytes = CONTENT
    ranges: bool = True
    shifted: bool = False
    declare_length: bool = True
    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirect: str | None = None
    requests: list[str | None] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/file.bin"


def handler(behaviour: Behaviour) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            span = self.headers.get("Range")
            behaviour.requests.append(span)
            if behaviour.statuses:
                self.send_error(behaviour.statuses.pop(0))
                return
            if behaviour.redirect is not None:
                self.send_response(302)
                self.send_header("Location", behaviour.redirect)
                self.end_headers()
                return
            start = int(span[len("bytes=") : -1]) if span and behaviour.ranges else 0
            if start >= len(behaviour.content) and start:
                self.send_error(416)
                return
            body = behaviour.content[start:]
            self.send_response(206 if span and behaviour.ranges else 200)
            if span and behaviour.ranges:
                first = start + 1 if behaviour.shifted else start
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(behaviour.content) - 1}/{len(behaviour.content)}"
                )
            if behaviour.declare_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: behaviour.cut_after.pop(0)] if behaviour.cut_after else body)

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Behaviour]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    behaviour = Behaviour()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(behaviour)) as httpd:
        behaviour.port = httpd.server_address[1]
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield behaviour
        httpd.shutdown()
        thread.join()


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_a_whole_file_with_progress(server: Behaviour, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "folder" / "file.bin"
    assert fetch(server.url, target, sha256=SHA, size=len(CONTENT), progress=lambda *s: seen.append(s)) == target
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()
    assert [done for done, _ in seen] == sorted({done for done, _ in seen}), "progress must only grow"
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_nothing_is_asked_when_the_right_file_is_there(server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT)
    fetch(server.url, target, sha256=SHA.upper(), size=len(CONTENT))
    assert server.requests == []


def test_a_wrong_file_under_the_right_name_is_replaced(server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(b"stale")
    fetch(server.url, target, sha256=SHA)
    assert sha256_of(target) == SHA


def test_a_cut_connection_is_continued_where_it_broke(server: Behaviour, tmp_path: Path) -> None:
    server.cut_after = [300_000, 100_000]
    target = fetch(server.url, tmp_path / "file.bin", sha256=SHA, size=len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=400000-"]


def test_a_part_left_by_a_killed_process_is_continued(server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    part_of(target).write_bytes(CONTENT[:12345])
    fetch(server.url, target, sha256=SHA)
    assert server.requests == ["bytes=12345-"]
    assert target.read_bytes() == CONTENT


def test_a_complete_part_needs_no_request(server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    part_of(target).write_bytes(CONTENT)
    fetch(server.url, target, sha256=SHA, size=len(CONTENT))
    assert server.requests == []
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Behaviour, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after = [300_000]
    target = fetch(server.url, tmp_path / "file.bin", sha256=SHA)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-"]


def test_a_server_that_continues_at_the_wrong_byte_is_not_believed(server: Behaviour, tmp_path: Path) -> None:
    server.shifted = True
    server.cut_after = [300_000]
    target = fetch(server.url, tmp_path / "file.bin", sha256=SHA)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", None]


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * (len(CONTENT) + 5)])
def test_a_stale_part_is_thrown_away(server: Behaviour, tmp_path: Path, stale: bytes) -> None:
    target = tmp_path / "file.bin"
    part_of(target).write_bytes(stale)
    fetch(server.url, target, sha256=SHA)
    assert target.read_bytes() == CONTENT


def test_the_length_need_not_be_known(server: Behaviour, tmp_path: Path) -> None:
    server.declare_length = False
    seen: list[tuple[int, int | None]] = []
    target = fetch(server.url, tmp_path / "file.bin", sha256=None, progress=lambda *s: seen.append(s))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), None)


def test_a_wrong_checksum_deletes_the_file_and_says_both(server: Behaviour, tmp_path: Path) -> None:
    server.content = b"something else"
    target = tmp_path / "file.bin"
    with pytest.raises(UserError) as caught:
        fetch(server.url, target, sha256=SHA)
    found = hashlib.sha256(b"something else").hexdigest()
    assert f"sha256 expected {SHA}, found {found}; it was deleted" in str(caught.value)
    assert f"save it as {target}" in str(caught.value)
    assert not target.exists()
    assert not part_of(target).exists()
    assert server.requests == [None], "a wrong file is not downloaded again and again"


def test_a_server_error_that_passes_is_retried(server: Behaviour, tmp_path: Path) -> None:
    server.statuses = [500, 503]
    assert fetch(server.url, tmp_path / "file.bin", sha256=SHA).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_missing_file_is_not_retried(server: Behaviour, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(UserError, match=r"the server answered 404 Not Found; download it by hand"):
        fetch(server.url, tmp_path / "file.bin", sha256=SHA)
    assert len(server.requests) == 1


def test_a_server_that_keeps_failing_is_given_up_on(server: Behaviour, tmp_path: Path) -> None:
    server.statuses = [500] * 10
    with pytest.raises(UserError, match=r"in 3 attempts.*because the server answered 500 Internal Server Error"):
        fetch(server.url, tmp_path / "file.bin", sha256=SHA, attempts=3)
    assert len(server.requests) == 3


def test_a_refused_connection_says_what_to_do(server: Behaviour, tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), handler(server)) as unused:
        port = unused.server_address[1]
    target = tmp_path / "file.bin"
    with pytest.raises(UserError) as caught:
        fetch(f"http://127.0.0.1:{port}/file.bin", target, sha256=SHA, attempts=2)
    text = str(caught.value)
    assert "could not be downloaded in 2 attempts" in text
    assert "refused" in text
    assert f"download it by hand, save it as {target} (sha256 {SHA}), or set POLYTASK_DATA" in text


def test_waiting_grows_between_attempts(server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    server.statuses = [500, 500, 500]
    fetch(server.url, tmp_path / "file.bin", sha256=SHA, pause=0.25)
    assert waits == [0.25, 0.5, 1.0]


def test_more_bytes_than_expected_are_never_written(server: Behaviour, tmp_path: Path) -> None:
    server.declare_length = False
    target = tmp_path / "file.bin"
    with pytest.raises(UserError, match=r"sends more than the expected 1,000 bytes"):
        fetch(server.url, target, sha256=SHA, size=1000)
    assert not part_of(target).exists()
    with pytest.raises(UserError, match=r"sends more than the expected 2,000 bytes"):
        fetch(server.url, target, sha256=None, limit=2000)


def test_another_length_than_expected_is_refused_before_the_first_byte(server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    with pytest.raises(UserError, match=r"offers 1,048,576 bytes where 1,000 were expected"):
        fetch(server.url, target, sha256=SHA, size=1000)
    assert not part_of(target).exists()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "/etc/passwd", "http:///nohost"])
def test_only_the_web_is_read(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an http or https address"):
        fetch(url, tmp_path / "file.bin", sha256=SHA)


def test_a_redirect_does_not_leave_the_web(server: Behaviour, tmp_path: Path) -> None:
    server.redirect = "ftp://127.0.0.1/file.bin"
    with pytest.raises(UserError, match=r"redirects to ftp://127.0.0.1/file.bin, which is not followed"):
        fetch(server.url, tmp_path / "file.bin", sha256=SHA)


class FullDisk:
    """A file that takes nothing."""

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_plainly(server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any] | FullDisk:
        return FullDisk() if mode in ("wb", "ab") else original(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match=r"the disk is full at .*file\.bin\.part; make room"):
        fetch(server.url, tmp_path / "file.bin", sha256=SHA)


def test_too_little_room_is_noticed_before_the_download(server: Behaviour, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs 1,000,000,000,000,000 bytes, but only .* are free"):
        fetch(server.url, tmp_path / "file.bin", sha256=SHA, size=10**15, limit=10**16)
    assert server.requests == []


def test_a_folder_that_cannot_be_written_is_named(server: Behaviour, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(
        UserError, match=r"file.* cannot be written \((File exists|Not a directory)\); set POLYTASK_CACHE"
    ):
        fetch(server.url, blocked / "file.bin", sha256=SHA)
    assert server.requests == []


def test_a_missing_permission_is_named(server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"no permission to write .*new; set POLYTASK_CACHE"):
        fetch(server.url, tmp_path / "new" / "file.bin", sha256=SHA)
