"""What goes wrong with S3 comes as an error of our tree that names the storage, and no secret."""

import asyncio
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest

from fastapi_async_storages import S3Storage
from fastapi_async_storages.exceptions import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigurationError,
    IncompleteReadError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
)
from tests.backends.conftest import ENGINES, MakeS3Storage
from tests.servers.s3 import S3Server
from tests.servers.s3_proxy import Fault, S3Proxy
from tests.servers.tcp import run_fixed_server

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# No retries, and as little waiting as a busy machine allows.
IMPATIENT: dict[str, Any] = {
    "connect_timeout": 1,
    "read_timeout": 0.3,
    "retries": {"total_max_attempts": 1},
}

Call: TypeAlias = Callable[[S3Storage], Awaitable[object]]


async def read(storage: S3Storage) -> bytes:
    async with storage.open("a.txt") as reader:
        return await reader.read()


async def list_names(storage: S3Storage) -> list[str]:
    return [info.name async for info in storage.list()]


async def delete_many(storage: S3Storage) -> None:
    for error in (await storage.delete_many(["a.txt"])).values():
        raise error


CALLS: dict[str, Call] = {
    "check": lambda storage: storage.check(),
    "upload": lambda storage: storage.upload(b"1", "a.txt"),
    "upload in parts": lambda storage: storage.upload(bytes(9 * 1024**2), "a.txt"),
    "create": lambda storage: storage.upload(b"1", "a.txt", overwrite=False),
    "open": read,
    "get_info": lambda storage: storage.get_info("a.txt"),
    "exists": lambda storage: storage.exists("a.txt"),
    "list": list_names,
    "copy": lambda storage: storage.copy("a.txt", "b.txt"),
    "delete": lambda storage: storage.delete("a.txt"),
    "delete_many": delete_many,
}

all_calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@contextmanager
def safe_error(kind: type[StorageError], *secrets: str, match: str | None = None) -> Iterator[None]:
    """Expect an error of exactly this class that names the storage, and shows no secret."""
    with pytest.raises(StorageError, match=match) as caught:
        yield
    error = caught.value
    assert type(error) is kind
    assert error.storage is not None
    assert error.storage in str(error)
    shown = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link!s} {link!r} {vars(link)}"
        link = link.__cause__
    for secret in (*secrets, "Signature=", "AWS4-HMAC"):
        assert secret not in shown


@all_calls
async def test_a_wrong_secret(make_s3_storage: MakeS3Storage, call: Call) -> None:
    async with make_s3_storage(aws_secret_access_key="my-wrong-secret") as storage:
        with safe_error(PermissionDeniedError, "my-wrong-secret"):
            await call(storage)


@all_calls
async def test_an_unknown_access_key(make_s3_storage: MakeS3Storage, call: Call) -> None:
    async with make_s3_storage(aws_access_key_id="unknown-key") as storage:
        with safe_error(PermissionDeniedError, "unknown-key"):
            await call(storage)


@all_calls
async def test_a_missing_bucket(
    make_s3_storage: MakeS3Storage, s3_server: S3Server, call: Call
) -> None:
    async with make_s3_storage("no-such-bucket") as storage:
        with safe_error(ConfigurationError, s3_server.secret_key):
            await call(storage)


async def test_check_says_what_to_do(make_s3_storage: MakeS3Storage) -> None:
    async with make_s3_storage("no-such-bucket") as storage:
        with pytest.raises(ConfigurationError, match=r"'no-such-bucket'.*no such bucket"):
            await storage.check()
    async with make_s3_storage(aws_secret_access_key="wrong") as storage:
        with pytest.raises(PermissionDeniedError, match="secret access key is wrong"):
            await storage.check()


async def test_no_credentials(
    make_s3_storage: MakeS3Storage, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_s3_storage(aws_access_key_id=None, aws_secret_access_key=None)
    with safe_error(ConfigurationError, match="no credentials"):
        await storage.get_path("a.txt")
    with safe_error(ConfigurationError, match="no credentials"):
        async with storage:
            pass
    # They may come late: a cloud hands them out over the network.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    await storage.check()
    await storage.aclose()


@all_calls
async def test_a_server_that_is_down(make_s3_storage: MakeS3Storage, call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    options = {"endpoint_url": address, "use_ssl": False, "client_config": IMPATIENT}
    async with make_s3_storage(**options) as storage:
        with safe_error(BackendUnavailableError, match=address):
            await call(storage)


@all_calls
async def test_a_server_that_never_answers(make_s3_storage: MakeS3Storage, call: Call) -> None:
    async with (
        run_fixed_server(None) as url,
        make_s3_storage(endpoint_url=url, client_config=IMPATIENT) as storage,
    ):
        with safe_error(BackendTimeoutError):
            await asyncio.wait_for(call(storage), 20)


async def test_a_server_that_takes_no_connection(make_s3_storage: MakeS3Storage) -> None:
    # Linux drops the packets of further connections when the queue of a listener is full.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            options = {
                "endpoint_url": f"http://127.0.0.1:{address[1]}",
                "client_config": {**IMPATIENT, "connect_timeout": 0.3},
            }
            async with make_s3_storage(**options) as storage:
                with safe_error(BackendTimeoutError):
                    await asyncio.wait_for(storage.check(), 20)
        finally:
            for filler in fillers:
                filler.close()


async def test_a_server_without_tls(make_s3_storage: MakeS3Storage, s3_server: S3Server) -> None:
    address = s3_server.endpoint_url.partition("://")[2]
    async with make_s3_storage(endpoint_url=address, client_config=IMPATIENT) as storage:
        with safe_error(BackendUnavailableError):
            await storage.check()


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n<html"],
)
async def test_something_else_than_an_answer(make_s3_storage: MakeS3Storage, answer: bytes) -> None:
    async with (
        run_fixed_server(answer) as url,
        make_s3_storage(endpoint_url=url, client_config=IMPATIENT) as storage,
    ):
        with safe_error(BackendUnavailableError):
            await storage.check()


