"""What the network and the server do wrong, with a real S3 server behind a proxy that does it.

An upload ends whole or leaves what was there before; no multipart upload stays open; what is cut
never passes for complete; attempts are bounded; and the same storage works again afterwards.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import pytest

from fastapi_async_storages import ByteRange, S3Storage
from fastapi_async_storages.exceptions import BackendError, CorruptFileError
from tests.backends.conftest import ENGINES
from tests.reliability.conftest import S3Place
from tests.servers.s3_proxy import Fault, S3Proxy, S3Request, run_s3_proxy
from tests.servers.tcp import BLOCK, run_relay

pytestmark = pytest.mark.anyio

MIB = 1024**2
OLD = b"what was there before"
CONTENT = os.urandom(11 * MIB)  # Three parts.
SMALL = os.urandom(100_000)
ATTEMPTS = 2
READ_TIMEOUT = 1.5  # Of an idle machine, a tenth would be enough.
TIMEOUT_SECONDS = 60

AnyFault: TypeAlias = Fault | tuple[int, str]

FAULTS: dict[str, AnyFault] = {
    "reset within the request": Fault.RESET_IN_REQUEST,
    "reset within the answer": Fault.RESET_IN_ANSWER,
    "lost answer": Fault.LOSE_ANSWER,
    "stall": Fault.STALL,
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
}

MULTIPART = ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")

WORK_IS_DONE = (Fault.RESET_IN_ANSWER, Fault.LOSE_ANSWER, Fault.CUT_ANSWER)
"""The server has done what it was asked for, and the client does not hear of it."""

any_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())


@pytest.fixture
async def proxy(s3_place: S3Place) -> AsyncIterator[S3Proxy]:
    async with run_s3_proxy(s3_place.server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
async def storage(s3_place: S3Place, proxy: S3Proxy) -> AsyncIterator[S3Storage]:
    config = {"read_timeout": READ_TIMEOUT, "retries": {"total_max_attempts": ATTEMPTS}}
    options = {"endpoint_url": proxy.endpoint_url, "client_config": config}
    async with s3_place.make_storage(**options) as storage:
        yield storage


async def read(storage: S3Storage, name: str, byte_range: ByteRange | None = None) -> bytes:
    async with storage.open(name, byte_range=byte_range) as reader:
        return await reader.read()


async def list_names(storage: S3Storage, prefix: str) -> list[str]:
    return sorted([info.name async for info in storage.list(prefix)])


def fail_first(fault: AnyFault) -> Callable[[S3Request], AnyFault | None]:
    """Make a plan in which each request fails once, and its repetition does not."""
    seen = set()

    def plan(request: S3Request) -> AnyFault | None:
        key = (request.method, request.target)
        if key in seen:
            return None
        seen.add(key)
        return fault

    return plan


def count_attempts(proxy: S3Proxy) -> dict[str, int]:
    """Return how often the same request came by at most, for each operation."""
    attempts: dict[str, int] = {}
    requests = Counter((request.operation, request.target) for request in proxy.requests)
    for (operation, _), times in requests.items():
        attempts[operation] = max(times, attempts.get(operation, 0))
    return attempts


def assert_attempts_are_bounded(proxy: S3Proxy, fault: AnyFault) -> None:
    """Each layer repeats a request, and no more.

    The SDK does; and aiohttp, once and at once, when an idempotent one loses its connection
    (RFC 9110 section 9.2.2).
    """
    for operation, attempts in count_attempts(proxy).items():
        is_post = operation in ("CreateMultipartUpload", "CompleteMultipartUpload", "DeleteObjects")
        is_lost = fault in (Fault.RESET_IN_REQUEST, *WORK_IS_DONE)
        assert attempts <= ATTEMPTS * (2 if is_lost and not is_post else 1), operation


class TestFaultsThatPass:
    @any_fault
    async def test_one_at_each_request_of_an_upload_costs_nothing(
        self, s3_place: S3Place, storage: S3Storage, proxy: S3Proxy, fault: AnyFault
    ) -> None:
        proxy.plan = fail_first(fault)
        await asyncio.gather(
            storage.upload(CONTENT, "a.bin"), storage.upload(CONTENT, "b.bin", overwrite=False)
        )
        attempts = count_attempts(proxy)
        assert all(attempts[operation] == ATTEMPTS for operation in MULTIPART)
        proxy.plan = lambda _: None
        assert await read(storage, "a.bin") == CONTENT
        assert await read(storage, "b.bin") == CONTENT
        assert await s3_place.list_unfinished() == []

    @any_fault
    async def test_one_at_each_other_request_costs_nothing(
        self, storage: S3Storage, proxy: S3Proxy, fault: AnyFault
    ) -> None:
        for name in ("read", "copied", "listed/1", "listed/2", "deleted", "deleted too"):
            await storage.upload(SMALL, name)
        proxy.requests.clear()
        proxy.plan = fail_first(fault)
        _, _, size, _, names, _, failed = await asyncio.gather(
            storage.upload(SMALL, "uploaded"),
            storage.upload(SMALL, "created", overwrite=False),
            storage.get_size("read"),
            storage.copy("copied", "copy", overwrite=False),
            list_names(storage, "listed"),
            storage.delete("deleted"),
            storage.delete_many(["deleted too"]),
        )
        if fault is not Fault.RESET_IN_ANSWER:  # Of a file, that is one for its reader.
            assert await read(storage, "read") == SMALL
        assert min(count_attempts(proxy).values()) >= ATTEMPTS
        proxy.plan = lambda _: None
        assert (size, names, failed) == (len(SMALL), ["listed/1", "listed/2"], {})
        for name in ("uploaded", "created", "copy"):
            assert await read(storage, name) == SMALL
        for name in ("deleted", "deleted too"):
            assert not await storage.exists(name)

    @pytest.mark.parametrize("fault", [Fault.CUT_ANSWER, (200, "InternalError")], ids=str)
    async def test_answers_with_half_a_document_or_an_error_in_it(
        self, s3_place: S3Place, storage: S3Storage, proxy: S3Proxy, fault: AnyFault
    ) -> None:
        """S3 begins some answers before it knows how they end: a 200 may hold an error."""
        operations = {"CompleteMultipartUpload", "CopyObject"}
        if fault is Fault.CUT_ANSWER:
            operations |= {"CreateMultipartUpload", "ListObjectsV2"}
        plan = fail_first(fault)
        proxy.plan = lambda request: plan(request) if request.operation in operations else None
        await storage.upload(CONTENT, "a.bin")
        await storage.copy("a.bin", "b.bin")
        assert await list_names(storage, "") == ["a.bin", "b.bin"]
        assert all(count_attempts(proxy)[operation] == ATTEMPTS for operation in operations)
        assert await read(storage, "b.bin") == CONTENT
        assert await s3_place.list_unfinished() == []


class TestFaultsThatStay:
    @pytest.mark.parametrize("operation", ["PutObject", *MULTIPART])
    @any_fault
    async def test_an_upload_is_whole_or_changes_nothing(
        self,
        s3_place: S3Place,
        storage: S3Storage,
        proxy: S3Proxy,
        fault: AnyFault,
        operation: str,
    ) -> None:
        content = SMALL if operation == "PutObject" else CONTENT
        await storage.upload(OLD, "a.bin")
        proxy.requests.clear()

        def fail(request: S3Request) -> AnyFault | None:
            if request.operation != operation or "partNumber=2" in request.target:
                return None  # Of the parts, every second one arrives.
            return fault

        proxy.plan = fail
        with pytest.raises(BackendError):
            await asyncio.wait_for(storage.upload(content, "a.bin"), TIMEOUT_SECONDS)
        assert_attempts_are_bounded(proxy, fault)
        proxy.plan = lambda _: None
        is_stored = fault in WORK_IS_DONE and operation in ("PutObject", "CompleteMultipartUpload")
        assert await read(storage, "a.bin") == (content if is_stored else OLD)
        assert await s3_place.list_unfinished() == []
        await storage.upload(CONTENT, "a.bin")
        assert await read(storage, "a.bin") == CONTENT

    @any_fault
    async def test_other_calls_end_with_an_error(
        self, storage: S3Storage, proxy: S3Proxy, fault: AnyFault
    ) -> None:
        names = ("read", "known", "there", "copied", "moved", "deleted", "listed/1")
        for name in names:
            await storage.upload(SMALL, name)
        proxy.requests.clear()
        proxy.plan = lambda _: fault
        outcomes = await asyncio.wait_for(
            asyncio.gather(
                read(storage, "read"),
                storage.get_info("known"),
                storage.exists("there"),
                storage.copy("copied", "copy"),
                storage.move("moved", "target"),
                storage.delete("deleted"),
                list_names(storage, "listed"),
                return_exceptions=True,
            ),
            TIMEOUT_SECONDS,
        )
        assert [
            type(outcome) for outcome in outcomes if not isinstance(outcome, BackendError)
        ] == []
        (failed,) = (await storage.delete_many(["read"])).values()
        assert isinstance(failed, BackendError)
        assert_attempts_are_bounded(proxy, fault)
        proxy.plan = lambda _: None
        assert await read(storage, "moved") == SMALL
        assert await read(storage, "copied") == SMALL


class TestDownloads:
    @pytest.mark.parametrize(
        "fault", [Fault.CUT_ANSWER, Fault.RESET_IN_ANSWER, Fault.STALL_IN_ANSWER]
    )
    @pytest.mark.parametrize("byte_range", [None, ByteRange(1), ByteRange(suffix=900_000)], ids=str)
    async def test_what_was_cut_never_passes_for_complete(
        self, storage: S3Storage, proxy: S3Proxy, fault: Fault, byte_range: ByteRange | None
    ) -> None:
        content = CONTENT[:MIB]
        await storage.upload(content, "a.bin")
        proxy.plan = lambda _: fault
        received = 0
        with pytest.raises(BackendError):  # noqa: PT012 - It is raised by one of the steps.
            async with storage.open("a.bin", byte_range=byte_range) as reader:
                async for chunk in reader:
                    received += len(chunk)
        assert received < len(content) / 2 + 1024
        proxy.plan = lambda _: None
        assert await read(storage, "a.bin") == content


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_slow_link_costs_time_only(s3_place: S3Place, engine: str) -> None:
    content = CONTENT[: 8 * BLOCK]
    clock = asyncio.get_running_loop().time
    async with run_relay(s3_place.server.endpoint_url) as relay:
        options = {"endpoint_url": relay.endpoint_url, "engine": engine}
        impatient = {"read_timeout": READ_TIMEOUT, "retries": {"total_max_attempts": 1}}
        relay.bytes_per_second = BLOCK / (READ_TIMEOUT / 5)
        async with s3_place.make_storage(**options) as storage:
            # The kernel takes all of it at once: for the client, the server is silent then.
            await storage.upload(content, "a.bin")
        async with s3_place.make_storage(**options, client_config=impatient) as storage:
            start = clock()
            assert await read(storage, "a.bin") == content
            assert clock() - start > READ_TIMEOUT  # Which is for each silence, not for all.


class TestFlippedBits:
    """Changes on the way; those of what is stored are in ``tests/test_verification.py``."""

    @pytest.mark.parametrize("content", [b"12345", SMALL, CONTENT], ids=lambda c: str(len(c)))
    async def test_the_server_refuses_what_is_not_what_was_sent(
        self, s3_place: S3Place, proxy: S3Proxy, content: bytes
    ) -> None:
        options = {"endpoint_url": proxy.endpoint_url, "checksum_mode": "when_supported"}
        async with s3_place.make_storage(**options) as storage:
            await storage.upload(OLD, "a.bin")
            proxy.plan = lambda request: (
                Fault.FLIP_BIT_IN_REQUEST
                if request.operation in ("PutObject", "UploadPart")
                else None
            )
            with pytest.raises(BackendError, match="the bytes changed on their way"):
                await storage.upload(content, "a.bin")
            assert await read(storage, "a.bin") == OLD
            assert await s3_place.list_unfinished() == []

    async def test_a_reader_that_verifies_finds_it(
        self, storage: S3Storage, proxy: S3Proxy
    ) -> None:
        await storage.upload(SMALL, "a.bin")
        proxy.plan = lambda _: Fault.FLIP_BIT_IN_ANSWER
        assert await read(storage, "a.bin") != SMALL
        with pytest.raises(CorruptFileError):
            async with storage.open("a.bin", verify=True) as reader:
                await reader.read()
