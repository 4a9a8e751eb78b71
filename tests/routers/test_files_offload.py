"""Files that another server sends: nginx in front of the app, or the ASGI server itself."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
from fastapi import FastAPI

from fastapi_async_storages import (
    LocalStorage,
    MemoryStorage,
    Storage,
    XAccelRedirect,
    XSendfile,
    create_files_router,
    public,
)
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.servers.http_server import free_port, serve, wait_for_port
from tests.servers.lighttpd import find_lighttpd, run_lighttpd
from tests.servers.nginx import find_nginx, run_nginx

CONTENT = os.urandom(300_000)
NAME = "ordner/żółć %41 %2F+?#;'\".bin"


def make_app(storage: Storage, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, **options), prefix="/files")
    return app


@dataclass(frozen=True)
class Front:
    """nginx in front of an app that serves a storage."""

    url: str
    storage: LocalStorage


@pytest.fixture(scope="module")
def nginx() -> str:
    program = find_nginx()
    if program is None:
        if "CI" in os.environ:
            pytest.fail("nginx is not installed: apt-get install nginx-light")
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    return program


@pytest.fixture(scope="module")
def served_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a LocalStorage that has what the servers in front send."""
    root = tmp_path_factory.mktemp("files")
    storage = LocalStorage(root)

    async def fill() -> None:
        async with storage:
            await storage.upload(CONTENT, NAME, cache_control="max-age=60")
            await storage.upload(b"<script>", "page.html", content_type="text/html")
            await storage.upload(b"text", "file.txt", metadata={"filename": "Ü.txt"})
            await storage.upload(b"", "empty.txt")

    asyncio.run(fill())
    return root


