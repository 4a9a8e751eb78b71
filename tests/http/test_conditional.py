"""Headers of conditional and range requests in every spelling that HTTP allows, and some others."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from fastapi_async_storages import FileInfo, MemoryStorage, StorageFile, StorageFileResponse
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client

pytestmark = pytest.mark.anyio

CONTENT = b"0123456789"


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
async def client(storage: MemoryStorage) -> AsyncIterator[AsyncClient]:
    app = FastAPI(lifespan=storage_lifespan(storage))

    @app.get("/file")
    async def read_file() -> StorageFileResponse:
        return StorageFileResponse(StorageFile(storage, "file.txt"))

    async with open_client(app) as client:
        await storage.upload(CONTENT, "file.txt")
        yield client


@pytest.fixture
async def info(storage: MemoryStorage, client: AsyncClient) -> FileInfo:
    del client  # It stores the file.
    return await storage.get_info("file.txt")


async def ask(client: AsyncClient, *headers: tuple[str, str]) -> tuple[int, bytes]:
    answer = await client.get("/file", headers=list(headers))
    return answer.status_code, answer.content


DATES = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]


@pytest.mark.parametrize("form", DATES, ids=["IMF-fixdate", "RFC 850", "asctime"])
async def test_a_date_is_read_in_all_three_forms(
    client: AsyncClient, info: FileInfo, form: str
) -> None:
    assert info.last_modified is not None
    now, earlier = info.last_modified, info.last_modified - timedelta(seconds=1)

    assert (await ask(client, ("If-Modified-Since", now.strftime(form))))[0] == 304
    assert (await ask(client, ("If-Modified-Since", earlier.strftime(form))))[0] == 200
    assert (await ask(client, ("If-Unmodified-Since", now.strftime(form))))[0] == 200
    assert (await ask(client, ("If-Unmodified-Since", earlier.strftime(form))))[0] == 412


@pytest.mark.parametrize(
    "value", ["", "yesterday", "0", "Sun, 99 Nov 1994 08:49:37 GMT", "9" * 400, "é", "31 Feb 2020"]
)
async def test_what_is_no_date_is_ignored(client: AsyncClient, value: str) -> None:
    headers = [(b"If-Modified-Since", value.encode("latin-1"))]
    headers += [(b"If-Unmodified-Since", value.encode("latin-1"))]

    assert (await client.get("/file", headers=headers)).status_code == 200


async def test_several_lines_are_one_list(client: AsyncClient, info: FileInfo) -> None:
    etag = info.etag or ""

    assert (await ask(client, ("If-None-Match", '"a"'), ("If-None-Match", etag)))[0] == 304
    assert (await ask(client, ("If-Match", '"a"'), ("If-Match", etag)))[0] == 200
    assert await ask(client, ("Range", "bytes=0-1"), ("Range", "bytes=3-4")) == (200, CONTENT)


@pytest.mark.parametrize(
    "template",
    ["{}", " {} ", '"a,b", {}', 'W/"a" ,{}', '"",{}', '"unclosed, {}', "junk {} junk", "W/{}"],
)
async def test_a_tag_is_found_in_its_list(
    client: AsyncClient, info: FileInfo, template: str
) -> None:
    assert (await ask(client, ("If-None-Match", template.format(info.etag))))[0] == 304


@pytest.mark.parametrize("value", ["junk", '"', "W/", '"a', "**", "é"])
async def test_a_list_without_tags(client: AsyncClient, value: str) -> None:
    raw = value.encode("latin-1")
    # Not the version that its sender wants, whatever that is; and not one that its sender has.
    assert (await client.get("/file", headers=[(b"If-Match", raw)])).status_code == 412
    assert (await client.get("/file", headers=[(b"If-None-Match", raw)])).status_code == 200


async def test_a_weak_tag_is_good_for_if_none_match_only(
    client: AsyncClient, info: FileInfo
) -> None:
    weak = f"W/{info.etag}"

    assert (await ask(client, ("If-None-Match", weak)))[0] == 304
    assert (await ask(client, ("If-Match", weak)))[0] == 412
    assert await ask(client, ("Range", "bytes=0-1"), ("If-Range", weak)) == (200, CONTENT)


@pytest.mark.parametrize(
    "value, body",
    [
        ("bytes=0-1", b"01"),
        ("BYTES=0-1", b"01"),
        (" bytes= 0-1 ", b"01"),
        ("bytes=-3", b"789"),
        ("bytes=7-", b"789"),
        ("bytes=7-999999999999", b"789"),
        ("bytes=-999999999999", CONTENT),
    ],
)
async def test_a_range(client: AsyncClient, value: str, body: bytes) -> None:
    assert await ask(client, ("Range", value)) == (206, body)


@pytest.mark.parametrize(
    "value",
    [
        "bytes=1",
        "bytes=1-0",
        "bytes 0-1",
        "bytes=0-1,",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1-2-3",
        "items=0-1",
        "bytes=a-b",
        "0-1",
        "bytes=",
        "bytes=0x1-0x2",
        f"bytes=0-{'9' * 5000}",
    ],
)
async def test_what_is_no_single_range_is_ignored(client: AsyncClient, value: str) -> None:
    assert await ask(client, ("Range", value)) == (200, CONTENT)


async def test_a_range_that_starts_behind_the_end(client: AsyncClient) -> None:
    answer = await client.get("/file", headers={"Range": "bytes=10-"})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */10"
    assert answer.headers["content-type"] == "application/problem+json"
