"""What becomes of a streamed file when its request fails, is cancelled, or is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Request, Response
from fastapi.exceptions import ResponseValidationError
from httpx import AsyncClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastapi_async_storages import MemoryStorage, Storage, StorageFile
from fastapi_async_storages.streamed_forms import StreamedUpload
from fastapi_async_storages.testing.faults import Fail, FaultyStorage
from tests.asgi import open_client
from tests.uploads.streaming_requests import (
    assert_untouched,
    call,
    list_names,
    make_app,
    make_file_app,
)

pytestmark = pytest.mark.anyio


class AbortedError(Exception):
    pass


class AnswerWatch:
    """Lists what is stored when each answer begins."""

    def __init__(self, app: ASGIApp, storage: Storage, seen: list[list[str]]) -> None:
        self.app = app
        self.storage = storage
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.seen.append(await list_names(self.storage))
            await send(message)

        await self.app(scope, receive, watch)


def make_router(upload: Any) -> APIRouter:
    """Make routes whose requests end in many ways."""
    router = APIRouter()

    async def refuse() -> None:
        raise HTTPException(403)

    @router.post("/succeeds")
    async def succeed(file: Annotated[StorageFile, upload]) -> None:
        assert await file.exists()

    @router.post("/http")
    async def raise_http(file: Annotated[StorageFile, upload]) -> None:
        assert await file.exists()
        raise HTTPException(409)

    @router.post("/other")
    async def raise_other(file: Annotated[StorageFile, upload]) -> None:
        raise AbortedError

    @router.post("/response")
    async def response(file: Annotated[StorageFile, upload]) -> int:
        return "no number"  # type: ignore[return-value]

    @router.post("/later")
    async def later(
        file: Annotated[StorageFile, upload], _: Annotated[None, Depends(refuse)]
    ) -> None:
        pass

    @router.post("/invalid")
    async def invalid(file: Annotated[StorageFile, upload], number: int) -> None:
        pass

    @router.post("/kept")
    async def kept(file: Annotated[StorageFile, upload]) -> None:
        file._fresh = False  # As a tracked flush does.
        raise HTTPException(409)

    return router


@asynccontextmanager
async def failing_app(
    storage: Storage, upload: Any = None
) -> AsyncIterator[tuple[AsyncClient, list[list[str]]]]:
    """Yield a client, and what was stored when each answer began."""
    seen: list[list[str]] = []
    app = make_app(storage)
    app.add_middleware(AnswerWatch, storage=storage, seen=seen)
    app.include_router(make_router(upload or StreamedUpload("file")))

    @app.exception_handler(AbortedError)
    async def answer(request: Request, error: Exception) -> Response:
        return Response(status_code=418)

    async with open_client(app) as client:
        yield client, seen


@pytest.mark.parametrize(
    "path,status",
    [
        ("/http", 409),
        ("/other", 418),
        ("/later", 403),
        ("/invalid?number=x", 422),
    ],
)
async def test_a_request_that_fails_has_deleted_its_file_before_the_answer(
    storage: Storage, tmp_path: Path, path: str, status: int
) -> None:
    async with failing_app(storage) as (client, stored_at_answer):
        response = await client.post(path, files={"file": ("a.txt", b"x")})
        assert response.status_code == status
        assert stored_at_answer == [[]]
        await assert_untouched(storage, tmp_path)


async def test_a_response_that_does_not_validate_deletes_the_file(
    storage: Storage, tmp_path: Path
) -> None:
    async with failing_app(storage) as (client, _):
        with pytest.raises(ResponseValidationError):
            await client.post("/response", files={"file": ("a.txt", b"x")})
        await assert_untouched(storage, tmp_path)


async def test_a_file_that_someone_promised_to_keep_stays() -> None:
    storage = MemoryStorage()
    async with failing_app(storage) as (client, _):
        response = await client.post("/kept", files={"file": ("a.txt", b"x")})
    assert response.status_code == 409
    assert len(await list_names(storage)) == 1


async def test_a_request_that_succeeds_keeps_its_file() -> None:
    storage = MemoryStorage()
    async with failing_app(storage) as (client, stored_at_answer):
        await client.post("/succeeds", files={"file": ("a.txt", b"x")})
    assert stored_at_answer == [await list_names(storage)]
    assert len(stored_at_answer[0]) == 1


async def test_what_fails_behind_the_answer_deletes_nothing() -> None:
    storage = MemoryStorage()
    app = make_app(storage)

    async def fail() -> None:
        raise AbortedError

    @app.post("/")
    async def create(
        file: Annotated[StorageFile, StreamedUpload("file")], tasks: BackgroundTasks
    ) -> None:
        tasks.add_task(fail)

    async with open_client(app) as client:
        with pytest.raises(AbortedError):
            await client.post("/", files={"file": ("a.txt", b"x")})
    assert len(await list_names(storage)) == 1


async def test_a_cancelled_handler_deletes_its_file(storage: Storage, tmp_path: Path) -> None:
    app, entered = make_app(storage), asyncio.Event()

    @app.post("/")
    async def hang(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        assert await file.exists()
        entered.set()
        await asyncio.Event().wait()

    async with open_client(app) as client:
        request = asyncio.create_task(client.post("/", files={"file": ("a.txt", b"x")}))
        await asyncio.wait_for(entered.wait(), 10)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await assert_untouched(storage, tmp_path)


async def test_an_app_that_stops_waits_for_the_clean_up_of_cancelled_requests(
    storage: Storage, tmp_path: Path
) -> None:
    app, entered = make_app(storage), asyncio.Event()

    @app.post("/")
    async def hang(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with open_client(app) as client:
        request = asyncio.create_task(client.post("/", files={"file": ("a.txt", b"x")}))
        await asyncio.wait_for(entered.wait(), 10)
        request.cancel()  # As uvicorn does, which waits for it no longer.
    assert request.done()
    await assert_untouched(storage, tmp_path)


async def test_an_upload_that_is_cancelled_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    sent = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 6 * 1024 * 1024
        sent.set()
        await asyncio.Event().wait()

    app = make_file_app(storage, StreamedUpload("file"), "PUT")
    async with open_client(app) as client:
        request = asyncio.create_task(client.put("/", content=chunks()))
        await asyncio.wait_for(sent.wait(), 10)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await assert_untouched(storage, tmp_path)


async def test_progress_that_raises_ends_the_upload(storage: Storage, tmp_path: Path) -> None:
    async def progress(received: int, total: int | None) -> None:
        if received == total:
            raise AbortedError

    async with failing_app(storage, StreamedUpload("file", progress=progress)) as (client, _):
        content = b"x" * 6 * 1024 * 1024
        response = await client.post("/succeeds", files={"file": ("a.txt", content)})
        assert response.status_code == 418
        await assert_untouched(storage, tmp_path)


async def test_a_file_that_cannot_be_deleted_is_in_the_log_and_the_answer_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = FaultyStorage(MemoryStorage(), [Fail("delete")])
    async with failing_app(storage) as (client, _):
        response = await client.post("/http", files={"file": ("a.txt", b"x")})
    assert response.status_code == 409
    [name] = await list_names(storage)
    assert name in caplog.text
    assert "may be left behind" in caplog.text


async def test_who_may_upload_is_asked_before_the_body_is_read() -> None:
    app = make_app(MemoryStorage())

    async def refuse() -> None:
        raise HTTPException(401)

    @app.put("/", dependencies=[Depends(refuse)])
    async def put(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        pass

    assert await call(app, {"method": "PUT", "headers": []}, b"x") == (401, 0)
