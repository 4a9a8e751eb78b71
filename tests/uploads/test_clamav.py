import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fastapi_async_storages import MemoryStorage
from fastapi_async_storages.exceptions import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigurationError,
    FileTooLargeError,
    MalwareFoundError,
    ScanLimitError,
    StorageError,
)
from fastapi_async_storages.http.problems import get_status
from fastapi_async_storages.uploads.clamav import ClamdScanner
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.save import save_upload
from tests.servers.clamd import STREAM_MAX_LENGTH, Clamd, find_clamd, run_clamd, run_stand_in
from tests.servers.http_server import free_port
from tests.uploads.samples import EICAR

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module", params=["stand-in", "clamd"])
async def clamd(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Clamd]:
    if request.param == "stand-in":
        async with run_stand_in() as running:
            yield running
        return
    program = find_clamd()
    if program is None:
        pytest.skip("clamd is not installed: apt-get install clamav-daemon")
    async with run_clamd(program) as running:
        yield running


@pytest.fixture(params=["unix", "tcp"])
def scanner(request: pytest.FixtureRequest, clamd: Clamd) -> ClamdScanner:
    if request.param == "unix":
        return ClamdScanner(clamd.path)
    return ClamdScanner(host="localhost", port=clamd.port)


@pytest.fixture(autouse=True)
async def leaves_no_socket(anyio_backend: str) -> AsyncIterator[None]:
    before = count_sockets()
    yield
    async with asyncio.timeout(10):
        # The servers here hang up after the scanner has.
        while count_sockets() > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def count_sockets() -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return sum(os.path.lexists(one) and "socket:" in os.readlink(one) for one in links)  # noqa: PTH115


async def assert_refused(
    scanner: ClamdScanner, content: bytes, error: type[StorageError]
) -> StorageError:
    """Expect exactly this error, and nothing stored."""
    storage = MemoryStorage()
    with pytest.raises(error) as caught:
        await save_upload(content, storage, filename="a.bin", rules=UploadRules(scanners=[scanner]))
    assert type(caught.value) is error
    assert [info async for info in storage.list()] == []
    return caught.value


@pytest.mark.parametrize("size", [0, 1, 100_000, STREAM_MAX_LENGTH])
async def test_what_is_clean_is_stored(scanner: ClamdScanner, size: int) -> None:
    file = await save_upload(bytes(size), MemoryStorage(), rules=UploadRules(scanners=[scanner]))
    assert len(await file.read()) == size


async def test_a_virus_is_refused_by_its_name(scanner: ClamdScanner) -> None:
    error = await assert_refused(scanner, EICAR, MalwareFoundError)
    assert isinstance(error, MalwareFoundError)
    assert error.received.startswith("Eicar-Test-Signature")
    assert "'a.bin'" in str(error)
    assert get_status(error) == 422


@pytest.mark.parametrize("size", [STREAM_MAX_LENGTH + 1, 5_000_000])
async def test_more_than_the_scanner_takes_is_refused(scanner: ClamdScanner, size: int) -> None:
    error = await assert_refused(scanner, bytes(size), ScanLimitError)
    assert isinstance(error, FileTooLargeError)
    assert STREAM_MAX_LENGTH < error.received <= size
    assert get_status(error) == 413


async def test_many_uploads_at_once(scanner: ClamdScanner) -> None:
    rules, storage = UploadRules(scanners=[scanner]), MemoryStorage()
    contents = [EICAR if index % 3 == 0 else bytes(index) for index in range(30)]
    results = await asyncio.gather(
        *(save_upload(content, storage, rules=rules) for content in contents),
        return_exceptions=True,
    )
    refused = [isinstance(result, MalwareFoundError) for result in results]
    assert refused == [index % 3 == 0 for index in range(30)]


async def test_a_cancelled_upload_leaves_no_socket(scanner: ClamdScanner) -> None:
    waiting = asyncio.Event()

    async def body() -> AsyncGenerator[bytes, None]:
        yield bytes(10_000)
        waiting.set()
        await asyncio.Event().wait()

    upload = save_upload(body(), MemoryStorage(), rules=UploadRules(scanners=[scanner]))
    task = asyncio.create_task(upload)
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# A scanner that fails refuses


@asynccontextmanager
async def serve(handler: Handler) -> AsyncIterator[ClamdScanner]:
    with TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory) / "clamd.sock"
        async with await asyncio.start_unix_server(handler, path):
            yield ClamdScanner(path, timeout=0.2)


@pytest.mark.parametrize("place", ["path", "port", "host"])
async def test_a_scanner_that_is_down_refuses(tmp_path: Path, place: str) -> None:
    scanner = {
        "path": ClamdScanner(tmp_path / "nobody"),
        "port": ClamdScanner(host="127.0.0.1", port=free_port()),
        "host": ClamdScanner(host="clamd.invalid"),
    }[place]
    error = await assert_refused(scanner, b"x", BackendUnavailableError)
    assert "cannot be reached" in str(error)
    assert get_status(error) == 503


async def test_a_scanner_that_does_not_accept_refuses_in_time() -> None:
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())  # The queue is full now.
        second = socket.socket()
        second.setblocking(False)
        second.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        scanner = ClamdScanner(host="127.0.0.1", port=port, connect_timeout=0.2)
        await assert_refused(scanner, b"x", BackendTimeoutError)
        second.close()


async def test_a_scanner_that_says_nothing_refuses_in_time() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serve(say_nothing) as scanner:
        await assert_refused(scanner, b"x", BackendTimeoutError)


async def test_a_scanner_that_does_not_read_refuses_in_time() -> None:
    released = asyncio.Event()

    async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    async with serve(read_nothing) as scanner:
        await assert_refused(scanner, bytes(50_000_000), BackendTimeoutError)
        released.set()


@pytest.mark.parametrize(
    "reply,error",
    [
        (b"", BackendUnavailableError),
        (b"COMMAND READ TIMED OUT\0", BackendError),
        (b"stream: Can't allocate memory ERROR\0", BackendError),
        (b"\xff" * 10_000, BackendError),
        (b"stream: ", BackendError),
    ],
    ids=["hangs up", "timed out", "error", "garbage", "cut off"],
)
async def test_any_other_answer_refuses(reply: bytes, error: type[StorageError]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0\0\0\0")
        writer.write(reply)
        writer.close()

    async with serve(answer) as scanner:
        await assert_refused(scanner, b"x", error)


async def test_an_answer_before_the_last_byte_never_passes_for_clean() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100)
        writer.write(b"stream: OK\0")
        writer.close()

    async with serve(answer) as scanner:
        await assert_refused(scanner, bytes(50_000_000), BackendError)


@pytest.mark.parametrize("options", [{}, {"path": "/x", "host": "y"}])
def test_a_scanner_is_in_one_place(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="path or a host"):
        ClamdScanner(**options)


def test_its_repr_says_where() -> None:
    assert repr(ClamdScanner("/run/clamd.ctl")) == "ClamdScanner('/run/clamd.ctl')"
    assert repr(ClamdScanner(host="av")) == "ClamdScanner('av:3310')"
