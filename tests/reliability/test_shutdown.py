"""An app that stops: what is under way ends whole or without a trace.

Signals to a real uvicorn, with files on disk and in the bucket of a real S3 server.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from tests.reliability.conftest import Place
from tests.servers.http_server import serve_in_process

pytestmark = pytest.mark.anyio

MIB = 1024**2
WAIT_SECONDS = 30

CONTENT = os.urandom(12 * MIB)
HEAD = b'--fence\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
TAIL = b"\r\n--fence--\r\n"


def serve_app(
    place: Place, *arguments: str, grace: float = 10
) -> AbstractContextManager[tuple[str, int]]:
    return serve_in_process(
        "tests.reliability.served_app:make_app",
        environment={**place.environment, "GRACE": str(grace)},
        arguments=["--factory", "--log-level=critical", *arguments],
    )


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def wait_for_upload(place: Place) -> None:
    """Wait until an upload has been begun in the place."""

    async def has_begun() -> bool:
        return bool(await place.list_unfinished())

    await wait_until(has_begun)


async def wait_for_shutdown(url: str) -> None:
    """Wait until the server takes no more connections: then it has begun to stop."""
    address = urlsplit(url)

    async def is_refused() -> bool:
        try:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        except ConnectionError:  # Refused, or reset when it stops in this moment.
            return True
        writer.close()
        return False

    await wait_until(is_refused)


async def wait_for_end(pid: int) -> None:
    """Wait until a process has ended by itself; its status is left for its parent."""
    options = os.WEXITED | os.WNOWAIT
    await asyncio.wait_for(asyncio.to_thread(os.waitid, os.P_PID, pid, options), WAIT_SECONDS)


async def post_slowly(url: str, may_go_on: asyncio.Event) -> str:
    """Upload two thirds of the content, and the rest when it is time."""

    async def body() -> AsyncIterator[bytes]:
        yield HEAD
        yield CONTENT[: 8 * MIB]
        await may_go_on.wait()
        yield CONTENT[8 * MIB :]
        yield TAIL

    headers = {"content-type": "multipart/form-data; boundary=fence"}
    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
        response = await client.post("/streamed", content=body(), headers=headers)
        name: str = response.raise_for_status().json()
        return name


async def read_all(place: Place) -> dict[str, bytes]:
    contents = {}
    async with place.make_storage() as storage:
        async for info in storage.list():
            async with storage.open(info.name) as reader:
                contents[info.name] = await reader.read()
    return contents


async def test_an_upload_finishes_before_its_server_stops(place: Place) -> None:
    may_go_on = asyncio.Event()
    with serve_app(place) as (url, pid):
        upload = asyncio.create_task(post_slowly(url, may_go_on))
        await wait_for_upload(place)
        os.kill(pid, signal.SIGTERM)
        await wait_for_shutdown(url)
        may_go_on.set()
        name = await upload
        await wait_for_end(pid)
    assert await read_all(place) == {name: CONTENT}
    assert await place.list_unfinished() == []


@pytest.mark.parametrize(
    "signals, arguments",
    [
        ([signal.SIGTERM], ["--timeout-graceful-shutdown=1"]),
        ([signal.SIGINT, signal.SIGINT], []),  # Ctrl-C twice.
    ],
    ids=["timeout", "twice"],
)
async def test_an_upload_that_the_server_does_not_wait_for_leaves_nothing(
    place: Place, signals: list[signal.Signals], arguments: list[str]
) -> None:
    with serve_app(place, *arguments) as (url, pid):
        upload = asyncio.create_task(post_slowly(url, asyncio.Event()))
        await wait_for_upload(place)
        for number in signals:
            os.kill(pid, number)
            await wait_for_shutdown(url)
        await wait_for_end(pid)
        upload.cancel()  # The client has stayed until now.
    assert await read_all(place) == {}
    assert await place.list_unfinished() == []


@asynccontextmanager
async def slow_source(may_go_on: asyncio.Event) -> AsyncIterator[int]:
    """Serve two thirds of the content, and the rest when it is time; yield the port."""

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(CONTENT[: 8 * MIB])
            await writer.drain()
            left = asyncio.create_task(reader.read())  # Ends when the client leaves.
            goes_on = asyncio.create_task(may_go_on.wait())
            await asyncio.wait([left, goes_on], return_when=asyncio.FIRST_COMPLETED)
            if may_go_on.is_set():
                writer.write(CONTENT[8 * MIB :])
                await writer.drain()
            left.cancel()
            goes_on.cancel()
        writer.close()

    server = await asyncio.start_server(send, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def start_fetching(url: str, port: int) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
        (await client.post("/fetched", params={"port": port})).raise_for_status()


async def test_an_upload_of_no_request_may_finish_too(place: Place) -> None:
    may_go_on = asyncio.Event()
    async with slow_source(may_go_on) as port:
        with serve_app(place, grace=WAIT_SECONDS) as (url, pid):
            await start_fetching(url, port)
            await wait_for_upload(place)
            os.kill(pid, signal.SIGTERM)
            await wait_for_shutdown(url)
            may_go_on.set()
            await wait_for_end(pid)
    assert await read_all(place) == {"fetched": CONTENT}
    assert await place.list_unfinished() == []


async def test_an_upload_of_no_request_ends_after_the_grace_and_leaves_nothing(
    place: Place,
) -> None:
    async with slow_source(asyncio.Event()) as port:
        with serve_app(place, grace=0.5) as (url, pid):
            await start_fetching(url, port)
            await wait_for_upload(place)
            os.kill(pid, signal.SIGTERM)
            await wait_for_end(pid)
    assert await read_all(place) == {}
    assert await place.list_unfinished() == []


async def test_several_workers_share_a_place(place: Place) -> None:
    sizes = [0, 1, 100_000, 6 * MIB] * 2
    with serve_app(place, "--workers=2") as (url, pid):

        async def use(size: int) -> int:
            """Upload by one connection, and read by another; return who took the upload."""
            async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
                worker: int = (await client.get("/process")).json()
                content = CONTENT[:size]
                created = await client.post("/saved", files={"file": ("a.bin", content)})
            async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
                read = await client.get(f"/files/{created.json()}")
                assert read.raise_for_status().content == content
            return worker

        workers: set[int] = set()
        async with asyncio.timeout(WAIT_SECONDS):
            while len(workers) < 2:  # The kernel chooses who takes a connection.
                workers |= set(await asyncio.gather(*map(use, sizes)))
        stored = await read_all(place)
        os.kill(pid, signal.SIGTERM)
        await wait_for_end(pid)
    assert len(stored) % len(sizes) == 0
    assert sorted({len(content) for content in stored.values()}) == sorted(set(sizes))
    assert await place.list_unfinished() == []
