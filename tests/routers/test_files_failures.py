"""What breaks while a file is served: before its first byte, after it, and at the client's end."""

import asyncio
import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, Request
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse

from fastapi_async_storages import (
    LocalStorage,
    MemoryStorage,
    S3Storage,
    Storage,
    create_files_router,
    public,
)
from fastapi_async_storages.exceptions import InvalidNameError, NotFoundError
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.http_server import SERVERS, ServerName, free_port, serve
from tests.servers.s3 import S3Server

MIB = 1024 * 1024
CONTENT = os.urandom(MIB) * 8
PATIENCE = 10
"""Seconds for what should happen at once."""


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> ServerName:
    name: ServerName = request.param
    return name


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_server.endpoint_url) as proxy:
        yield proxy


def make_s3(server: S3Server, endpoint_url: str, **options: Any) -> S3Storage:
    return S3Storage(
        server.bucket,
        endpoint_url=endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=options.pop("secret_key", server.secret_key),
        prefix="failures",
        client_config={"connect_timeout": 2, "retries": {"total_max_attempts": 1}},
        **options,
    )


def make_app(storage: Storage) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
    return app


def upload(storage: Storage, name: str, **options: Any) -> None:
    async def run() -> None:
        async with storage:
            await storage.upload(CONTENT, name, **options)

    asyncio.run(run())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.01)


