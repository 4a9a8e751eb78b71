"""URLs for the client that asks, whatever stands between it and the app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from httpx import AsyncClient

from fastapi_async_storages import (
    MemoryStorage,
    S3Storage,
    Storage,
    StorageFile,
    Storages,
    create_files_router,
    file_url,
    public,
    signed_urls,
)
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.servers.http_server import serve
from tests.storages import make_storage

KEY = "a key of more than sixteen bytes"
NAME = "ordner/ü ?#%2F+.txt"


def make_app(storages: Storage | Storages, file: StorageFile, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storages))

    @app.get("/page")
    async def page(request: Request) -> str:
        return await file_url(request, file, **options)

    return app


@asynccontextmanager
async def open_page(app: FastAPI) -> AsyncIterator[tuple[AsyncClient, str]]:
    """Yield a client, and the URL that the page shows."""
    async with open_client(app) as client:
        answer = await client.get("/page")
        yield client, answer.json()


class TestInProcess:
    pytestmark = pytest.mark.anyio

    async def test_the_router_of_the_storage_is_found(self, storage: Storage) -> None:
        others = MemoryStorage()
        storages = Storages(others, avatars=storage)
        app = make_app(storages, StorageFile(storage, NAME))
        app.include_router(create_files_router(access=public), prefix="/files")
        app.include_router(
            create_files_router(access=public, storage="avatars", mode="proxy"), prefix="/avatars"
        )
        async with open_page(app) as (client, url):
            await storage.upload(b"text", NAME)

            assert url == "http://test/avatars/ordner/%C3%BC%20%3F%23%252F%2B.txt"
            assert (await client.get(url)).content == b"text"

    async def test_how_it_is_shown_goes_into_the_url(self) -> None:
        storage = MemoryStorage()
        file = StorageFile(storage, "file.txt")
        app = make_app(storage, file, filename="Ü.txt", disposition="attachment")
        app.include_router(create_files_router(access=public), prefix="/files")
        async with open_page(app) as (client, url):
            await storage.upload(b"text", "file.txt")

            answer = await client.get(url)

        assert answer.headers["content-disposition"] == (
            "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%9C.txt"
        )

    async def test_signed_links_are_signed_and_absolute(self) -> None:
        storage = MemoryStorage(base_url="/files", secret_key=KEY)
        app = make_app(storage, StorageFile(storage, NAME))
        app.include_router(create_files_router(access=signed_urls), prefix="/files")
        async with open_page(app) as (client, url):
            await storage.upload(b"text", NAME)

            assert url.startswith("http://test/files/ordner/%C3%BC%20%3F%23%252F%2B.txt?token=")
            assert (await client.get(url)).content == b"text"

    async def test_a_public_base_url_is_kept(self) -> None:
        storage = MemoryStorage(base_url="https://files.example.com/f", secret_key=KEY)
        app = make_app(storage, StorageFile(storage, "a.txt"))
        async with open_page(app) as (_, url):
            assert url.startswith("https://files.example.com/f/a.txt?token=")

    async def test_s3_is_linked_to_when_no_router_serves_it(
        self, request: pytest.FixtureRequest
    ) -> None:
        with make_storage("s3", lambda: request.getfixturevalue("s3_server")) as storage:
            assert isinstance(storage, S3Storage)
            app = make_app(storage, StorageFile(storage, "a.txt"))
            # Nobody could make a link for this router.
            app.include_router(create_files_router(access=signed_urls), prefix="/files")
            async with open_page(app) as (_, url):
                await storage.upload(b"text", "a.txt")
                async with AsyncClient() as outside:
                    assert (await outside.get(url)).content == b"text"

    async def test_without_router_and_base_url_the_error_says_what_to_do(self) -> None:
        storage = MemoryStorage()
        app = make_app(storage, StorageFile(storage, "a.txt"))
        with pytest.raises(ConfigurationError, match="base_url"):
            async with open_page(app):
                pass

    async def test_a_mounted_app_links_into_itself(self) -> None:
        storage = MemoryStorage()
        inner = make_app(storage, StorageFile(storage, "a.txt"))
        inner.include_router(create_files_router(access=public), prefix="/files")
        outer = FastAPI(lifespan=storage_lifespan(storage))
        outer.mount("/inner", inner)
        async with open_client(outer) as client:
            await storage.upload(b"text", "a.txt")
            url = (await client.get("/inner/page")).json()

            assert url == "http://test/inner/files/a.txt"
            assert (await client.get(url)).content == b"text"


@pytest.mark.parametrize("signed", [False, True])
def test_behind_a_proxy_the_clients_scheme_host_and_path_count(signed: bool) -> None:
    """The proxy takes TLS off and serves the app below ``/api``."""
    storage = MemoryStorage(base_url="/api/files", secret_key=KEY) if signed else MemoryStorage()
    app = make_app(storage, StorageFile(storage, "a.txt"))
    app.include_router(
        create_files_router(access=signed_urls if signed else public), prefix="/files"
    )
    headers = {"Host": "www.example.com", "X-Forwarded-Proto": "https"}
    with serve(app, root_path="/api", proxy_headers=True, forwarded_allow_ips="*") as base_url:
        url = httpx.get(f"{base_url}/page", headers=headers).json()
        direct = httpx.get(f"{base_url}/page").json()

    assert url.partition("?")[0] == "https://www.example.com/api/files/a.txt"
    assert direct.partition("?")[0] == f"{base_url}/api/files/a.txt"
    assert ("?token=" in url) is signed


def test_a_proxy_that_is_not_trusted_changes_nothing() -> None:
    storage = MemoryStorage()
    app = make_app(storage, StorageFile(storage, "a.txt"))
    app.include_router(create_files_router(access=public), prefix="/files")
    with serve(app, proxy_headers=True, forwarded_allow_ips="10.0.0.1") as base_url:
        url = httpx.get(f"{base_url}/page", headers={"X-Forwarded-Proto": "https"}).json()

    assert url == f"{base_url}/files/a.txt"
