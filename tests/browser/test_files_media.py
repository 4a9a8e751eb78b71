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
from tests.browser.webm import make_webm
from tests.servers.http_server import ServerName, serve
from tests.storages import BACKENDS, make_storage

pytestmark = pytest.mark.anyio

SECONDS = 200
WIDTH, HEIGHT = 320, 240


def make_wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(bytes(2 * 8000 * 3))
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

# 13 MB, which no player loads at once.
VIDEO = make_webm(seconds=SECONDS, width=WIDTH, height=HEIGHT)
FILES: dict[str, tuple[str, bytes]] = {
    "video.webm": ("video/webm", VIDEO),
    "recording.wav": ("audio/wav", make_wav()),
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
            "<video id=video preload=metadata muted src='/files/video.webm'></video>"
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


@dataclass
class Frame:
    """A picture that the player showed: its second in the video, and its size."""

    second: float
    width: int
    height: int


async def seek(page: Page, second: int) -> Frame:
    """Move the player of the page, play on from there, and return the picture of that second."""
    # requestVideoFrameCallback() tells what was decoded and shown, not only what was asked for.
    return Frame(
        **await page.evaluate(
            """async (second) => {
                const video = document.getElementById('video');
                const wait = (name) => new Promise((done, fail) => {
                    video.addEventListener(name, done, {once: true});
                    video.addEventListener('error', () => fail(new Error(video.error.message)));
                });
                const show = async () => {
                    for (;;) {
                        const frame = await new Promise(done => video.requestVideoFrameCallback(
                            (now, frame) => done(frame)));
                        // The one from before the move may come first.
                        if (Math.floor(frame.mediaTime) === second) return frame;
                    }
                };
                if (video.readyState < 1) await wait('loadedmetadata');
                const shown = show();
                const moved = wait('seeked');
                video.currentTime = second;
                await moved;
                await video.play();
                while (video.currentTime < second + 0.2) await wait('timeupdate');
                video.pause();
                const {mediaTime, width, height} = await shown;
                return {second: mediaTime, width, height};
            }""",
            second,
        )
    )


async def test_a_video_seeks(site: Site, page: Page) -> None:
    site.ranges.clear()
    await page.goto(f"{site.url}/player")

    assert await seek(page, 180) == Frame(180, WIDTH, HEIGHT)
    assert await seek(page, 30) == Frame(30, WIDTH, HEIGHT)

    assert await page.evaluate("document.getElementById('video').duration") == SECONDS
    if any(status == 307 for _, status in site.ranges):
        return  # The storage answers the ranges; the app has not seen more than one of them.
    starts = [int(text[6:].split("-")[0]) for text, status in site.ranges if text and status == 206]
    # Where 180 seconds are, and not all that is before.
    assert any(start > len(VIDEO) * 0.8 for start in starts), site.ranges


async def test_a_video_seeks_on_another_server(page: Page, storage: Storage) -> None:
    server: ServerName = "hypercorn"
    site = Site("", storage)
    with serve(make_app(storage, site, "proxy"), server=server) as site.url:
        await page.goto(f"{site.url}/player")

        assert await seek(page, 180) == Frame(180, WIDTH, HEIGHT)


class TestDocuments:
    """What opens in a tab of its own is shown, although its policy allows next to nothing."""

    async def test_a_picture(self, site: Site, page: Page) -> None:
        await page.goto(f"{site.url}/files/picture.png")

        assert await page.evaluate("document.querySelector('img').naturalWidth") == 32
        # The style that the browser puts there works: the picture is in the middle.
        box = await page.locator("img").bounding_box()
        assert box is not None
        assert box["x"] > 100

    @pytest.mark.parametrize("name, seconds", [("recording.wav", 3), ("video.webm", SECONDS)])
    async def test_a_recording(self, site: Site, page: Page, name: str, seconds: int) -> None:
        await page.goto(f"{site.url}/files/{name}")

        await page.wait_for_function("document.querySelector('video').readyState >= 1")
        assert await page.evaluate("document.querySelector('video').duration") == seconds

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