@contextmanager
def slow_request(base_url: str, path: str) -> Iterator[socket.socket]:
    """Ask for a file, read the head of the answer, and no more."""
    address = urlsplit(base_url)
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect((address.hostname, address.port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1024)
        assert b" 200 " in head.partition(b"\r\n")[0]
        yield client


def open_descriptors(path: Path) -> int:
    """Count the descriptors of this process that are open on a file."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += descriptor.readlink() == path
        except OSError:
            continue
    return count


class TestBeforeTheFirstByte:
    """The client gets a problem, and the log the rest."""

    pytestmark = pytest.mark.anyio

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_a_server_that_is_down_is_503(self, s3_server: S3Server, method: str) -> None:
        storage = make_s3(s3_server, f"http://127.0.0.1:{free_port()}")
        async with open_client(make_app(storage)) as client:
            answer = await client.request(method, "/files/file.bin")

        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "5"
        assert s3_server.bucket not in answer.text

    async def test_credentials_that_are_refused_are_502(self, s3_server: S3Server) -> None:
        storage = make_s3(s3_server, s3_server.endpoint_url, secret_key="wrong")
        async with open_client(make_app(storage)) as client:
            answer = await client.get("/files/file.bin")

        assert answer.status_code == 502
        assert answer.json()["detail"] == "The file storage refused the request."

    async def test_an_app_with_handlers_of_its_own_keeps_them(self) -> None:
        app = make_app(MemoryStorage())

        @app.exception_handler(NotFoundError)
        async def say_gone(request: Request, error: NotFoundError) -> PlainTextResponse:
            return PlainTextResponse("not here", 404)

        @app.exception_handler(InvalidNameError)
        async def say_invalid(request: Request, error: InvalidNameError) -> PlainTextResponse:
            return PlainTextResponse("not a name", 404)

        async with open_client(app) as client:
            assert (await client.get("/files/file.bin")).text == "not here"
            # Said by a dependency, before there is a response.
            assert (await client.get("/files/a%5Cb")).text == "not a name"


class TestAfterTheFirstByte:
    """The connection is cut: no client takes a part for the whole."""

    def test_a_connection_that_is_lost_is_lost_to_the_client_too(
        self, s3_server: S3Server, proxy: FaultyProxy, server: ServerName
    ) -> None:
        upload(make_s3(s3_server, s3_server.endpoint_url), "file.bin")
        proxy.fault, proxy.limit = "cut", 2 * MIB
        app = make_app(make_s3(s3_server, proxy.url))

        with serve(app, server=server) as base_url:
            body = self.read_what_comes(base_url, "/files/file.bin")

        assert proxy.faulted.is_set()
        assert 0 < len(body) < len(CONTENT)
        assert CONTENT.startswith(body)

    def test_a_file_that_is_cut_is_no_whole_file(self, tmp_path: Path, server: ServerName) -> None:
        storage = LocalStorage(tmp_path)
        upload(storage, "file.bin")

        with (
            serve(make_app(storage), server=server) as base_url,
            slow_request(base_url, "/files/file.bin") as client,
        ):
            os.truncate(tmp_path / "file.bin", 6 * MIB)
            received = 0
            while block := client.recv(65_536):
                received += len(block)

        assert received < len(CONTENT)

    def test_a_body_without_a_length_does_not_end_as_if_whole(
        self, s3_server: S3Server, proxy: FaultyProxy, server: ServerName
    ) -> None:
        upload(make_s3(s3_server, s3_server.endpoint_url), "file.txt", content_type="text/plain")
        proxy.fault, proxy.limit = "cut", 2 * MIB
        app = make_app(make_s3(s3_server, proxy.url))
        app.add_middleware(GZipMiddleware)

        with serve(app, server=server) as base_url:
            self.read_what_comes(base_url, "/files/file.txt", {"Accept-Encoding": "gzip"})

        assert proxy.faulted.is_set()

    def test_curl_says_so(
        self, s3_server: S3Server, proxy: FaultyProxy, server: ServerName, tmp_path: Path
    ) -> None:
        curl = shutil.which("curl")
        if curl is None and "CI" in os.environ:
            pytest.fail("curl is not installed: apt-get install curl")
        if curl is None:
            pytest.skip("curl is not installed: apt-get install curl")
        upload(make_s3(s3_server, s3_server.endpoint_url), "file.bin")
        proxy.fault, proxy.limit = "cut", 2 * MIB

        with serve(make_app(make_s3(s3_server, proxy.url)), server=server) as base_url:
            target = str(tmp_path / "file.bin")
            command = [curl, "-sS", "-o", target, f"{base_url}/files/file.bin"]
            result = subprocess.run(command, timeout=60, check=False, capture_output=True)

        assert result.returncode == 18, result  # CURLE_PARTIAL_FILE

    def read_what_comes(
        self, base_url: str, path: str, headers: dict[str, str] | None = None
    ) -> bytes:
        """Read an answer that must break, and return what came of it."""
        netloc = urlsplit(base_url).netloc
        with closing(http.client.HTTPConnection(netloc, timeout=30)) as connection:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            assert answer.status == 200
            with pytest.raises((http.client.IncompleteRead, ConnectionError)) as caught:
                answer.read()
        error = caught.value
        return error.partial if isinstance(error, http.client.IncompleteRead) else b""


class TestClientsThatLeave:
    """The read from the storage stops at once."""

    def test_a_file_on_disk_is_closed(self, tmp_path: Path, server: ServerName) -> None:
        storage = LocalStorage(tmp_path)
        upload(storage, "file.bin")
        with serve(make_app(storage), server=server) as base_url:
            with slow_request(base_url, "/files/file.bin"):
                assert open_descriptors(tmp_path / "file.bin") == 1
            wait_until(lambda: open_descriptors(tmp_path / "file.bin") == 0)

    def test_the_connection_to_s3_is_closed_while_it_is_silent(
        self, s3_server: S3Server, proxy: FaultyProxy, server: ServerName
    ) -> None:
        upload(make_s3(s3_server, s3_server.endpoint_url), "file.bin")
        proxy.fault, proxy.limit = "stall", 2 * MIB
        app = make_app(make_s3(s3_server, proxy.url))

        with serve(app, server=server) as base_url:
            with slow_request(base_url, "/files/file.bin") as client:
                while not proxy.faulted.is_set():
                    client.recv(65_536)
                assert not proxy.left.is_set()
            assert proxy.left.wait(PATIENCE)

    def test_one_that_leaves_before_the_first_byte(
        self, s3_server: S3Server, proxy: FaultyProxy, server: ServerName
    ) -> None:
        upload(make_s3(s3_server, s3_server.endpoint_url), "file.bin")
        proxy.fault, proxy.limit = "stall", 0
        app = make_app(make_s3(s3_server, proxy.url))

        with serve(app, server=server) as base_url:
            address = urlsplit(base_url)
            with socket.create_connection((address.hostname, address.port)) as client:
                client.sendall(b"GET /files/file.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                assert proxy.faulted.wait(PATIENCE)
            assert proxy.left.wait(PATIENCE)
