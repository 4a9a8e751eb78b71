"""JSON beside files: a proxy that lets videos through must not let them into memory here."""

from collections.abc import AsyncIterator

import httpx
import pytest

from fastapi_async_storages import MemoryStorage
from tests.uploads.front_end import FrontEnd, run_uploads

pytestmark = pytest.mark.anyio

CHUNK = 64 * 1024
CHUNKS = 200
ROUTES = ("/direct", "/direct/complete", "/direct/abort")


@pytest.fixture
async def front_end() -> AsyncIterator[FrontEnd]:
    # Nobody may upload: who sends the body has not even been asked when FastAPI reads it.
    async with run_uploads(MemoryStorage(), access=nobody) as front_end:
        yield front_end


async def nobody() -> bool:
    return False


def check(answer: httpx.Response) -> None:
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["limit"] == CHUNK


@pytest.mark.parametrize("route", ROUTES)
async def test_an_endless_body_is_cut_off(front_end: FrontEnd, route: str) -> None:
    taken = 0

    async def send_endlessly() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(CHUNKS):
            taken += 1
            yield b" " * CHUNK

    headers = {"content-type": "application/json"}
    check(await front_end.app.post(f"/uploads{route}", content=send_endlessly(), headers=headers))
    assert taken <= 2


@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_that_is_announced_as_large_is_not_read(
    front_end: FrontEnd, route: str
) -> None:
    taken: list[bytes] = []

    async def send() -> AsyncIterator[bytes]:
        taken.append(b" ")
        yield b" "

    headers = {"content-type": "application/json", "content-length": str(CHUNK + 1)}
    check(await front_end.app.post(f"/uploads{route}", content=send(), headers=headers))
    assert taken == []


async def test_the_largest_body_is_read(front_end: FrontEnd) -> None:
    content = b'{"ticket": "x"}'.ljust(CHUNK)
    headers = {"content-type": "application/json"}
    answer = await front_end.app.post("/uploads/direct/abort", content=content, headers=headers)
    assert answer.status_code == 403
