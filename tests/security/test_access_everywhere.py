"""Who may not have a file gets nothing of it, whatever way it is asked for."""

import itertools
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fastapi_async_storages import Storage, XAccelRedirect, create_files_router
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client
from tests.storages import BACKENDS, make_storage

pytestmark = pytest.mark.anyio

CONTENT = b"for its owner only"
WAYS: list[dict[str, str]] = [
    {},
    {"range": "bytes=0-0"},
    {"range": "bytes=1000-"},
    {"range": "bytes=0-0", "if-range": '"x"'},
    {"if-none-match": "*"},
    {"if-match": '"x"'},
    {"if-modified-since": "Fri, 31 Dec 2100 23:59:59 GMT"},
    {"if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"},
]
TELLING = {"accept-ranges", "content-range", "etag", "last-modified", "location"}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((backend, {"mode": "proxy"}) for backend in BACKENDS),
    ("s3", {"mode": "redirect"}),
    ("local", {"mode": "proxy", "offload": XAccelRedirect("/protected")}),
]


async def owners_only() -> bool:
    return False


def describe(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    return answer.status_code, dict(answer.headers), answer.content


@pytest.fixture(params=OPTIONS, ids=["memory", "local", "s3", "s3 redirect", "local offload"])
async def served(request: pytest.FixtureRequest, anyio_backend: str) -> Any:
    backend, options = request.param
    with make_storage(backend, lambda: request.getfixturevalue("s3_server")) as storage:
        yield storage, options


async def ask_all_ways(
    storage: Storage, options: dict[str, Any], name: str
) -> list[tuple[int, dict[str, str], bytes]]:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=owners_only, **options), prefix="/files")
    async with open_client(app) as client:
        await storage.upload(CONTENT, "there.txt")
        return [
            describe(await client.request(method, f"/files/{name}", headers=headers, params=query))
            for method, headers, query in itertools.product(
                ("GET", "HEAD"), WAYS, ({}, {"download": "1"}, {"filename": "a.txt", "token": "x"})
            )
        ]


async def test_no_way_leads_around_the_rule(served: tuple[Storage, dict[str, Any]]) -> None:
    storage, options = served
    for status, headers, content in await ask_all_ways(storage, options, "there.txt"):
        assert status == 403
        assert not TELLING & headers.keys()
        assert not any(key.startswith("x-accel") for key in headers)
        assert CONTENT not in content


async def test_no_way_tells_whether_there_is_a_file(
    served: tuple[Storage, dict[str, Any]],
) -> None:
    storage, options = served
    options = {**options, "denial": "missing"}
    there = await ask_all_ways(storage, options, "there.txt")
    assert {status for status, _, _ in there} == {404}
    assert there == await ask_all_ways(storage, options, "gone.txt")
    # A name that no file can have, too.
    assert there == await ask_all_ways(storage, options, "%2e%2e/gone.txt")
