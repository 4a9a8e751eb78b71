import json
import logging
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, Request, WebSocket
from httpx import ASGITransport, AsyncClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fastapi_async_storages import exceptions
from fastapi_async_storages.exceptions import (
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigurationError,
    FileTooLargeError,
    InvalidNameError,
    NotFoundError,
    NotModifiedError,
    RangeNotSatisfiableError,
    StorageError,
    UploadRefusedError,
)
from fastapi_async_storages.http.problems import (
    add_problem_handlers,
    get_status,
    problem_response,
    problem_responses,
)
from tests.servers.http_server import ServerName, serve

pytestmark = pytest.mark.anyio

SECRET_PLACE = "S3Storage('customer-files', endpoint_url='http://10.0.0.7:9000')"

# One line for each class: a new one fails until somebody has decided what HTTP says about it.
STATUSES = {
    "AccessDeniedError": 403,
    "AlreadyExistsError": 409,
    "BackendError": 502,
    "BackendTimeoutError": 503,
    "BackendUnavailableError": 503,
    "ChecksumMismatchError": 422,
    "ChecksumUnknownError": 500,
    "ConfigurationError": 500,
    "CorruptFileError": 502,
    "ExtensionNotAllowedError": 415,
    "FileTooLargeError": 413,
    "FileTooSmallError": 422,
    "FilenameRefusedError": 422,
    "FormTooLargeError": 413,
    "ImageAspectError": 422,
    "ImageTooLargeError": 422,
    "ImageTooSmallError": 422,
    "IncompleteReadError": 502,
    "InvalidImageError": 422,
    "InvalidMetadataError": 422,
    "InvalidNameError": 422,
    "InvalidSignatureError": 403,
    "LinkExpiredError": 410,
    "MalformedBodyError": 400,
    "MalwareFoundError": 422,
    "MissingDependencyError": 500,
    "NotFoundError": 404,
    "NotModifiedError": 304,
    "NotStoredError": 500,
    "PermissionDeniedError": 502,
    "PolyglotError": 415,
    "PreconditionFailedError": 412,
    "RangeNotSatisfiableError": 416,
    "ScanLimitError": 413,
    "StorageClosedError": 500,
    "StorageError": 500,
    "TypeMismatchError": 415,
    "TypeNotAllowedError": 415,
    "UnreadableImageError": 422,
    "UploadInterruptedError": 400,
    "UploadRefusedError": 422,
    "UploadStalledError": 408,
}


def make_app(make_error: Callable[[], StorageError]) -> FastAPI:
    app = FastAPI()
    add_problem_handlers(app)

    @app.api_route("/", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
    async def fail() -> None:
        raise make_error()

    return app


async def ask(error: StorageError, method: str = "POST") -> Any:
    transport = ASGITransport(make_app(lambda: error))
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, "/")


@pytest.mark.parametrize("name", exceptions.__all__)
async def test_each_error_has_its_status(name: str, caplog: pytest.LogCaptureFixture) -> None:
    error = getattr(exceptions, name)(
        f"There is no 'secret/plan.txt' in {SECRET_PLACE}.",
        storage=SECRET_PLACE,
        name="secret/plan.txt",
    )
    response = await ask(error)
    assert response.status_code == STATUSES[name] == get_status(error, method="POST")
    if response.status_code == 304:
        return
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert {"type", "title", "detail"} <= set(problem)
    assert "customer-files" not in response.text
    assert "10.0.0.7" not in response.text
    is_ours = response.status_code >= 500
    assert (problem["type"] == "about:blank") is is_ours
    assert bool(caplog.records) is is_ours
    if is_ours:
        assert "secret" not in response.text
        assert "customer-files" in caplog.text


async def test_what_the_client_sent_is_named_with_limit_and_value() -> None:
    error = FileTooLargeError("'a.bin' has 11 bytes, at most 10.", limit=10, received=11)
    assert (await ask(error)).json() == {
        "type": "urn:problem-type:fastapi-async-storages:file-too-large",
        "title": "File too large",
        "status": 413,
        "detail": "'a.bin' has 11 bytes, at most 10.",
        "limit": 10,
        "received": 11,
    }


async def test_errors_of_an_app_are_answered_as_the_class_that_they_extend() -> None:
    class NoTableOfContentsError(UploadRefusedError):
        pass

    error = NoTableOfContentsError("No table of contents.", limit=datetime(2026, 1, 1, tzinfo=UTC))
    response = await ask(error)
    assert response.status_code == 422
    assert response.json()["limit"].startswith("2026-01-01")


