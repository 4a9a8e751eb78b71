"""Names in URLs: every name that a storage holds is reached, and no other."""

import asyncio
import http.client
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest
from fastapi import FastAPI

from fastapi_async_storages import Storage, create_files_router, public
from fastapi_async_storages.lifespan import storage_lifespan
from tests.servers.http_server import serve
from tests.storages import BACKENDS, make_storage

NAMES = [
    "a.txt",
    "deep/er/and/deeper/a.txt",
    "with space.txt",
    "plus+sign.txt",
    "percent%41.txt",
    "percent%2Fslash.txt",
    "question?.txt",
    "hash#.txt",
    "amp&=;@:$,!'()*[].txt",
    "żółć 日本語 😀.txt",
    "trailing.dot.",
    " leading space",
]

INVALID = [
    "",
    "/",
    ".",
    "..",
    "../secret.txt",
    "%2e%2e/secret.txt",
    "a/../../secret.txt",
    "..%2fsecret.txt",
    "%2fetc/passwd",
    "a%00b",
    "a%0ab",
    "a%0d%0aSet-Cookie:%20x=y",
    "a%5c..%5cb",
    "a%7f",
    "%ff%fe",
    "a" * 1025,
]


@pytest.fixture(scope="module", params=BACKENDS)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Host and port of a server whose files are called like :data:`NAMES`."""
    with make_storage(request.param, lambda: request.getfixturevalue("s3_server")) as storage:
        asyncio.run(_fill(storage))
        app = FastAPI(lifespan=storage_lifespan(storage))
        app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
        with serve(app) as url:
            yield urlsplit(url).netloc


async def _fill(storage: Storage) -> None:
    async with storage:
        for name in NAMES:
            await storage.upload(name.encode(), name)


def get(address: str, target: str) -> tuple[int, str | None, bytes]:
    """Ask for a path exactly as written, which no URL library would do."""
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", f"/files/{target}")
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type"), answer.read()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_reached_by_its_percent_encoding(address: str, name: str) -> None:
    assert get(address, quote(name))[::2] == (200, name.encode())
    # A slash that is encoded is a slash all the same: ASGI decodes the path as a whole.
    assert get(address, quote(name, safe=""))[::2] == (200, name.encode())


def test_both_forms_of_an_accent_are_one_name(address: str) -> None:
    decomposed = "z\u0307o\u0301ł" + "c\u0301 日本語 😀.txt"

    assert get(address, quote(decomposed))[::2] == (200, "żółć 日本語 😀.txt".encode())


@pytest.mark.parametrize("target", INVALID)
def test_a_name_that_no_file_can_have_is_not_found(address: str, target: str) -> None:
    status, content_type, body = get(address, target)

    assert status == 404
    if content_type == "application/problem+json":
        assert b'"There is no such file."' in body
    else:
        # A line break ends the framework's own matching of the path.
        assert "%0a" in target or "%0d" in target


def test_a_name_of_other_case_is_another_file(address: str) -> None:
    assert get(address, "A.TXT")[0] == 404
