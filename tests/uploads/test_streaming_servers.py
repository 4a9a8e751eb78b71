"""Streamed uploads through real servers: broken connections, memory, back-pressure, the end."""

import asyncio
import os
import resource
import select
import signal
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage, Storage, StorageFile
from fastapi_async_storages.http.problems import add_problem_handlers
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.streamed_forms import StreamedForm, StreamedUpload
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.rules import Scanner, UploadRules
from fastapi_async_storages.uploads.streaming import UploadedForm
from tests.servers.http_server import SERVERS, ServerName, serve, serve_in_process
from tests.servers.s3 import S3Server, open_sdk_client
from tests.uploads.streaming_app import MAX_CONCURRENCY, PART_SIZE, make_environment

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
WAIT_SECONDS = 20

HEAD = b'--fence\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
TAIL = b"\r\n--fence--\r\n"
FORM_HEADERS = {"content-type": "multipart/form-data; boundary=fence"}


def make_form(size: int) -> Iterator[bytes]:
    yield HEAD
    block = os.urandom(MIB)
    for sent in range(0, size, MIB):
        yield block[: size - sent]
    yield TAIL


def make_request_head(length: int) -> bytes:
    """Make the head of a request with a form of so many bytes."""
    return (
        b"POST /streamed HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=fence\r\n\r\n" % length
    )


class CountEnded:
    """Counts the requests that have ended, whichever way."""

    def __init__(self, app: ASGIApp, ended: threading.Semaphore) -> None:
        self.app = app
        self.ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                self.ended.release()


def make_app(
    storage: Storage,
    *,
    rules: UploadRules | None = None,
    ended: threading.Semaphore | None = None,
) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storage))
    add_problem_handlers(app)
    if ended is not None:
        app.add_middleware(CountEnded, ended=ended)

    @app.post("/streamed")
    async def streamed(file: Annotated[StorageFile, StreamedUpload("file", rules=rules)]) -> int:
        return await file.get_size()

    @app.post("/form")
    async def form(
        form: Annotated[UploadedForm[None], StreamedForm({"file": rules, "other": rules})],
    ) -> int:
        return len(form.files)

    return app


@contextmanager
def connect(url: str) -> Iterator[socket.socket]:
    address = urlsplit(url)
    target = (address.hostname or "", address.port or 0)
    with socket.create_connection(target, timeout=WAIT_SECONDS) as connection:
        yield connection


async def assert_untouched(storage: Storage, tmp_path: Path) -> None:
    """Check that nothing is left: no file, no part of an upload, no temporary file."""
    async with storage:
        assert [info.name async for info in storage.list()] == []
    if isinstance(storage, LocalStorage):
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [path for path in files if path.parent.name != "locks"] == []


async def list_open_uploads(server: S3Server, prefix: str) -> list[str]:
    """Return the names of the multipart uploads that are neither complete nor aborted."""
    async with open_sdk_client(server) as client:
        listed = await client.list_multipart_uploads(Bucket=server.bucket)
    keys = [upload["Key"] for upload in listed.get("Uploads", [])]
    return [key for key in keys if key.startswith(prefix)]


def make_s3_storage(server: S3Server, prefix: str) -> S3Storage:
    return S3Storage(
        server.bucket,
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        prefix=prefix,
        part_size=PART_SIZE,
    )