@pytest.fixture(scope="module")
def front(
    nginx: str, served_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    storage = LocalStorage(served_root)
    with serve(make_app(storage, offload=XAccelRedirect("/protected"))) as app_url:
        locations = f"""
            location / {{
                proxy_pass {app_url};
            }}
            location /protected/ {{
                internal;
                alias {served_root}/;
                add_header X-Content-Type-Options $upstream_http_x_content_type_options;
                add_header Content-Security-Policy $upstream_http_content_security_policy;
            }}
        """
        with run_nginx(nginx, tmp_path_factory.mktemp("nginx"), locations) as url:
            yield Front(url, storage)


class TestNginx:
    """``X-Accel-Redirect``."""

    def test_nginx_sends_the_bytes(self, front: Front) -> None:
        answer = httpx.get(f"{front.url}/files/{quote(NAME)}")

        assert answer.content == CONTENT
        assert answer.headers["server"].startswith("nginx")
        assert "x-accel-redirect" not in answer.headers
        assert answer.headers["content-length"] == str(len(CONTENT))

    def test_nginx_answers_ranges_and_conditions(self, front: Front) -> None:
        url = f"{front.url}/files/{quote(NAME)}"
        whole = httpx.head(url)
        etag = whole.headers["etag"]

        part = httpx.get(url, headers={"Range": "bytes=1000-1999", "If-Range": etag})
        assert part.status_code == 206
        assert part.content == CONTENT[1000:2000]
        assert part.headers["content-range"] == f"bytes 1000-1999/{len(CONTENT)}"
        assert httpx.get(url, headers={"If-None-Match": etag}).status_code == 304
        assert httpx.get(url, headers={"If-Match": '"other"'}).status_code == 412
        assert httpx.get(url, headers={"Range": "bytes=300000-"}).status_code == 416
        assert whole.headers["content-length"] == str(len(CONTENT))

    def test_the_app_says_how_a_file_is_shown(self, front: Front) -> None:
        shown = httpx.get(f"{front.url}/files/file.txt")
        html = httpx.get(f"{front.url}/files/page.html?download=0")

        assert shown.headers["content-type"] == "text/plain"
        assert shown.headers["content-disposition"] == (
            "inline; filename=\"_.txt\"; filename*=UTF-8''%C3%9C.txt"
        )
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert shown.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert html.headers["content-type"] == "application/octet-stream"
        assert html.headers["content-disposition"].startswith("attachment")

    def test_the_app_says_who_may_keep_it(self, front: Front) -> None:
        answer = httpx.get(f"{front.url}/files/{quote(NAME)}")

        assert answer.headers["cache-control"] == "max-age=60"

    def test_an_empty_file_is_empty(self, front: Front) -> None:
        answer = httpx.get(f"{front.url}/files/empty.txt")

        assert answer.status_code == 200
        assert answer.content == b""

    @pytest.mark.parametrize(
        "path",
        [
            "/protected/file.txt",
            "/files/nothing.txt",
            "/files/..%2f..%2fetc/passwd",
            "/files/.fastapi-async-storages/file.txt",
            "/files/ordner",
        ],
    )
    def test_nothing_else_is_reached(self, front: Front, path: str) -> None:
        # nginx itself refuses with 400 what climbs out of its root.
        assert httpx.get(f"{front.url}{path}").status_code in (400, 404)


@pytest.fixture(scope="module")
def lighttpd_url(served_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = find_lighttpd()
    if program is None:
        if "CI" in os.environ:
            pytest.fail("lighttpd is not installed: apt-get install lighttpd")
        pytest.skip("lighttpd is not installed: apt-get install lighttpd")
    storage = LocalStorage(served_root)
    directory = tmp_path_factory.mktemp("lighttpd")
    with (
        serve(make_app(storage, offload=XSendfile())) as app_url,
        run_lighttpd(program, directory, app_url, served_root) as url,
    ):
        yield url


class TestLighttpd:
    """``X-Sendfile``."""

    def test_lighttpd_sends_the_bytes(self, lighttpd_url: str) -> None:
        answer = httpx.get(f"{lighttpd_url}/files/{quote(NAME)}")

        assert answer.content == CONTENT
        assert "x-sendfile" not in answer.headers
        assert answer.headers["content-length"] == str(len(CONTENT))
        assert answer.headers["cache-control"] == "max-age=60"

    def test_lighttpd_answers_ranges_and_conditions(self, lighttpd_url: str) -> None:
        url = f"{lighttpd_url}/files/{quote(NAME)}"
        etag = httpx.head(url).headers["etag"]

        part = httpx.get(url, headers={"Range": "bytes=1000-1999"})
        assert part.status_code == 206
        assert part.content == CONTENT[1000:2000]
        assert part.headers["content-range"] == f"bytes 1000-1999/{len(CONTENT)}"
        assert httpx.get(url, headers={"If-None-Match": etag}).status_code == 304

    def test_the_app_says_how_a_file_is_shown(self, lighttpd_url: str) -> None:
        shown = httpx.get(f"{lighttpd_url}/files/file.txt")
        html = httpx.get(f"{lighttpd_url}/files/page.html?download=0")

        assert shown.headers["content-type"] == "text/plain"
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert shown.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert html.headers["content-type"] == "application/octet-stream"
        assert html.headers["content-disposition"].startswith("attachment")

    def test_a_missing_file_is_said_by_the_app(self, lighttpd_url: str) -> None:
        answer = httpx.get(f"{lighttpd_url}/files/nothing.txt")

        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


class TestHeaders:
    """What the app hands to the server in front."""

    pytestmark = pytest.mark.anyio

    async def test_x_sendfile_names_the_path(self, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path)
        async with open_client(make_app(storage, offload=XSendfile())) as client:
            await storage.upload(b"text", NAME)

            answer = await client.get(f"/files/{quote(NAME)}")

        assert answer.headers["x-sendfile"] == f"{tmp_path}/{quote(NAME)}"
        assert answer.content == b""
        assert answer.headers["content-length"] == "0"
        assert "etag" not in answer.headers

    async def test_a_storage_elsewhere_has_nothing_to_hand_over(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = MemoryStorage()
        async with open_client(make_app(storage, offload=XSendfile())) as client:
            answer = await client.get("/files/file.txt")

        assert answer.status_code == 500
        assert "without offload" in caplog.text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a LocalStorage that has the file."""
    storage = LocalStorage(tmp_path / "files")

    async def fill() -> None:
        async with storage:
            await storage.upload(CONTENT, NAME)

    asyncio.run(fill())
    return tmp_path / "files"


class TestPathSend:
    """The ASGI extension ``http.response.pathsend``: the server sends the file from disk."""

    @pytest.mark.anyio
    async def test_a_server_that_offers_it_gets_a_path(self, root: Path) -> None:
        app = make_app(LocalStorage(root))
        whole = await call(app, {})
        part = await call(app, {"Range": "bytes=0-9"})
        head = await call(app, {}, method="HEAD")
        etag = dict(whole[0]["headers"])[b"etag"].decode()
        same = await call(app, {"If-None-Match": etag})

        assert dict(whole[0]["headers"])[b"content-length"] == str(len(CONTENT)).encode()
        path = str(root / NAME)
        assert whole[1:] == [{"type": "http.response.pathsend", "path": path}]
        assert (
            b"".join(message["body"] for message in part[1:] if "body" in message) == (CONTENT[:10])
        )
        assert head[1:] == [{"type": "http.response.body"}]
        assert same[0]["status"] == 304

    def test_granian_sends_it(self, root: Path) -> None:
        with serve_with_granian(root) as url:
            answer = httpx.get(f"{url}/files/{quote(NAME)}")
            part = httpx.get(f"{url}/files/{quote(NAME)}", headers={"Range": "bytes=5-9"})

        assert answer.content == CONTENT
        assert answer.headers["content-length"] == str(len(CONTENT))
        assert part.content == CONTENT[5:10]


async def call(
    app: FastAPI, headers: dict[str, str], *, method: str = "GET"
) -> list[MutableMapping[str, Any]]:
    """Call an app as a server that offers path send would, and return what it sends."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app) as state:
        await app(
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": method,
                "scheme": "http",
                "path": f"/files/{NAME}",
                "raw_path": b"",
                "query_string": b"",
                "root_path": "",
                "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
                "server": ("test", 80),
                "client": ("test", 1),
                "extensions": {"http.response.pathsend": {}},
                "state": dict(state or {}),
            },
            receive,
            send,
        )
    return sent


def make_granian_app() -> FastAPI:
    """Make the app of the other process."""
    return make_app(LocalStorage(os.environ["FILES_ROOT"]))


@contextmanager
def serve_with_granian(root: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory"]
    process = subprocess.Popen(
        [*command, "--host=127.0.0.1", f"--port={port}", f"{__name__}:make_granian_app"],
        env={**os.environ, "FILES_ROOT": str(root)},
    )
    try:
        wait_for_port(port, lambda: process.poll() is None)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
