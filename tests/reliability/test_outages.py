"""A server that dies in the middle of uploads and comes back: SIGKILL, then the same files."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fastapi_async_storages import S3Storage
from fastapi_async_storages.backends._s3_parts import MIN_PART_SIZE
from fastapi_async_storages.exceptions import BackendUnavailableError
from fastapi_async_storages.testing.seaweedfs import SeaweedFS
from tests.backends.conftest import ENGINES
from tests.servers.s3 import open_sdk_client

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.anyio

BUCKET = "files"
OLD = b"what was there before"
PARTS = [os.urandom(MIN_PART_SIZE) for _ in range(3)]
CONTENT = b"".join(PARTS)
TIMEOUT_SECONDS = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path, buckets=[BUCKET]) as server:
        yield server


@pytest.fixture
async def client(server: SeaweedFS) -> "AsyncIterator[S3Client]":
    """The SDK itself, to see what is really in the bucket."""
    async with open_sdk_client(server) as client:
        yield client


@pytest.fixture(params=ENGINES)
async def storage(server: SeaweedFS, request: pytest.FixtureRequest) -> AsyncIterator[S3Storage]:
    async with S3Storage(
        BUCKET,
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        part_size=MIN_PART_SIZE,
        max_concurrency=1,
        engine=request.param,
    ) as storage:
        yield storage


async def read(storage: S3Storage, name: str) -> bytes:
    async with storage.open(name) as reader:
        return await reader.read()


async def kill_within_uploads(server: SeaweedFS, storage: S3Storage, *names: str) -> list[object]:
    """Kill the server when it has the first part of each upload; return how they ended."""
    begun = asyncio.Barrier(len(names) + 1)
    killed = asyncio.Event()

    async def send() -> AsyncIterator[bytes]:
        yield PARTS[0]
        yield PARTS[1]
        # One part is sent at a time: who is asked for more has sent the first one.
        await begun.wait()
        await killed.wait()
        yield PARTS[2]

    async def kill() -> None:
        await begun.wait()
        await asyncio.to_thread(server.kill)
        killed.set()

    uploads = [storage.upload(send(), name) for name in names]
    async with asyncio.timeout(TIMEOUT_SECONDS):
        outcomes = await asyncio.gather(kill(), *uploads, return_exceptions=True)
    return list(outcomes[1:])


async def test_a_server_that_is_killed_within_uploads_and_started_again(
    server: SeaweedFS, storage: S3Storage, client: "S3Client"
) -> None:
    await storage.upload(OLD, "old.bin")
    outcomes = await kill_within_uploads(server, storage, "old.bin", "new.bin")
    assert [type(outcome) for outcome in outcomes] == [BackendUnavailableError] * 2
    with pytest.raises(BackendUnavailableError):
        await storage.exists("old.bin")

    await asyncio.to_thread(server.start)
    assert await read(storage, "old.bin") == OLD
    assert not await storage.exists("new.bin")
    for name in ("old.bin", "new.bin"):
        await storage.upload(CONTENT, name)
        assert await read(storage, name) == CONTENT

    # Nobody could free the parts while the server was down.
    listed = await client.list_multipart_uploads(Bucket=BUCKET)
    assert sorted(upload["Key"] for upload in listed["Uploads"]) == ["new.bin", "old.bin"]
    for upload in listed["Uploads"]:
        sent = await client.list_parts(
            Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
        )
        assert [part["Size"] for part in sent["Parts"]] == [MIN_PART_SIZE]
    assert await storage.abort_stale_uploads(older_than=timedelta(-1)) == 2
    listed = await client.list_multipart_uploads(Bucket=BUCKET)
    assert listed.get("Uploads", []) == []
    assert await read(storage, "new.bin") == CONTENT
