"""The example app's page on a large screen and on a phone."""

from collections.abc import Iterator

import pytest
from playwright.async_api import ConsoleMessage, FilePayload, Page, Route, expect

from tests.servers.http_server import serve_in_process
from tests.uploads.samples import JPEG

pytestmark = pytest.mark.anyio

LONG_NAME = "a-name-without-a-space-that-is-longer-than-a-phone-is-wide-and-much-more.txt"
DOCUMENT: FilePayload = {"name": LONG_NAME, "mimeType": "text/plain", "buffer": b"some notes"}
PHOTO: FilePayload = {"name": "lake.jpg", "mimeType": "image/jpeg", "buffer": JPEG}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    app = "example_app.main:app"
    with serve_in_process(app, cwd=tmp_path_factory.mktemp("gallery")) as (url, _):
        yield url


async def upload(page: Page, kind: str, file: FilePayload) -> None:
    await page.get_by_label(kind, exact=True).set_input_files(file)
    await page.get_by_role("button", name=f"Upload {kind.lower()}").click()


@pytest.mark.parametrize("width", [1280, 390])
async def test_the_page_is_no_wider_than_the_screen(url: str, page: Page, width: int) -> None:
    messages: list[str] = []

    def note(message: ConsoleMessage) -> None:
        messages.append(message.text)

    page.on("console", note)

    def hold(route: Route) -> None:
        pass

    await page.set_viewport_size({"width": width, "height": 844})
    await page.goto(url)
    await page.route("**/direct", hold)
    await upload(page, "Document", DOCUMENT)

    # While it is on its way, which file it is can be read.
    name = await page.locator(".uploads .name").bounding_box()
    assert name is not None
    assert name["width"] > 200
    assert await page.evaluate(OVERFLOW) == 0

    await page.unroute("**/direct")  # lets go on what was held
    await expect(page.locator("td.name")).to_have_text(LONG_NAME)
    await upload(page, "Photo", PHOTO)
    await expect(page.locator("figcaption strong")).to_have_text("lake.jpg")
    assert await page.evaluate(OVERFLOW) == 0
    assert messages == []
