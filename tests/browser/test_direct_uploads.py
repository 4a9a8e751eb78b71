"""The example app in a browser: files go from the page straight to the storage."""

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, Request, Route, expect

from fastapi_async_storages import LocalStorage, S3Storage, Storage
from tests.servers.http_server import serve_in_process
from tests.servers.s3 import S3Server
from tests.uploads.front_end import list_names, list_open_parts
from tests.uploads.samples import HTML, JPEG, make_image

pytestmark = pytest.mark.anyio

APP = "example_app.main:app"
MIB = 1024**2


@dataclass
class Gallery:
    """A running app, and its storage as seen from beside it."""

    url: str
    storage: Storage

    async def list_files(self) -> list[str]:
        """List all that is in the storage, half uploads too."""
        return [*await list_names(self.storage), *await list_open_parts(self.storage)]


@pytest.fixture(scope="module", params=["local", "s3"])
async def running_gallery(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gallery]:
    environment = {"SECRET_KEY": "a key that only this test knows"}
    directory = tmp_path_factory.mktemp("app")
    storage: Storage
    if request.param == "local":
        storage = LocalStorage(directory / "var" / "files")
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        prefix = uuid4().hex
        options = urlencode({"endpoint_url": server.endpoint_url})
        environment |= {
            "STORAGE_URL": f"s3://{server.bucket}/{prefix}?{options}",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        storage = S3Storage(
            server.bucket,
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            prefix=prefix,
        )
    with serve_in_process(APP, environment=environment, cwd=directory) as (url, _):
        async with storage:
            if isinstance(storage, S3Storage):
                await storage.allow_browser_uploads([url])
            yield Gallery(url, storage)


@pytest.fixture
async def gallery(running_gallery: Gallery) -> AsyncIterator[Gallery]:
    """The app, empty at the start of each test."""
    yield running_gallery
    async with httpx.AsyncClient(base_url=running_gallery.url) as client:
        for kind in ("documents", "photos"):
            for row in (await client.get(f"/api/{kind}")).json():
                await client.delete(f"/api/{kind}/{row['id']}")
    assert await running_gallery.list_files() == []


@pytest.fixture
async def page(page: Page, gallery: Gallery) -> Page:
    await page.goto(gallery.url)
    return page


def cleaning_up(page: Page) -> AbstractAsyncContextManager[object]:
    """Wait at the end of the block until the page has thrown an upload away."""
    return page.expect_response(lambda response: response.url.endswith("/direct/abort"))


def get_form(page: Page, kind: str) -> Locator:
    return page.locator(f"form.upload:has([aria-label={kind}])")


def get_item(page: Page, kind: str = "Document") -> Locator:
    """Return the line that shows how an upload gets on."""
    return get_form(page, kind).locator("+ ul.uploads > li")


async def pick(page: Page, path: Path | list[Path], kind: str = "Document") -> None:
    form = get_form(page, kind)
    await form.locator("input").set_input_files(path)
    await form.locator("button").click()


async def drop(page: Page, filename: str, content: bytes, media_type: str, kind: str) -> None:
    transfer = await page.evaluate_handle(
        """([filename, content, type]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(content)], filename, { type }));
            return transfer;
        }""",
        [filename, list(content), media_type],
    )
    for event in ("dragover", "drop"):
        await get_form(page, kind).dispatch_event(event, {"dataTransfer": transfer})


async def slow_down(page: Page, bytes_per_second: int) -> None:
    """Give the page a slow line."""
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": bytes_per_second,
        },
    )


async def see_document(page: Page, name: str) -> None:
    """Wait until the page lists a document: large ones take some seconds."""
    await expect(page.locator("td.name")).to_have_text(name, timeout=30_000)


async def download(page: Page, name: str) -> bytes:
    link = await page.locator("tr", has_text=name).get_by_text("Download").get_attribute("href")
    assert link
    async with httpx.AsyncClient() as client:
        return (await client.get(httpx.URL(page.url).join(link))).raise_for_status().content


def note_requests(page: Page) -> list[Request]:
    """Return a list to which each request of the page is added."""
    requests: list[Request] = []

    def note(request: Request) -> None:  # Playwright cannot call `append` itself.
        requests.append(request)

    page.on("request", note)
    return requests


def make_file(path: Path, size: int) -> bytes:
    content = hashlib.shake_256(path.name.encode()).digest(size)
    path.write_bytes(content)
    return content


async def test_a_picked_file_goes_straight_to_the_storage(
    gallery: Gallery, page: Page, tmp_path: Path
) -> None:
    sent = note_requests(page)
    content = make_file(tmp_path / "Übersicht 日本.bin", 3 * MIB)
    await pick(page, tmp_path / "Übersicht 日本.bin")
    await see_document(page, "Übersicht 日本.bin")
    assert await download(page, "Übersicht") == content
    [name] = await gallery.list_files()
    assert re.fullmatch(r"documents/[0-9a-f-]{36}", name)
    announce, send, complete = [one for one in sent if one.method in ("PUT", "POST")]
    assert announce.url == f"{gallery.url}/uploads/documents/direct"
    is_s3 = isinstance(gallery.storage, S3Storage)
    assert send.url.startswith(gallery.url) != is_s3
    assert send.method == ("POST" if is_s3 else "PUT")
    assert complete.url == f"{gallery.url}/uploads/documents/direct/complete"


async def test_a_dropped_photo_gets_its_thumbnail(gallery: Gallery, page: Page) -> None:
    await drop(page, "lake.jpg", JPEG, "image/jpeg", "Photo")
    await expect(page.locator("figcaption strong")).to_have_text("lake.jpg")
    await page.wait_for_function("document.querySelector('figure img').naturalWidth > 0")
    folders = sorted(name.partition("/")[0] for name in await gallery.list_files())
    assert len(folders) == 2
    assert folders[0] == "photos"