@pytest.mark.parametrize("server", SERVERS)
async def test_every_server_takes_them(server: ServerName, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with serve(make_app(storage), server=server) as url:
        async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:

            async def chunked() -> AsyncIterator[bytes]:
                for chunk in make_form(3 * MIB):
                    yield chunk

            # With a length, and without.
            for content in (b"".join(make_form(3 * MIB)), chunked()):
                response = await client.post("/streamed", content=content, headers=FORM_HEADERS)
                assert (response.status_code, response.json()) == (200, 3 * MIB)
            # Refused on the way, the client still hears why, and goes on with its connection.
            response = await client.post(
                "/form", content=b"".join(make_form(3 * MIB)), headers=FORM_HEADERS
            )
            assert response.status_code == 422
            assert response.json()["detail"][0]["loc"] == ["body", "other"]


# Hypercorn reads no further when the app has answered, so a client that looks for an answer only
# when all is sent waits for ever.
@pytest.mark.parametrize("server", ["uvicorn-h11", "uvicorn-httptools"])
async def test_a_file_that_is_too_large_is_cut_off_and_the_client_hears_why(
    server: ServerName, tmp_path: Path
) -> None:
    storage = LocalStorage(tmp_path)
    rules = UploadRules(max_size=MIB)
    with serve(make_app(storage, rules=rules), server=server) as url:

        async def chunked() -> AsyncIterator[bytes]:
            for chunk in make_form(8 * MIB):
                yield chunk

        async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
            response = await client.post("/streamed", content=chunked(), headers=FORM_HEADERS)
            assert (response.status_code, response.json()["limit"]) == (413, MIB)
            ok = await client.post(
                "/streamed", content=b"".join(make_form(MIB)), headers=FORM_HEADERS
            )
            assert ok.json() == MIB
    async with storage:
        assert len([info async for info in storage.list()]) == 1


async def test_an_announced_length_over_the_limit_gets_no_100_continue() -> None:
    app = make_app(MemoryStorage(), rules=UploadRules(max_size=MIB))
    with serve(app) as url, connect(url) as client:
        head = make_request_head(10**9)
        client.sendall(head.replace(b"Host:", b"Expect: 100-continue\r\nHost:"))
        answer = client.recv(100)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_connection_that_breaks_at_any_byte_leaves_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    body = (
        b'--fence\r\nContent-Disposition: form-data; name="other"; filename="b"\r\n\r\nfirst'
        b"\r\n" + HEAD + b"second\r\n--fencing\r\n" + TAIL
    )
    ended = threading.Semaphore(0)
    # S3 takes a while for each.
    step = 40 if isinstance(storage, S3Storage) else 1
    cuts = range(0, body.index(b"--fence--") + len(b"--fence--"), step)
    with serve(make_app(storage, ended=ended)) as url:
        for cut in cuts:
            with connect(url) as client:
                head = make_request_head(len(body)).replace(b"/streamed", b"/form")
                client.sendall(head + body[:cut])
        for _ in cuts:
            assert await asyncio.to_thread(ended.acquire, timeout=WAIT_SECONDS)
        await assert_untouched(storage, tmp_path)
        # Else this would pass when the form is never understood.
        async with httpx.AsyncClient(base_url=url) as client:
            response = await client.post("/form", content=body, headers=FORM_HEADERS)
            assert response.json() == 2


async def test_a_client_that_leaves_in_a_large_file_leaves_no_multipart_upload(
    s3_server: S3Server, tmp_path: Path
) -> None:
    prefix, ended = uuid4().hex, threading.Semaphore(0)
    storage = make_s3_storage(s3_server, prefix)
    with serve(make_app(storage, ended=ended)) as url:
        with connect(url) as client:
            client.sendall(make_request_head(64 * MIB) + HEAD + bytes(PART_SIZE * 3))
            await wait_for_open_uploads(s3_server, prefix, 1)
        assert await asyncio.to_thread(ended.acquire, timeout=WAIT_SECONDS)
    assert await list_open_uploads(s3_server, prefix) == []
    await assert_untouched(storage, tmp_path)


async def wait_for_open_uploads(server: S3Server, prefix: str, count: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while len(await list_open_uploads(server, prefix)) < count:
            pass  # Each turn is a request to the server.


async def test_a_server_that_stops_during_uploads_aborts_them(
    s3_server: S3Server, tmp_path: Path
) -> None:
    prefix = uuid4().hex
    with (
        serve_in_process(
            "tests.uploads.streaming_app:make_app",
            environment=make_environment(s3_server, prefix),
            arguments=["--factory", "--timeout-graceful-shutdown=1", "--log-level=critical"],
        ) as (url, pid),
        ExitStack() as clients,
    ):
        # One is not enough: its abort could be faster than the end of the server.
        connections = [clients.enter_context(connect(url)) for _ in range(8)]
        for connection in connections:
            connection.sendall(make_request_head(64 * MIB) + HEAD + bytes(PART_SIZE * 2 + 1000))
        await wait_for_open_uploads(s3_server, prefix, len(connections))
        os.kill(pid, signal.SIGTERM)
        for connection in connections:
            wait_for_close(connection)  # The clients stay until the server is gone.
    assert await list_open_uploads(s3_server, prefix) == []
    await assert_untouched(make_s3_storage(s3_server, prefix), tmp_path)


def wait_for_close(connection: socket.socket) -> None:
    with suppress(ConnectionError):
        while connection.recv(1000):
            pass


def make_gate(opened: threading.Event) -> Scanner:
    """Make a scanner that waits, as a storage does that takes its time."""

    async def gate(file: IncomingFile, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        await asyncio.to_thread(opened.wait, WAIT_SECONDS)
        async for chunk in chunks:
            yield chunk

    return gate


async def test_a_storage_that_takes_its_time_slows_the_client_down(tmp_path: Path) -> None:
    size, opened = 64 * MIB, threading.Event()
    rules = UploadRules(scanners=[make_gate(opened)])
    body = b"".join(make_form(size))

    def send() -> tuple[int, bytes]:
        with connect(url) as client:
            # Small, so that the kernel does not take the file for the server.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            client.sendall(make_request_head(len(body)))
            rest = memoryview(body)
            while select.select([], [client], [], 1)[1]:
                rest = rest[client.send(rest[: 1 << 16]) :]
            sent = len(body) - len(rest)
            opened.set()
            client.sendall(rest)
            return sent, client.recv(1000)

    with serve(make_app(LocalStorage(tmp_path), rules=rules)) as url:
        sent, answer = await asyncio.to_thread(send)
    assert answer.startswith(b"HTTP/1.1 200 ")
    # The receive buffer of the kernel grows to 6 MiB (tcp_rmem).
    assert sent < 10 * MIB


def read_memory(pid: int, what: str) -> int:
    """Return a number of bytes from ``/proc/PID/status``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


async def test_a_large_file_needs_little_memory_and_no_temporary_file(s3_server: S3Server) -> None:
    size = 96 * MIB
    with serve_in_process(
        "tests.uploads.streaming_app:make_app",
        environment=make_environment(s3_server, uuid4().hex),
        arguments=["--factory", "--log-level=critical"],
    ) as (url, pid):
        # No file can be written to from now on, not even one that has no name any more.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:

            async def post(path: str, size: int) -> httpx.Response:
                async def chunked() -> AsyncIterator[bytes]:
                    for chunk in make_form(size):
                        yield chunk

                return await client.post(path, content=chunked(), headers=FORM_HEADERS)

            assert (await post("/streamed", 1)).json() == 1
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # Resets the peak.
            idle = read_memory(pid, "VmRSS")
            assert (await post("/streamed", size)).json() == size
            needed = read_memory(pid, "VmHWM") - idle
            # The same limit ends FastAPI's own way, which writes the file to the disk.
            assert (await post("/spooled", size)).status_code == 400
    # The parts on their way and the one being filled; the rest is buffers of the connections.
    assert needed < (MAX_CONCURRENCY + 1) * PART_SIZE + 16 * MIB