@pytest.mark.parametrize("call", ["check", "upload in parts"])
async def test_another_server_than_s3(make_s3_storage: MakeS3Storage, call: str) -> None:
    page = b"<html><p>Welcome to the router</html>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    async with (
        run_fixed_server(answer) as url,
        make_s3_storage(endpoint_url=url, client_config=IMPATIENT) as storage,
    ):
        with safe_error(BackendError):
            await CALLS[call](storage)


async def test_a_proxy_that_drops_the_length(make_s3_storage: MakeS3Storage) -> None:
    async with (
        run_fixed_server(b"HTTP/1.1 200 OK\r\nETag: W/1\r\n\r\n") as url,
        make_s3_storage(endpoint_url=url, client_config=IMPATIENT) as storage,
    ):
        with safe_error(BackendError):
            await storage.get_info("a.txt")


@pytest.mark.parametrize(
    "status, code, kind, requests",
    [
        (400, "AuthorizationHeaderMalformed", ConfigurationError, None),
        (400, "IllegalLocationConstraintException", ConfigurationError, None),
        (400, "ExpiredToken", PermissionDeniedError, 1),
        (400, "RequestTimeout", BackendTimeoutError, None),
        (400, "", BackendError, 1),
        (403, "", PermissionDeniedError, 1),
        (403, "RequestTimeTooSkewed", PermissionDeniedError, 1),
        (403, "InvalidObjectState", BackendError, 1),
        (404, "NoSuchKey", NotFoundError, 1),
        (404, "NoSuchUpload", BackendError, 1),
        (418, "Teapot", BackendError, 1),
        (429, "", BackendUnavailableError, None),
        (500, "InternalError", BackendError, 3),
        (501, "NotImplemented", BackendError, None),
        (502, "", BackendUnavailableError, 3),
        (503, "SlowDown", BackendUnavailableError, 3),
        (504, "", BackendTimeoutError, 3),
    ],
)
async def test_error_answers(
    make_s3_storage: MakeS3Storage,
    s3_proxy: S3Proxy,
    s3_server: S3Server,
    status: int,
    code: str,
    kind: type[StorageError],
    requests: int | None,
) -> None:
    s3_proxy.plan = lambda _: (status, code)
    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        with safe_error(kind, s3_server.secret_key):
            await read(storage)
    assert len(s3_proxy.requests) in ((1, 2, 3) if requests is None else (requests,))


class TestBodies:
    @pytest.fixture
    async def storage(
        self, make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy
    ) -> AsyncIterator[S3Storage]:
        options = {"endpoint_url": s3_proxy.endpoint_url, "client_config": {"read_timeout": 0.5}}
        async with make_s3_storage(**options) as storage:
            await storage.upload(bytes(2 * 1024**2), "a.txt")
            yield storage

    async def test_a_body_that_is_cut_raises(self, storage: S3Storage, s3_proxy: S3Proxy) -> None:
        s3_proxy.plan = lambda _: Fault.CUT_ANSWER
        received = 0

        async def iterate() -> None:
            nonlocal received
            async with storage.open("a.txt") as reader:
                assert reader.info.size == 2 * 1024**2
                async for chunk in reader:
                    received += len(chunk)

        with safe_error(IncompleteReadError):
            await iterate()
        # aiobotocore gives up in the middle; obstore asks for the rest, twice.
        assert 0 < received < 2 * 1024**2
        with safe_error(IncompleteReadError):
            await read(storage)
        s3_proxy.plan = lambda _: None
        assert len(await read(storage)) == 2 * 1024**2

    async def test_a_body_that_stalls_raises(self, storage: S3Storage, s3_proxy: S3Proxy) -> None:
        s3_proxy.plan = lambda _: Fault.STALL_IN_ANSWER
        with safe_error(BackendTimeoutError):
            await asyncio.wait_for(read(storage), 20)


async def test_the_failure_of_a_clean_up_is_logged_and_hides_nothing(
    make_s3_storage: MakeS3Storage, s3_proxy: S3Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    s3_proxy.plan = lambda r: (403, "AccessDenied") if r.method == "DELETE" else None

    async def failing() -> AsyncIterator[bytes]:
        yield bytes(9 * 1024**2)
        raise ZeroDivisionError

    async with make_s3_storage(endpoint_url=s3_proxy.endpoint_url) as storage:
        with caplog.at_level(logging.WARNING), pytest.raises(ZeroDivisionError):
            await storage.upload(failing(), "a.txt")
    (record,) = caplog.records
    assert "may be left" in record.getMessage()
    assert "'a.txt' in S3Storage" in record.getMessage()
