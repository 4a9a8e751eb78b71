"""What a browser shows: media that seek, and documents in their sandbox."""

import io
import struct
import wave
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from playwright.async_api import Page
from starlette.responses import Response

from fastapi_async_storages import Storage, create_files_router, public
from fastapi_async_storages.lifespan import storage_lifespan
from tests.servers.http_server import ServerName, serve
from tests.storages import BACKENDS, make_storage

pytestmark = pytest.mark.anyio

SECONDS = 200
RATE = 48_000


def make_wav() -> bytes:
    """Make a silent recording of 200 seconds: 19 MB, which no player loads at once."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(RATE)
        recording.writeframes(bytes(2 * RATE * SECONDS))
    return file.getvalue()


def make_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * width) * height
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj
trailer<</Root 1 0 R>>
"""

WAV = make_wav()
FILES: dict[str, tuple[str, bytes]] = {
    "recording.wav": ("audio/wav", WAV),
    "picture.png": ("image/png", make_png(32, 16)),
    "paper.pdf": ("application/pdf", PDF),
    "notes.txt": ("text/plain", b"some notes"),
}


@dataclass
class Site:
    """A running app, and the ranges that it was asked for."""

    url: str
    storage: Storage
    ranges: list[tuple[str | None, int]] = field(default_factory=list)


def make_app(storage: Storage, site: Site, mode: Any) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, mode=mode), prefix="/files")

    @app.get("/player")
    async def player() -> HTMLResponse:
        return HTMLResponse(
            "<video id=video preload=metadata muted src='/files/recording.wav'></video>"
        )

    @app.middleware("http")
    async def note_ranges(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        if request.url.path.startswith("/files/"):
            site.ranges.append((request.headers.get("range"), response.status_code))
        return response

    return app


@pytest.fixture(scope="module", params=BACKENDS)
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    with make_storage(request.param, lambda: request.getfixturevalue("s3_server")) as storage:
        async with storage:
            for name, (content_type, content) in FILES.items():
                await storage.upload(content, name, content_type=content_type)
        yield storage


@pytest.fixture(scope="module", params=["proxy", "auto"])
def site(storage: Storage, request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site("", storage)
    with serve(make_app(storage, site, request.param)) as site.url:
        yield site


async def seek(page: Page, second: int) -> float:
    """Move the player of the page, and return where it is when it can play on."""
    position: float = await page.evaluate(
        """async (second) => {
            const video = document.getElementById('video');
            if (video.readyState < 1)
                await new Promise(done => video.addEventListener('loadedmetadata', done));
            const moved = new Promise(done => video.addEventListener('seeked', done));
            video.currentTime = second;
            await moved;
            await video.play();
            while (video.currentTime < second + 0.2)
                await new Promise(done => video.addEventListener('timeupdate', done, {once: true}));
            video.pause();
            return video.currentTime;
        }""",
        second,
    )
    return position


async def test_a_video_seeks(site: Site, page: Page) -> None:
    site.ranges.clear()
    await page.goto(f"{site.url}/player")

    assert await seek(page, 180) > 180
    assert await seek(page, 30) > 30

    assert await page.evaluate("document.getElementById('video').duration") == SECONDS
    if any(status == 307 for _, status in site.ranges):
        return  # The storage answers the ranges; the app has not seen more than one of them.
    starts = [int(text[6:].split("-")[0]) for text, status in site.ranges if text and status == 206]
    # Where 180 seconds are, and not all that is before.
    assert any(start > 2 * RATE * 150 for start in starts), site.ranges


async def test_a_video_seeks_on_another_server(page: Page, storage: Storage) -> None:
    server: ServerName = "hypercorn"
    site = Site("", storage)
    with serve(make_app(storage, site, "proxy"), server=server) as site.url:
        await page.goto(f"{site.url}/player")

        assert await seek(page, 180) > 180


class TestDocuments:
    """What opens in a tab of its own is shown, although its policy allows next to nothing."""

    async def test_a_picture(self, site: Site, page: Page) -> None:
        await page.goto(f"{site.url}/files/picture.png")

        assert await page.evaluate("document.querySelector('img').naturalWidth") == 32
        # The style that the browser puts there works: the picture is in the middle.
        box = await page.locator("img").bounding_box()
        assert box is not None
        assert box["x"] > 100

    async def test_a_recording(self, site: Site, page: Page) -> None:
        await page.goto(f"{site.url}/files/recording.wav")

        await page.wait_for_function("document.querySelector('video').readyState >= 1")
        assert await page.evaluate("document.querySelector('video').duration") == SECONDS

    async def test_a_pdf(self, site: Site, page: Page) -> None:
        async with page.expect_event("framenavigated", lambda frame: "extension" in frame.url):
            await page.goto(f"{site.url}/files/paper.pdf")

    async def test_a_text(self, site: Site, page: Page) -> None:
        await page.goto(f"{site.url}/files/notes.txt")

        assert await page.locator("body").inner_text() == "some notes"

    async def test_a_download(self, site: Site, page: Page) -> None:
        async with page.expect_download() as waiting:
            await page.evaluate(f"location.href = '{site.url}/files/picture.png?download=1'")

        download = await waiting.value
        assert download.suggested_filename == "picture.png"
        assert (await download.path()).read_bytes() == FILES["picture.png"][1]
