"""Files over real HTTP: each server, each backend, and a client that is not ours."""

import asyncio
import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from hypothesis import given, settings

from fastapi_async_storages import FileInfo, MemoryStorage, Storage, create_files_router, public
from fastapi_async_storages.clients import CLEAN_UP_SECONDS
from fastapi_async_storages.lifespan import storage_lifespan
from tests.http_model import DrawnRequest, expect, requests
from tests.servers.http_server import SERVERS, ServerName, serve
from tests.storages import BACKENDS, make_storage

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several chunks of every backend, or one full one.

REQUESTS = [
    DrawnRequest(),
    DrawnRequest(if_none_match=("current",)),
    DrawnRequest(range=(0, 0)),
    DrawnRequest(if_match=("other",)),
    DrawnRequest(range=(len(CONTENT) - 1, None)),
    DrawnRequest(range=(1000, 700_000), if_range="current"),
    DrawnRequest(range=(1000, 2000), if_range="other"),
    DrawnRequest(if_modified_since=0),
    DrawnRequest(if_match=("other", "junk"), if_modified_since=0),
    DrawnRequest(if_match=("other", "other"), if_none_match=("current",)),
    DrawnRequest(if_match=("other", "current"), if_none_match=("current", "other")),
    DrawnRequest(if_match=("*",), if_modified_since=0),
    DrawnRequest(range=(None, 300_000)),
    DrawnRequest(range=(None, 0)),
    DrawnRequest(range=(len(CONTENT), None)),
    DrawnRequest(range="bytes=0-1,5-6"),
    DrawnRequest(range=(5, 20), if_range=0),
    DrawnRequest(range=(5, 20), if_none_match=("weak",)),
    DrawnRequest(),
]


@pytest.fixture(scope="module", params=BACKENDS)
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    with make_storage(request.param, lambda: request.getfixturevalue("s3_server")) as storage:
        yield storage


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> ServerName:
    name: ServerName = request.param
    return name


@pytest.fixture(scope="module")
def base_url(storage: Storage, server: ServerName) -> Iterator[str]:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")

    async def fill() -> None:
        async with storage:
            await storage.upload(CONTENT, "folder/file.bin")
            await storage.upload(b"", "empty.txt")

    asyncio.run(fill())
    with serve(app, server=server) as url:
        yield url


@pytest.fixture(scope="module")
def connection(base_url: str) -> Iterator[http.client.HTTPConnection]:
    """One connection: a body of another length than announced would spoil the next answer."""
    with closing(http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)) as connection:
        yield connection


@pytest.fixture(scope="module")
def info(storage: Storage, base_url: str) -> FileInfo:
    del base_url  # It stores the file.
    return asyncio.run(storage.get_info("folder/file.bin"))


def check_answers(
    connection: http.client.HTTPConnection, info: FileInfo, request: DrawnRequest
) -> None:
    assert info.etag is not None
    assert info.last_modified is not None
    headers = request.to_headers(info.etag, info.last_modified)
    for method in ("GET", "HEAD"):
        connection.request(method, "/files/folder/file.bin", headers=headers)
        answer = connection.getresponse()
        body = answer.read()

        expected = expect(request, CONTENT, is_get=method == "GET")
        assert answer.status == expected.status, (method, headers)
        assert answer.getheader("content-range") == expected.content_range
        if method == "HEAD":
            assert body == b""
        elif expected.status < 300:
            assert body == expected.body
        if expected.status < 300:
            assert answer.getheader("content-length") == str(len(expected.body))
            assert answer.getheader("accept-ranges") == "bytes"


def test_each_kind_of_request_is_answered_byte_for_byte(
    connection: http.client.HTTPConnection, info: FileInfo
) -> None:
    for request in REQUESTS:
        check_answers(connection, info, request)


@given(drawn=requests(len(CONTENT)))
@settings(max_examples=40)
def test_any_request_is_answered_byte_for_byte(
    connection: http.client.HTTPConnection, info: FileInfo, drawn: DrawnRequest
) -> None:
    check_answers(connection, info, drawn)


def test_an_empty_file_is_whole_and_has_no_range(base_url: str) -> None:
    with closing(http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=30)) as connection:
        for headers, status in (({}, 200), ({"Range": "bytes=0-"}, 416), ({"Range": "x"}, 200)):
            connection.request("GET", "/files/empty.txt", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == status
            if status == 200:
                assert body == b""
                assert answer.getheader("content-length") == "0"
            else:
                assert answer.getheader("content-range") == "bytes */0"


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_is_idle_stops_at_once(name: ServerName) -> None:
    storage = MemoryStorage()
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public), prefix="/files")
    with serve(app, server=name) as url:
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
            connection.request("GET", "/files/file.bin")
            assert connection.getresponse().status == 404
        asked = time.monotonic()

    assert time.monotonic() - asked < CLEAN_UP_SECONDS / 2


@pytest.fixture(scope="module")
def curl() -> str:
    program = shutil.which("curl")
    if program is None:
        if "CI" in os.environ:
            pytest.fail("curl is not installed: apt-get install curl")
        pytest.skip("curl is not installed: apt-get install curl")
    return program


@pytest.mark.parametrize("present", [0, 1, 500_000, len(CONTENT) - 1])
def test_curl_resumes_a_download(base_url: str, tmp_path: Path, curl: str, present: int) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT[:present])
    url = f"{base_url}/files/folder/file.bin"

    subprocess.run(
        [curl, "-sS", "--fail", "-C", "-", "-D", tmp_path / "headers", "-o", target, url],
        check=True,
        timeout=60,
    )

    assert target.read_bytes() == CONTENT
    headers = (tmp_path / "headers").read_text().lower()
    if present:
        assert "206" in headers.splitlines()[0]
        assert f"content-range: bytes {present}-{len(CONTENT) - 1}/{len(CONTENT)}" in headers


def test_curl_has_nothing_to_do_for_a_whole_file(base_url: str, tmp_path: Path, curl: str) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT)
    url = f"{base_url}/files/folder/file.bin"

    result = subprocess.run(
        [curl, "-sS", "-C", "-", "-o", target, "-w", "%{http_code}", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.stdout == "416"
    assert target.read_bytes() == CONTENT
