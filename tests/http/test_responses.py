"""A file from an endpoint of one's own."""

from typing import Annotated

import anyio
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Response
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from fastapi_async_storages import MemoryStorage, StorageFile, StorageFileResponse
from fastapi_async_storages.http.headers import FileHeaders
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client

pytestmark = pytest.mark.anyio

PATIENCE = 10
"""Seconds after which something that should have happened is a failure."""


async def test_an_endpoint_returns_a_file() -> None:
    storage = MemoryStorage()
    app = FastAPI(lifespan=storage_lifespan(storage))
    done: list[str] = []

    @app.api_route("/invoice", methods=["GET", "HEAD"])
    async def read_invoice(tasks: BackgroundTasks) -> StorageFileResponse:
        tasks.add_task(done.append, "sent")
        return StorageFileResponse(
            StorageFile(storage, "a/b.pdf"),
            disposition="attachment",
            filename="Rechnung 2026.pdf",
            headers={"X-Invoice": "17", "Cache-Control": "no-store"},
        )

    async with open_client(app) as client:
        await storage.upload(b"%PDF", "a/b.pdf")
        answer = await client.get("/invoice")
        head = await client.head("/invoice")

    assert answer.content == b"%PDF"
    assert answer.headers["content-disposition"] == 'attachment; filename="Rechnung 2026.pdf"'
    assert answer.headers["x-invoice"] == "17"
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert head.headers == answer.headers
    assert done == ["sent", "sent"]


async def test_nobody_else_may_keep_a_file_unless_told() -> None:
    storage = MemoryStorage()
    app = FastAPI(lifespan=storage_lifespan(storage))

    @app.get("/file")
    async def read_file() -> StorageFileResponse:
        return StorageFileResponse(StorageFile(storage, "file"))

    async with open_client(app) as client:
        await storage.upload(b"text", "file", cache_control="public, max-age=60")

        assert (await client.get("/file")).headers["cache-control"] == "private, max-age=60"


async def test_a_middleware_and_a_caller_can_add_headers() -> None:
    storage = MemoryStorage()
    app = FastAPI(lifespan=storage_lifespan(storage))

    @app.get("/file")
    async def read_file() -> Response:
        response = StorageFileResponse(
            StorageFile(storage, "file"), presentation=FileHeaders(shared=True)
        )
        response.headers["X-Added"] = "yes"
        response.set_cookie("seen", "1")
        return response

    async with open_client(app) as client:
        await storage.upload(b"text", "file")
        answer = await client.get("/file")

    assert answer.headers["x-added"] == "yes"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.cookies["seen"] == "1"


async def test_a_server_that_cannot_send_any_more_ends_it() -> None:
    """Servers of ASGI 2.4 raise OSError when the client has left, as our own errors do too."""
    storage = MemoryStorage()
    await storage.upload(b"text", "file")
    sent: list[str] = []

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            raise BrokenPipeError

    with pytest.raises(ClientDisconnect):
        await StorageFileResponse(StorageFile(storage, "file"))(
            {"type": "http", "method": "GET", "headers": []}, receive, send
        )
    assert sent == ["http.response.start", "http.response.body"]


async def answer(storage: MemoryStorage, receive: Receive, send: Send) -> None:
    scope: Scope = {"type": "http", "method": "GET", "headers": []}
    with anyio.fail_after(PATIENCE):
        await StorageFileResponse(StorageFile(storage, "file"))(scope, receive, send)


async def test_an_answer_that_is_quick_does_not_ask_for_the_client() -> None:
    """It would take as long as the answer."""
    storage = MemoryStorage()
    await storage.upload(b"text", "file")
    sent: list[str] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await answer(storage, receive, send)
    assert sent == ["http.response.start", "http.response.body", "http.response.body"]


async def test_an_answer_that_is_slow_ends_with_its_client() -> None:
    storage = MemoryStorage()
    await storage.upload(b"text", "file")
    received: list[str] = []

    async def receive() -> Message:
        received.append("http.request" if not received else "http.disconnect")
        return {"type": received[-1]}

    async def send(message: Message) -> None:
        await anyio.sleep_forever()

    await answer(storage, receive, send)
    assert received == ["http.request", "http.disconnect"]


async def test_a_client_that_stays_is_not_waited_for() -> None:
    storage = MemoryStorage()
    await storage.upload(b"text", "file")
    asked = anyio.Event()
    ended: list[str] = []

    async def receive() -> Message:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("receive")
        raise AssertionError

    async def send(message: Message) -> None:
        await asked.wait()

    await answer(storage, receive, send)
    assert ended == ["receive"]


async def test_a_server_that_fails_to_tell_ends_the_answer() -> None:
    storage = MemoryStorage()
    await storage.upload(b"text", "file")

    async def receive() -> Message:
        raise RuntimeError("the server is broken")

    async def send(message: Message) -> None:
        await anyio.sleep_forever()

    with pytest.raises(RuntimeError, match="the server is broken"):
        await answer(storage, receive, send)


async def test_a_missing_file_is_a_problem() -> None:
    storage = MemoryStorage()
    app = FastAPI(lifespan=storage_lifespan(storage))

    def get_file() -> StorageFile:
        return StorageFile(storage, "missing")

    @app.get("/file")
    async def read_file(file: Annotated[StorageFile, Depends(get_file)]) -> StorageFileResponse:
        return StorageFileResponse(file)

    async with open_client(app) as client:
        answer = await client.get("/file")

    assert answer.status_code == 404
    assert answer.json()["title"] == "File not found"
