"""Redirects to the storage: who makes them, how long they live, and what they lead to."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from fastapi_async_storages import MemoryStorage, S3Storage, Storage, create_files_router, public
from fastapi_async_storages.http import redirects
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.storages import make_storage

pytestmark = pytest.mark.anyio


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> Iterator[Storage]:
    with make_storage("s3", lambda: request.getfixturevalue("s3_server")) as storage:
        yield storage


@asynccontextmanager
async def serve(storage: Storage, **options: Any) -> AsyncIterator[AsyncClient]:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, **options), prefix="/files")
    async with open_client(app) as client:
        yield client


async def fetch(url: str) -> httpx.Response:
    """Follow a redirect, as a browser does: without the app."""
    async with AsyncClient() as client:
        return await client.get(url)


def get_lifetime(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0])


def get_max_age(cache_control: str) -> int:
    privacy, _, age = cache_control.partition(", max-age=")
    assert privacy == "private"
    return int(age)


async def test_auto_redirects_where_the_storage_presigns(storage: Storage) -> None:
    async with serve(storage, mode="auto") as client:
        await storage.upload(b"text", "file.txt")

        answer = await client.get("/files/file.txt")

    if isinstance(storage, S3Storage):
        assert answer.status_code == 307
        assert (await fetch(answer.headers["location"])).content == b"text"
    else:
        assert answer.status_code == 200
        assert answer.content == b"text"


@pytest.mark.parametrize("status", [302, 307])
async def test_the_status_is_an_option(s3: Storage, status: int) -> None:
    async with serve(s3, mode="redirect", redirect_status=status) as client:
        await s3.upload(b"text", "file.txt")

        assert (await client.get("/files/file.txt")).status_code == status


async def test_a_storage_that_cannot_presign_says_so(caplog: pytest.LogCaptureFixture) -> None:
    storage = MemoryStorage()
    async with serve(storage, mode="redirect") as client:
        answer = await client.get("/files/file.txt")

    assert answer.status_code == 500
    assert "mode='proxy'" in caplog.text


async def test_plain_urls_of_a_public_bucket_are_no_redirects(
    request: pytest.FixtureRequest,
) -> None:
    # Nothing can say there that a page is to be saved, and nothing ends a link.
    with make_storage(
        "s3", lambda: request.getfixturevalue("s3_server"), querystring_auth=False
    ) as storage:
        async with serve(storage, mode="auto") as client:
            await storage.upload(b"text", "file.txt")

            assert (await client.get("/files/file.txt")).status_code == 200


async def test_a_redirect_is_kept_for_less_than_its_signature_lives(s3: Storage) -> None:
    async with serve(s3, redirect_expires_in=400) as client:
        await s3.upload(b"text", "file.txt")

        answer = await client.get("/files/file.txt")

    assert get_lifetime(answer.headers["location"]) == 400
    assert 250 < get_max_age(answer.headers["cache-control"]) <= 300


async def test_a_url_is_used_again_in_the_first_half_of_its_life(
    s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time()
    async with serve(s3, redirect_expires_in=400) as client:
        urls, ages = [], []
        for age in (0, 100, 199, 201, 300):
            # What the file is called shows which URLs are new.
            await s3.upload(b"text", "file.txt", metadata={"filename": f"at {age}.txt"})
            monkeypatch.setattr("time.time", lambda age=age: clock + age)
            answer = await client.get("/files/file.txt")
            urls.append(answer.headers["location"])
            ages.append(get_max_age(answer.headers["cache-control"]))

    assert urls[0] == urls[1] == urls[2] != urls[3] == urls[4]
    # Always below what is left of the signature: 400, 300, 201, then 400 and 301 seconds.
    assert ages == [300, 200, 101, 300, 201]


async def test_each_name_and_presentation_has_a_url_of_its_own(s3: Storage) -> None:
    async with serve(s3) as client:
        await s3.upload(b"text", "a.txt")
        await s3.upload(b"text", "b.txt")
        urls = [
            (await client.get(f"/files/{url}")).headers["location"]
            for url in ("a.txt", "b.txt", "a.txt?download=1", "a.txt?filename=c.txt", "a.txt")
        ]

    assert urls[0] == urls[4]
    assert len(set(urls)) == 4


async def test_no_more_urls_are_kept_than_allowed(
    s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redirects, "MAX_URLS", 2)
    async with serve(s3) as client:
        for name in ("a", "b", "c"):
            await s3.upload(b"text", name)

        async def ask(name: str) -> str:
            url: str = (await client.get(f"/files/{name}")).headers["location"]
            return url

        a, b = await ask("a"), await ask("b")
        assert await ask("a") == a  # Used last, so kept when "c" comes.
        await ask("c")
        await s3.delete("a")
        await s3.delete("b")
        assert await ask("a") == a
        assert (await client.get("/files/b")).status_code == 404
        assert b != a


async def test_a_presigned_file_is_shown_as_the_route_says(s3: Storage) -> None:
    async with serve(s3) as client:
        await s3.upload(b"%PDF", "f.pdf", metadata={"filename": "Żółć.pdf"})

        shown = await client.get("/files/f.pdf")
        saved = await client.get("/files/f.pdf?download=1")

    name = "filename=\"____.pdf\"; filename*=UTF-8''%C5%BB%C3%B3%C5%82%C4%87.pdf"
    for answer, disposition in ((shown, "inline"), (saved, "attachment")):
        stored = await fetch(answer.headers["location"])
        assert stored.headers["content-disposition"] == f"{disposition}; {name}"
        assert stored.headers["content-type"] == "application/pdf"


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/xml"])
async def test_what_runs_script_is_saved_from_the_storage_too(
    s3: Storage, content_type: str
) -> None:
    async with serve(s3) as client:
        await s3.upload(b"<script>", "page.html", content_type=content_type)

        answer = await client.get("/files/page.html?download=0")

    stored = await fetch(answer.headers["location"])
    assert stored.headers["content-disposition"] == 'attachment; filename="page.html"'


async def test_head_is_answered_here_as_a_get_would_end(s3: Storage) -> None:
    async with serve(s3) as client:
        await s3.upload(b"text", "file.txt")

        head = await client.head("/files/file.txt")

    assert head.status_code == 200
    assert head.headers["content-length"] == "4"
    assert head.headers["content-type"] == "text/plain"


async def test_a_missing_file_is_not_redirected_to(s3: Storage) -> None:
    async with serve(s3) as client:
        answer = await client.get("/files/nothing.txt")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_file_that_nobody_may_keep_is_not_kept_as_a_redirect(s3: Storage) -> None:
    async with serve(s3) as client:
        await s3.upload(b"text", "file.txt", cache_control="no-store")

        answer = await client.get("/files/file.txt")

    assert answer.headers["cache-control"] == "no-store"


def test_a_redirect_that_is_over_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="60 seconds"):
        create_files_router(access=public, redirect_expires_in=59)
