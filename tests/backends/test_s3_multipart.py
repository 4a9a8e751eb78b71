"""Large uploads: parts side by side, bounded memory, and nothing left of what failed."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fastapi_async_storages import S3Storage
from fastapi_async_storages.backends import _s3_copies
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    BackendUnavailableError,
    PermissionDeniedError,
    PreconditionFailedError,
)
from tests.backends.conftest import ENGINES, MakeS3Storage
from tests.servers.s3_proxy import Fault, S3Proxy, S3Request

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.anyio

MIB = 1024**2
PART_SIZE = 5 * MIB
CONTENT = hashlib.shake_128(b"seed").digest(2 * PART_SIZE + MIB)

OpenUploads: TypeAlias = Callable[[], Awaitable[list[str]]]


async def stream(content: bytes = CONTENT, chunk_size: int = MIB) -> AsyncIterator[bytes]:
    for start in range(0, len(content), chunk_size):
        yield content[start : start + chunk_size]


async def read(storage: S3Storage, name: str) -> bytes:
    async with storage.open(name) as reader:
        return await reader.read()


@pytest.fixture
async def storage(make_s3_storage: MakeS3Storage) -> AsyncIterator[S3Storage]:
    async with make_s3_storage(part_size=PART_SIZE) as storage:
        yield storage


@pytest.fixture
async def proxied(make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy) -> AsyncIterator[S3Storage]:
    options = {"endpoint_url": s3_proxy.endpoint_url, "part_size": PART_SIZE}
    async with make_s3_storage(**options) as storage:
        yield storage


@pytest.fixture
def open_uploads(s3_client: "S3Client", s3_bucket: str, prefix: str) -> OpenUploads:
    """List the multipart uploads of the test that the server still holds."""

    async def list_uploads() -> list[str]:
        answer = await s3_client.list_multipart_uploads(Bucket=s3_bucket, Prefix=prefix)
        return [upload["Key"] for upload in answer.get("Uploads", ())]

    return list_uploads


def is_create(request: S3Request) -> bool:
    return request.method == "POST" and "?uploads" in request.target


def is_part(request: S3Request) -> bool:
    return request.method == "PUT" and "partNumber=" in request.target


def is_finish(request: S3Request) -> bool:
    return request.method == "POST" and "?uploadId=" in request.target


class TestParts:
    @pytest.mark.parametrize("from_stream", [True, False])
    @pytest.mark.parametrize(
        "size, parts",
        [
            (PART_SIZE - 1, 1),
            (PART_SIZE, 1),
            (PART_SIZE + 1, 2),
            (2 * PART_SIZE, 2),
            (2 * PART_SIZE + 1, 3),
        ],
    )
    async def test_what_fits_in_one_part_is_one_request(
        self, proxied: S3Storage, s3_proxy: S3Proxy, size: int, parts: int, from_stream: bool
    ) -> None:
        content = CONTENT[:size]
        await proxied.upload(stream(content, 999_999) if from_stream else content, "a.bin")
        requests = s3_proxy.requests.copy()
        assert await read(proxied, "a.bin") == content
        if parts == 1:
            assert [request.method for request in requests] == ["PUT"]
        else:
            sizes = [int(r.headers["content-length"]) for r in requests if is_part(r)]
            assert len(requests) == parts + 2
            assert sorted(sizes)[1:] == [PART_SIZE] * (parts - 1)

    async def test_what_is_stored_beside_the_bytes(self, storage: S3Storage) -> None:
        await storage.upload(
            stream(),
            "a.bin",
            content_type="text/x-own",
            metadata={"filename": "ü.txt", "k": "v"},
            cache_control="no-store",
        )
        info = await storage.get_info("a.bin")
        assert (info.content_type, info.cache_control) == ("text/x-own", "no-store")
        assert (info.filename, info.metadata) == ("ü.txt", {"k": "v"})
        assert info.size == len(CONTENT)

    @pytest.mark.parametrize("checksum_mode", ["when_required", "when_supported"])
    async def test_checksums(self, make_s3_storage: MakeS3Storage, checksum_mode: str) -> None:
        options = {"part_size": PART_SIZE, "checksum_mode": checksum_mode}
        async with make_s3_storage(**options) as storage:
            await storage.upload(CONTENT, "a.bin")
            assert await read(storage, "a.bin") == CONTENT

    async def test_no_more_parts_are_read_than_can_be_sent(
        self, make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
    ) -> None:
        chunk = bytes(MIB)
        ahead = []

        async def slow_server() -> AsyncIterator[bytes]:
            for number in range(1, 40):
                acknowledged = max(s3_proxy.answered - 1, 0) * PART_SIZE
                ahead.append(number * MIB - acknowledged)
                yield chunk

        options = {"endpoint_url": s3_proxy.endpoint_url, "part_size": PART_SIZE}
        async with make_s3_storage(**options, max_concurrency=2) as storage:
            await storage.upload(slow_server(), "a.bin")
        assert s3_proxy.peak == 2
        # One chunk more shows that a part is not the last one.
        assert max(ahead) <= 2 * PART_SIZE + MIB

    async def test_memory_is_bounded_by_the_parts_in_flight(
        self, make_s3_storage: MakeS3Storage
    ) -> None:
        async with make_s3_storage(part_size=PART_SIZE, max_concurrency=2) as storage:
            await storage.upload(b"1", "warm.bin")
            chunk = bytes(64 * 1024)

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(60 * MIB // len(chunk)):
                    yield chunk

            tracemalloc.start()
            try:
                await storage.upload(chunks(), "a.bin")
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert peak < 3 * PART_SIZE


class TestFailures:
    """Whatever fails, there is the whole file or none, and no upload is left open."""

    @pytest.mark.parametrize("chunks_before", [0, 1, 6, 11])
    async def test_a_source_that_fails(
        self, storage: S3Storage, open_uploads: OpenUploads, chunks_before: int
    ) -> None:
        async def failing() -> AsyncIterator[bytes]:
            for number in range(chunks_before):
                yield CONTENT[number * MIB : (number + 1) * MIB]
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await storage.upload(failing(), "a.bin")
        assert not await storage.exists("a.bin")
        assert await open_uploads() == []

    @pytest.mark.parametrize("number", [1, 2, 3])
    async def test_a_part_that_is_refused(
        self, proxied: S3Storage, s3_proxy: S3Proxy, open_uploads: OpenUploads, number: int
    ) -> None:
        part = f"partNumber={number}&"
        s3_proxy.plan = lambda r: (403, "AccessDenied") if part in f"{r.target}&" else None
        current = asyncio.current_task()
        assert current is not None
        cancelled_before = current.cancelling()
        with pytest.raises(PermissionDeniedError, match="AccessDenied"):
            await proxied.upload(stream(), "a.bin")
        # Nobody has cancelled it: a timeout around it must know its own cancellation.
        assert current.cancelling() == cancelled_before
        assert not await proxied.exists("a.bin")
        assert await open_uploads() == []

    async def test_a_part_that_fails_ends_the_reading(
        self, proxied: S3Storage, s3_proxy: S3Proxy, open_uploads: OpenUploads
    ) -> None:
        s3_proxy.plan = lambda r: (403, "AccessDenied") if is_part(r) else None

        async def endless() -> AsyncIterator[bytes]:
            yield CONTENT[: PART_SIZE + 1]
            await asyncio.Event().wait()

        with pytest.raises(PermissionDeniedError):
            await asyncio.wait_for(proxied.upload(endless(), "a.bin"), 10)
        assert await open_uploads() == []

    async def test_parts_that_fail_once_are_sent_again(
        self, proxied: S3Storage, s3_proxy: S3Proxy, open_uploads: OpenUploads
    ) -> None:
        failed = set()

        def fail_once(request: S3Request) -> tuple[int, str] | None:
            if not is_part(request) or request.target in failed:
                return None
            failed.add(request.target)
            return 500, "InternalError"

        s3_proxy.plan = fail_once
        await proxied.upload(stream(), "a.bin")
        assert len(failed) == 3
        assert await read(proxied, "a.bin") == CONTENT
        assert await open_uploads() == []

    @pytest.mark.parametrize("losses", [1, 99])
    async def test_the_answer_to_the_creation_is_lost(
        self, proxied: S3Storage, s3_proxy: S3Proxy, open_uploads: OpenUploads, losses: int
    ) -> None:
        left = losses

        def lose(request: S3Request) -> Fault | None:
            nonlocal left
            if not is_create(request) or not left:
                return None
            left -= 1
            return Fault.LOSE_ANSWER

        s3_proxy.plan = lose
        if losses == 1:
            await proxied.upload(stream(), "a.bin")
            assert await read(proxied, "a.bin") == CONTENT
        else:
            with pytest.raises(BackendUnavailableError):
                await proxied.upload(stream(), "a.bin")
            assert left == losses - 3  # Attempts are bounded.
        assert await open_uploads() == []

    async def test_lost_uploads_of_others_are_left_alone(
        self,
        proxied: S3Storage,
        s3_proxy: S3Proxy,
        s3_client: "S3Client",
        s3_bucket: str,
        prefix: str,
        open_uploads: OpenUploads,
    ) -> None:
        for key in ("a.bin", "a.bin.other"):
            place = {"Bucket": s3_bucket, "Key": f"{prefix}/{key}"}
            other = await s3_client.create_multipart_upload(**place)  # type: ignore[arg-type]
            if key == "a.bin":
                await s3_client.upload_part(
                    **place,  # type: ignore[arg-type]
                    UploadId=other["UploadId"],
                    PartNumber=1,
                    Body=b"1",
                )
        seen = []

        def lose_first(request: S3Request) -> Fault | None:
            seen.append(request)
            return Fault.LOSE_ANSWER if len(seen) == 1 else None

        s3_proxy.plan = lose_first
        await proxied.upload(stream(), "a.bin")
        assert sorted(await open_uploads()) == [f"{prefix}/a.bin", f"{prefix}/a.bin.other"]

    @pytest.mark.parametrize("overwrite", [True, False])
    async def test_the_answer_to_the_completion_is_lost(
        self, proxied: S3Storage, s3_proxy: S3Proxy, open_uploads: OpenUploads, overwrite: bool
    ) -> None:
        lost: list[S3Request] = []

        def lose_first(request: S3Request) -> Fault | None:
            if not is_finish(request) or lost:
                return None
            lost.append(request)
            return Fault.LOSE_ANSWER

        s3_proxy.plan = lose_first
        await proxied.upload(stream(), "a.bin", overwrite=overwrite)
        assert lost
        assert await read(proxied, "a.bin") == CONTENT
        assert await open_uploads() == []

    async def test_a_server_that_stops_reading(
        self, make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
    ) -> None:
        content = bytes(40 * MIB)
        options = {
            "endpoint_url": s3_proxy.endpoint_url,
            "part_size": 64 * MIB,
            "client_config": {"connect_timeout": 0.2, "read_timeout": 0.2},
        }
        async with make_s3_storage(**options) as storage:
            s3_proxy.plan = lambda _: Fault.STOP_READING
            with pytest.raises(TimeoutError) as caught:
                await asyncio.wait_for(storage.upload(content, "a.bin"), 20)
            assert isinstance(caught.value, BackendUnavailableError)
            s3_proxy.plan = lambda _: None
            assert not await storage.exists("a.bin")


class TestCancellation:
    """A cancelled upload is awaited to the end of its clean-up."""

    async def check(self, storage: S3Storage, open_uploads: OpenUploads) -> None:
        if await storage.exists("a.bin"):
            assert await read(storage, "a.bin") == CONTENT
        assert await open_uploads() == []

    @pytest.mark.parametrize("number", range(1, 6))
    async def test_at_each_request(
        self, proxied: S3Storage, s3_proxy: S3Proxy, open_uploads: OpenUploads, number: int
    ) -> None:
        task = asyncio.create_task(proxied.upload(stream(), "a.bin"))

        def cancel(_: S3Request) -> None:
            if len(s3_proxy.requests) == number:
                task.cancel()

        s3_proxy.plan = cancel
        with pytest.raises(asyncio.CancelledError):
            await task
        # Once the request that makes the file is on its way, it is awaited: there is no telling
        # whether an abort would come before or after it.
        was_finished = any(is_finish(request) for request in s3_proxy.requests)
        assert was_finished == (number == 5)
        assert any(request.method == "DELETE" for request in s3_proxy.requests) != was_finished
        await self.check(proxied, open_uploads)

    @pytest.mark.parametrize("number", range(1, 12))
    async def test_after_each_chunk(
        self, storage: S3Storage, open_uploads: OpenUploads, number: int
    ) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for position in range(number):
                yield CONTENT[position * MIB : (position + 1) * MIB]
            task.cancel()
            await asyncio.Event().wait()

        task = asyncio.create_task(storage.upload(chunks(), "a.bin"))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await storage.exists("a.bin")
        await self.check(storage, open_uploads)

    @pytest.mark.parametrize("step", range(0, 400, 25))
    async def test_at_any_step_of_the_loop(
        self, storage: S3Storage, open_uploads: OpenUploads, step: int
    ) -> None:
        task = asyncio.create_task(storage.upload(stream(), "a.bin"))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await self.check(storage, open_uploads)


class TestCreateOnly:
    @pytest.fixture(params=ENGINES)
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    async def test_a_taken_name(self, storage: S3Storage, open_uploads: OpenUploads) -> None:
        await storage.upload(b"first", "a.bin")
        with pytest.raises(AlreadyExistsError):
            await storage.upload(stream(), "a.bin", overwrite=False)
        assert await read(storage, "a.bin") == b"first"
        assert await open_uploads() == []

    async def test_a_repeated_request_meets_its_own_object(
        self, proxied: S3Storage, s3_proxy: S3Proxy
    ) -> None:
        s3_proxy.plan = lambda _: Fault.LOSE_ANSWER if len(s3_proxy.requests) == 1 else None
        await proxied.upload(b"ours", "a.txt", metadata={"k": "v"}, overwrite=False)
        assert [request.method for request in s3_proxy.requests] == ["PUT", "PUT", "HEAD"]
        assert await read(proxied, "a.txt") == b"ours"
        # What tells the object apart is not for the user.
        assert (await proxied.get_info("a.txt")).metadata == {"k": "v"}

    async def test_a_repeated_request_meets_the_object_of_another(
        self, proxied: S3Storage, storage: S3Storage, s3_proxy: S3Proxy
    ) -> None:
        await storage.upload(b"ours", "a.txt", overwrite=False)
        s3_proxy.plan = lambda _: Fault.LOSE_ANSWER if len(s3_proxy.requests) == 1 else None
        with pytest.raises(AlreadyExistsError):
            await proxied.upload(b"ours", "a.txt", overwrite=False)

    @pytest.mark.parametrize("source", [b"small", bytes(100_000), CONTENT])
    async def test_a_conflict_passes(
        self, proxied: S3Storage, s3_proxy: S3Proxy, source: bytes
    ) -> None:
        conflicts = 0

        def conflict_twice(request: S3Request) -> tuple[int, str] | None:
            nonlocal conflicts
            if "if-none-match" not in request.headers or conflicts == 2:
                return None
            conflicts += 1
            return 409, "ConditionalRequestConflict"

        s3_proxy.plan = conflict_twice
        await proxied.upload(source, "a.bin", overwrite=False)
        assert await read(proxied, "a.bin") == source

    async def test_a_conflict_that_does_not_pass(
        self, proxied: S3Storage, s3_proxy: S3Proxy
    ) -> None:
        s3_proxy.plan = lambda _: (409, "ConditionalRequestConflict")
        with pytest.raises(BackendUnavailableError, match="another upload"):
            await proxied.upload(b"1", "a.txt", overwrite=False)
        assert len(s3_proxy.requests) == 5


class TestCopyInParts:
    @pytest.fixture(autouse=True)
    def small_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a file of more than 5 GiB would need, with one of 11 MiB."""
        monkeypatch.setattr(_s3_copies, "MAX_PART_SIZE", PART_SIZE)
        monkeypatch.setattr(_s3_copies, "COPY_PART_SIZE", PART_SIZE)

    async def test_content_and_headers(self, proxied: S3Storage, s3_proxy: S3Proxy) -> None:
        await proxied.upload(CONTENT, "a.bin", content_type="text/x-own", metadata={"k": "ü"})
        s3_proxy.requests.clear()
        await proxied.copy("a.bin", "ü b.bin")
        assert len([r for r in s3_proxy.requests if is_part(r)]) == 3
        assert await read(proxied, "ü b.bin") == CONTENT
        info = await proxied.get_info("ü b.bin")
        assert (info.content_type, info.metadata) == ("text/x-own", {"k": "ü"})

    async def test_a_taken_name(self, storage: S3Storage, open_uploads: OpenUploads) -> None:
        await storage.upload(CONTENT, "a.bin")
        await storage.upload(b"first", "b.bin")
        with pytest.raises(AlreadyExistsError):
            await storage.copy("a.bin", "b.bin", overwrite=False)
        await storage.copy("a.bin", "c.bin", overwrite=False)
        assert await open_uploads() == []

    async def test_a_source_that_is_replaced_meanwhile(
        self,
        proxied: S3Storage,
        s3_proxy: S3Proxy,
        s3_client: "S3Client",
        s3_bucket: str,
        prefix: str,
        open_uploads: OpenUploads,
    ) -> None:
        await proxied.upload(CONTENT, "a.bin")
        replaced = asyncio.Event()

        async def replace(request: S3Request) -> None:
            if is_create(request):
                await s3_client.put_object(Bucket=s3_bucket, Key=f"{prefix}/a.bin", Body=b"other")
                replaced.set()

        s3_proxy.before_answer = replace
        with pytest.raises(PreconditionFailedError):
            await proxied.copy("a.bin", "b.bin")
        assert replaced.is_set()
        assert not await proxied.exists("b.bin")
        assert await open_uploads() == []
