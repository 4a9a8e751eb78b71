"""Many slow readers of one large file: the server holds a few chunks for each, and no more."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from fastapi_async_storages import create_files_router, public
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.settings import storage_from_url
from tests.servers.http_server import serve_in_process
from tests.servers.s3 import S3Server

MIB = 1024 * 1024
SIZE = 256 * MIB
READERS = 50
ALLOWED = 4 * MIB
"""Bytes for each reader: what the storage reads at a time, and what is on its way to the client."""


def make_app() -> FastAPI:
    """Make the app of the other process."""
    app = FastAPI(lifespan=storage_lifespan(storage_from_url(os.environ["STORAGE_URL"])))
    app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
    return app


@pytest.fixture(params=["local", "s3"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The storage of the other process, as variables of its environment."""
    if request.param == "local":
        return {"STORAGE_URL": f"file://{tmp_path}"}
    server: S3Server = request.getfixturevalue("s3_server")
    return {
        "STORAGE_URL": f"s3://{server.bucket}/memory?endpoint_url={server.endpoint_url}",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }


async def large_file() -> AsyncIterator[bytes]:
    block = os.urandom(MIB)
    for _ in range(SIZE // MIB):
        yield block


def read_memory(process_id: int) -> int:
    """Return the most bytes of memory that a process has had (``VmHWM``)."""
    status = Path(f"/proc/{process_id}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@contextmanager
def slow_reader(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.settimeout(60)
        client.connect(address)
        client.sendall(b"GET /files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        yield client


@pytest.mark.timeout(300)
def test_fifty_slow_readers_of_a_large_file(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def fill() -> None:
        async with storage_from_url(environment["STORAGE_URL"]) as storage:
            await storage.upload(large_file(), "large.bin")

    asyncio.run(fill())
    with (
        serve_in_process(
            f"{__name__}:make_app", arguments=["--factory", "--log-level=warning"]
        ) as (url, process_id),
        ExitStack() as readers,
    ):
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 0)
        with slow_reader(address) as first:  # What the first request loads stays.
            assert b" 200 OK" in first.recv(1024)
        before = read_memory(process_id)

        clients = [readers.enter_context(slow_reader(address)) for _ in range(READERS)]
        received = 0
        for _ in range(16):
            for client in clients:
                received += len(client.recv(65_536))
        after = read_memory(process_id)

    assert received > READERS * 16_384
    assert after - before < READERS * ALLOWED, f"{(after - before) / MIB / READERS:.2f} MiB each"
