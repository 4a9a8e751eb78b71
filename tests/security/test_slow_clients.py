"""Clients that hold on to what they get: slow uploads, and floods of ranges.

What is promised: each costs a connection and little memory, others are served meanwhile, and who
sends nothing is sent away. How many connections one client may have is for the proxy to say.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.servers.http_server import serve_in_process

MIB = 1024**2
WAIT_SECONDS = 30

HEAD = (
    b"POST /files HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n"
    b"Content-Type: multipart/form-data; boundary=fence\r\n\r\n"
    b'--fence\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
)


@contextmanager
def serve(root: Path, *, idle_timeout: float = 60) -> Iterator[tuple[str, int]]:
    with serve_in_process(
        "tests.security.slow_app:make_app",
        environment={"STORAGE_URL": f"file://{root}", "IDLE_TIMEOUT": str(idle_timeout)},
        arguments=["--factory", "--log-level=critical"],
    ) as served:
        yield served


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection(
        (address.hostname or "", address.port or 0), timeout=WAIT_SECONDS
    )


def read_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def list_files(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file() and path.parent.name != "locks"]


def read_answer(client: socket.socket) -> bytes:
    answer = b""
    while chunk := client.recv(65536):
        answer += chunk
    return answer


def test_a_client_that_sends_nothing_more_is_sent_away(tmp_path: Path) -> None:
    with serve(tmp_path, idle_timeout=0.5) as (url, _), connect(url) as client:
        client.sendall(HEAD + bytes(1000))
        answer = read_answer(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"sent nothing for 0.5 seconds" in answer
        assert list_files(tmp_path) == []


def test_a_client_that_is_slow_is_not_idle(tmp_path: Path) -> None:
    body = b"--fence\r\n" + HEAD.split(b"--fence\r\n", 1)[1] + b"content\r\n--fence--\r\n"
    head = HEAD.split(b"--fence\r\n", 1)[0].replace(b"1000000", b"%d" % len(body))
    started = time.monotonic()
    with serve(tmp_path, idle_timeout=1) as (url, _), connect(url) as client:
        client.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        for start in range(0, len(body), 20):
            client.sendall(body[start : start + 20])
            time.sleep(0.3)  # The slowness is what this is about.
        assert read_answer(client).startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - started > 1


@pytest.mark.parametrize("sent", [0, 100_000], ids=["head", "some"])
def test_slow_uploads_cost_little_and_block_nobody(tmp_path: Path, sent: int) -> None:
    count = 200
    with serve(tmp_path) as (url, pid), ExitStack() as clients:
        assert httpx.post(f"{url}/files", files={"file": b"1"}).status_code == 200
        before = read_memory(pid)
        for _ in range(count):
            client = clients.enter_context(connect(url))
            client.sendall(HEAD + bytes(sent))
        # All of them have begun once an upload that came after them is through.
        created = httpx.post(f"{url}/files", files={"file": b"2"}, timeout=WAIT_SECONDS)
        assert httpx.get(f"{url}/files/{created.json()}", timeout=WAIT_SECONDS).content == b"2"
        used = read_memory(pid) - before
    # A request with its tasks takes some 100 KB.
    assert used < count * (sent + 250_000), f"{used / count / 1000:.0f} KB for each"
    assert len(list_files(tmp_path)) == 4  # Two files with their records.


class TestRangeFlood:
    SIZE = 32 * MIB

    @pytest.fixture
    def served(self, tmp_path: Path) -> Iterator[tuple[str, int]]:
        (tmp_path / "a.bin").write_bytes(bytes(self.SIZE))
        with serve(tmp_path) as served:
            yield served

    def test_many_ranges_in_one_request(self, served: tuple[str, int]) -> None:
        """CVE-2011-3192: each range of a header cost a copy of the file."""
        url, pid = served
        ranges = ",".join(f"{start}-" for start in range(1000))
        before = read_memory(pid)
        answer = httpx.get(
            f"{url}/files/a.bin", headers={"range": f"bytes={ranges}"}, timeout=WAIT_SECONDS
        )
        assert (answer.status_code, len(answer.content)) == (200, self.SIZE)
        assert read_memory(pid) - before < 16 * MIB

    def test_many_requests_for_nearly_all_of_a_file(self, served: tuple[str, int]) -> None:
        url, pid = served
        count = 100
        httpx.get(f"{url}/files/a.bin", headers={"range": "bytes=0-0"})
        before = read_memory(pid)
        with ExitStack() as clients:
            for number in range(count):
                client = clients.enter_context(connect(url))
                client.sendall(
                    b"GET /files/a.bin HTTP/1.1\r\nHost: test\r\nRange: bytes=%d-\r\n\r\n" % number
                )
                assert client.recv(12) == b"HTTP/1.1 206"
            answer = httpx.get(
                f"{url}/files/a.bin", headers={"range": "bytes=0-0"}, timeout=WAIT_SECONDS
            )
            assert answer.content == b"\0"
            used = read_memory(pid) - before
        # Some blocks of 1 MiB: what is read at a time, and what is on its way to the client.
        assert used < count * 4 * MIB, f"{used / count / MIB:.2f} MiB for each"