@pytest.mark.parametrize(
    "method,status", [("GET", 404), ("HEAD", 404), ("POST", 422), ("PUT", 422), ("DELETE", 422)]
)
async def test_a_name_that_no_file_can_have(method: str, status: int) -> None:
    assert (await ask(InvalidNameError("Invalid file name '../x'."), method)).status_code == status


async def test_head_gets_the_headers_of_a_get_and_no_body() -> None:
    error = NotFoundError("There is no 'x'.")
    got, headed = await ask(error, "GET"), await ask(error, "HEAD")
    assert got.content
    assert headed.content == b""
    assert headed.headers == got.headers


@pytest.mark.parametrize("cls", [BackendUnavailableError, BackendTimeoutError])
async def test_a_backend_that_is_down_says_when_to_come_back(cls: type[StorageError]) -> None:
    assert int((await ask(cls("down"))).headers["retry-after"]) > 0


async def test_a_range_that_does_not_exist_tells_the_size() -> None:
    response = await ask(RangeNotSatisfiableError("no", size=5), "GET")
    assert response.headers["content-range"] == "bytes */5"
    assert "content-range" not in (await ask(RangeNotSatisfiableError("no"), "GET")).headers


async def test_not_modified_has_no_body_but_the_version() -> None:
    error = NotModifiedError("same", etag='"abc"', last_modified=datetime(2026, 1, 2, tzinfo=UTC))
    response = await ask(error, "GET")
    assert response.status_code == 304
    assert response.content == b""
    assert response.headers["etag"] == '"abc"'
    assert response.headers["last-modified"] == "Fri, 02 Jan 2026 00:00:00 GMT"
    assert "content-type" not in response.headers


def test_5xx_are_logged_with_their_stack(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise BackendUnavailableError("The server is down.")
    except BackendUnavailableError as error:
        problem_response(error)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("fastapi_async_storages", logging.ERROR)
    assert "test_problems.py" in caplog.text


async def test_another_error_stays_what_it_was() -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise LookupError("mine")

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        with pytest.raises(LookupError):
            await client.get("/")


async def test_handlers_that_come_too_late_are_told_to_the_developer() -> None:
    app = FastAPI()
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        await client.get("/")

    with pytest.raises(ConfigurationError, match="where the app is made"):
        add_problem_handlers(app)


async def test_openapi_shows_the_problems_of_a_route() -> None:
    app = FastAPI()

    @app.post("/", responses=problem_responses(413, 415, 422))
    async def create(request: Request, count: int) -> None: ...

    responses = app.openapi()["paths"]["/"]["post"]["responses"]
    assert responses["413"]["description"] == "Content Too Large"
    schema = responses["413"]["content"]["application/problem+json"]["schema"]
    assert schema["required"] == ["type", "title", "status"]
    assert set(responses["422"]["content"]) == {"application/problem+json", "application/json"}


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize(
    "error,code",
    [(NotFoundError("no 'x'"), 1008), (BackendUnavailableError("down"), 1011)],
    ids=["4xx", "5xx"],
)
async def test_a_websocket_is_closed(accepted: bool, error: StorageError, code: int) -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.websocket("/")
    async def talk(websocket: WebSocket) -> None:
        if accepted:
            await websocket.accept()
        raise error

    with serve(app) as url:
        address = url.replace("http", "ws", 1)
        if not accepted:
            with pytest.raises(Exception, match="HTTP 403"):
                await connect(address)
            return
        async with connect(address) as websocket:
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == code


async def test_a_websocket_that_is_closed_already_is_left_alone() -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.websocket("/")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(4000, "enough")
        raise NotFoundError("no 'x'")

    with serve(app) as url:
        async with connect(url.replace("http", "ws", 1)) as websocket:
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4000


# Hypercorn closes such a connection by itself; there is nothing that an app can do about it.
@pytest.mark.parametrize("server", ["uvicorn-h11", "uvicorn-httptools"])
def test_the_answer_to_a_cut_off_upload_arrives_and_the_connection_lives_on(
    server: ServerName,
) -> None:
    """A close would reset the connection while the client still sends, and lose the answer."""
    app = make_app(lambda: FileTooLargeError("too large", limit=10, received=11))
    size = 8 * 1024 * 1024
    head = f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode()
    with serve(app, server=server) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=20) as client:
            answers = client.makefile("rb")
            for _ in range(2):
                client.sendall(head)
                client.sendall(bytes(size))
                status, body = read_answer(answers)
                assert status == 413
                assert json.loads(body)["limit"] == 10


def read_answer(file: Any) -> tuple[int, bytes]:
    status = int(file.readline().split()[1])
    headers = b"".join(iter(file.readline, b"\r\n"))
    length = re.search(rb"content-length: (\d+)", headers, re.IGNORECASE)
    assert length
    return status, file.read(int(length[1]))