async def test_several_files_go_at_a_time(gallery: Gallery, page: Page, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.bin" for number in range(3)]
    for path in paths:
        make_file(path, 100_000)
    await pick(page, paths)
    await expect(page.locator("td.name")).to_have_count(3)
    assert len(await gallery.list_files()) == 3


async def test_a_large_file_goes_in_parts_where_the_storage_takes_them(
    gallery: Gallery, page: Page, tmp_path: Path
) -> None:
    sent = note_requests(page)
    content = make_file(tmp_path / "large.bin", 20 * MIB)
    await pick(page, tmp_path / "large.bin")
    await see_document(page, "large.bin")
    assert await download(page, "large.bin") == content
    urls = [one.url for one in sent if one.method == "PUT"]
    if isinstance(gallery.storage, S3Storage):
        assert sorted(re.findall(r"partNumber=(\d+)", " ".join(urls))) == ["1", "2", "3"]
    else:
        assert len(urls) == 1
    assert len(await gallery.list_files()) == 1


@pytest.mark.parametrize("size", [3 * MIB, 20 * MIB])
async def test_progress_is_seen_and_cancelling_leaves_nothing(
    gallery: Gallery, page: Page, tmp_path: Path, size: int
) -> None:
    make_file(tmp_path / "slow.bin", size)
    await slow_down(page, size // 10)
    await pick(page, tmp_path / "slow.bin")
    item = get_item(page)
    await expect(item.locator(".name")).to_have_text("slow.bin")
    await expect(item.locator(".status")).to_have_text(re.compile(r"^[1-9]\d? %$"))
    first = float(await item.locator("progress").evaluate("bar => bar.value"))
    await page.wait_for_function(
        "first => document.querySelector('.uploads progress').value > first", arg=first
    )
    assert 0 < first < 1
    async with cleaning_up(page):
        await item.get_by_role("button", name="Cancel").click()
        await expect(item).to_have_count(0)
        await slow_down(page, -1)
    assert await gallery.list_files() == []
    await page.reload()
    await expect(page.locator("td.name")).to_have_count(0)


async def test_a_refused_file_says_why_and_leaves_nothing(gallery: Gallery, page: Page) -> None:
    async with cleaning_up(page):
        await drop(page, "photo.png", HTML, "image/png", "Photo")
    item = get_item(page, "Photo")
    await expect(item.locator(".status")).to_have_text(
        "The file 'photo.png' is text/html; allowed: image/jpeg, image/png, image/webp, image/gif."
    )
    assert await gallery.list_files() == []
    await expect(page.locator("figure")).to_have_count(0)
    await item.get_by_role("button", name="Remove").click()
    await expect(item).to_have_count(0)


async def test_a_photo_that_cannot_be_decoded_is_taken_back(gallery: Gallery, page: Page) -> None:
    photo = make_image("JPEG", 800, 600)
    async with cleaning_up(page):
        await drop(page, "cut.jpg", photo[: len(photo) // 2], "image/jpeg", "Photo")
    await expect(get_item(page, "Photo").locator(".status")).to_have_text(
        "The file is no image that can be read."
    )
    assert await gallery.list_files() == []


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
async def test_a_lost_connection_is_tried_again(
    gallery: Gallery, page: Page, tmp_path: Path, size: int
) -> None:
    content = make_file(tmp_path / "file.bin", size)
    lost: list[str] = []

    async def lose_first(route: Route) -> None:
        if lost:
            await route.continue_()
        else:
            lost.append(route.request.url)
            await route.abort("connectionreset")

    await page.route(re.compile(r"token=|partNumber=1|/tests$"), lose_first)
    await pick(page, tmp_path / "file.bin")
    await see_document(page, "file.bin")
    assert len(lost) == 1
    assert await download(page, "file.bin") == content


async def test_a_failed_upload_can_be_started_again(
    gallery: Gallery, page: Page, tmp_path: Path
) -> None:
    make_file(tmp_path / "file.bin", 1000)
    await page.route(re.compile(r"token=|/tests$"), lambda route: route.abort("connectionreset"))
    async with cleaning_up(page):
        await pick(page, tmp_path / "file.bin")
    item = get_item(page)
    await expect(item.locator(".status")).to_have_text("The connection was lost.")
    assert await gallery.list_files() == []
    await page.unroute_all()
    await item.get_by_role("button", name="Retry").click()
    await see_document(page, "file.bin")
    assert len(await gallery.list_files()) == 1


async def test_without_javascript_the_form_still_works(
    gallery: Gallery, browser: Browser, tmp_path: Path
) -> None:
    make_file(tmp_path / "file.bin", 1000)
    async with await browser.new_context(java_script_enabled=False) as context:
        page = await context.new_page()
        await page.goto(gallery.url)
        await expect(page.locator(".drop-hint").first).to_be_hidden()
        await pick(page, tmp_path / "file.bin")
        await see_document(page, "file.bin")


async def test_pages_of_other_origins_may_not_upload(
    gallery: Gallery, page: Page, tmp_path: Path
) -> None:
    if not isinstance(gallery.storage, S3Storage):
        pytest.skip("Other storages take uploads by the app, whose origin is that of its pages.")
    make_file(tmp_path / "file.bin", 1000)
    await page.goto(gallery.url.replace("127.0.0.1", "localhost"))
    async with cleaning_up(page):
        await pick(page, tmp_path / "file.bin")
    await expect(get_item(page).locator(".status")).to_have_text("The connection was lost.")
    assert await gallery.list_files() == []
