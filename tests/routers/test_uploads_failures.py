"""Direct uploads when something fails on the way: nothing is lost, and nothing is half done."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage, Storage, UploadRules
from fastapi_async_storages.exceptions import BackendUnavailableError
from fastapi_async_storages.testing.contract._cancellation import cancel_at
from fastapi_async_storages.testing.faults import FaultyStorage, LoseAnswer
from fastapi_async_storages.uploads.direct import AnnouncedUpload, DirectUploads
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.tickets import Ticket
from tests.servers.http_server import serve
from tests.servers.s3 import S3Server
from tests.servers.s3_proxy import Fault, S3Proxy, S3Request, run_s3_proxy
from tests.uploads.front_end import (
    FrontEnd,
    assert_nothing_is_left,
    list_names,
    make_uploads_app,
    run_uploads,
)
from tests.uploads.samples import PNG

pytestmark = pytest.mark.anyio


@pytest.fixture
async def s3_proxy(s3_server: S3Server) -> AsyncIterator[S3Proxy]:
    async with run_s3_proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def proxied_storage(s3_server: S3Server, s3_proxy: S3Proxy) -> S3Storage:
    """A storage whose app is behind the proxy, and whose browsers are not."""
    return S3Storage(
        s3_server.bucket,
        endpoint_url=s3_proxy.endpoint_url,
        public_endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        prefix=uuid4().hex,
        client_config={"retries": {"total_max_attempts": 2}},
    )


def is_copy(request: S3Request) -> bool:
    return "x-amz-copy-source" in request.headers


@pytest.mark.parametrize("threshold", [0, "1MiB"])
async def test_an_outage_while_a_file_is_completed_costs_no_file(
    proxied_storage: S3Storage, s3_proxy: S3Proxy, threshold: int | str
) -> None:
    async with run_uploads(proxied_storage, multipart_threshold=threshold) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        await front_end.send(plan, PNG)
        s3_proxy.plan = lambda request: (503, "SlowDown") if is_copy(request) else None
        answer = await front_end.complete(plan)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert len(await list_names(proxied_storage)) == 1
        s3_proxy.plan = lambda _: None
        assert (await front_end.complete(plan)).status_code == 201


async def test_a_lost_answer_to_the_copy_is_no_failure(
    proxied_storage: S3Storage, s3_proxy: S3Proxy
) -> None:
    lost: list[S3Request] = []

    def lose_first(request: S3Request) -> Fault | None:
        if not is_copy(request) or lost:
            return None
        lost.append(request)
        return Fault.LOSE_ANSWER

    async with run_uploads(proxied_storage) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        await front_end.send(plan, PNG)
        s3_proxy.plan = lose_first
        answer = await front_end.complete(plan)
        assert lost
        assert answer.status_code == 201, answer.text
        assert await list_names(proxied_storage) == [answer.json()["name"]]


async def test_a_file_whose_move_was_not_answered_is_kept() -> None:
    """It may be that of another call, which has answered with it."""
    storage = FaultyStorage(MemoryStorage(), [LoseAnswer("move", times=1)])
    async with run_uploads(storage) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        await front_end.send(plan, PNG)
        assert (await front_end.complete(plan)).status_code == 503
        [name] = await list_names(storage)
        assert (await front_end.complete(plan)).status_code == 404
        await front_end.send(plan, PNG)
        assert (await front_end.complete(plan)).status_code == 404
        assert await list_names(storage) == [name]


async def test_what_cannot_be_deleted_after_the_copy_is_left_to_the_sweep(
    proxied_storage: S3Storage, s3_proxy: S3Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_uploads(proxied_storage) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        await front_end.send(plan, PNG)
        s3_proxy.plan = lambda request: (
            (403, "AccessDenied") if request.method == "DELETE" else None
        )
        answer = await front_end.complete(plan)
        assert answer.status_code == 201
        assert "may be left behind" in caplog.text
        assert len(await list_names(proxied_storage)) == 2
        s3_proxy.plan = lambda _: None
        assert (await front_end.complete(plan)).status_code == 404  # The ticket was used.
        assert await list_names(proxied_storage) == [answer.json()["name"]]


async def test_a_scanner_that_is_down_refuses_nothing_for_good(storage: Storage) -> None:
    is_down = True

    async def scan(file: IncomingFile, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk
        if is_down:
            raise BackendUnavailableError("The scanner cannot be reached.")

    async with run_uploads(storage, UploadRules(scanners=[scan])) as front_end:
        plan = await front_end.plan(PNG, "a.png", content_type="image/png")
        await front_end.send(plan, PNG)
        assert (await front_end.complete(plan)).status_code == 503
        is_down = False
        assert (await front_end.complete(plan)).status_code == 201


# Cancelled


async def send_to(storage: Storage, uploads: DirectUploads) -> Ticket:
    planned = await uploads.plan(
        storage, AnnouncedUpload(filename="a.png", size=len(PNG), content_type="image/png")
    )
    name = f"pending/{planned.ticket.unique}"
    await storage.upload(PNG, name, content_type="image/png")
    return planned.ticket


async def complete(storage: Storage, uploads: DirectUploads, ticket: Ticket) -> str:
    async with uploads.completing(storage, ticket) as file:
        return file.name


@pytest.fixture(params=["memory", "local"])
def near_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path)


async def test_a_completion_that_is_cancelled_anywhere_leaves_no_file(
    near_storage: Storage,
) -> None:
    uploads = DirectUploads(UploadRules(types=["image/*"]))
    for step in range(200):
        ticket = await send_to(near_storage, uploads)
        is_finished = await cancel_at(step, complete(near_storage, uploads, ticket))
        left = [name for name in await list_names(near_storage) if not name.startswith("pending/")]
        assert len(left) == is_finished
        if is_finished:
            break
    else:
        raise AssertionError("It was never finished.")
    assert step > 3


async def test_a_completion_that_is_cancelled_at_any_request_leaves_no_file(
    proxied_storage: S3Storage, s3_proxy: S3Proxy
) -> None:
    uploads = DirectUploads(UploadRules(types=["image/*"]))
    async with proxied_storage:
        for number in range(1, 20):
            ticket = await send_to(proxied_storage, uploads)
            s3_proxy.requests.clear()
            task = asyncio.ensure_future(complete(proxied_storage, uploads, ticket))

            async def cancel(_: S3Request, number: int = number, task: object = task) -> None:
                if len(s3_proxy.requests) == number:
                    assert isinstance(task, asyncio.Task)
                    task.cancel()

            s3_proxy.before_answer = cancel
            [result] = await asyncio.gather(task, return_exceptions=True)
            s3_proxy.before_answer = None
            names = await list_names(proxied_storage)
            if isinstance(result, str):
                assert [name for name in names if not name.startswith("pending/")] == [result]
                break
            assert isinstance(result, asyncio.CancelledError)
            assert [name for name in names if not name.startswith("pending/")] == []
        else:
            raise AssertionError("It was never finished.")
        assert number > 4


# The client goes away


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(near_storage: Storage) -> None:
    content = bytes(1_000_000)
    with serve(make_uploads_app(near_storage)) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            plan = await FrontEnd(client, client).plan(content)
            target = urlsplit(plan["url"])
            with socket.create_connection((target.hostname or "", target.port or 0)) as connection:
                head = (
                    f"PUT {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\n"
                    "Content-Type: application/octet-stream\r\n"
                    f"Content-Length: {len(content)}\r\n\r\n"
                )
                connection.sendall(head.encode() + content[: len(content) // 2])
            answer = await client.post(plan["complete_url"], json={"ticket": plan["ticket"]})
            assert answer.status_code == 404
    async with near_storage:
        await assert_nothing_is_left(near_storage)
