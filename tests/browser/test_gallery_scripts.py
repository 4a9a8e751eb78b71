"""The example app keeps scripts that were uploaded to it from running as the app."""

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlencode

import httpx
import pytest
from playwright.async_api import Error, Page

from tests.servers.http_server import serve_in_process
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.anyio

RAN = "document.documentElement.getAttribute('ran')"
MARK = "document.documentElement.setAttribute('ran', location.origin)"
ATTACKS = {
    "page.html": f"<!doctype html><script>{MARK}</script>",
    "drawing.svg": f"<svg xmlns='http://www.w3.org/2000/svg'><script>{MARK}</script></svg>",
    "page.xml": (
        "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>"
        f"<head><script>{MARK}</script></head><body/></html>"
    ),
}


@pytest.fixture(scope="module", params=["local", "s3"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environment = {}
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        options = urlencode({"endpoint_url": server.endpoint_url})
        environment = {
            "STORAGE_URL": f"s3://{server.bucket}/scripts?{options}",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
    directory = tmp_path_factory.mktemp("gallery")
    with serve_in_process("example_app.main:app", environment=environment, cwd=directory) as (
        url,
        _,
    ):
        yield url


@pytest.mark.parametrize("filename", ATTACKS)
async def test_a_script_does_not_run_in_the_origin_of_the_app(
    filename: str, site: str, page: Page
) -> None:
    async with httpx.AsyncClient(base_url=site) as client:
        files = {"file": (filename, ATTACKS[filename].encode())}
        document = (await client.post("/api/documents", files=files)).json()
    for link in (document["url"], document["download_url"]):
        with suppress(Error):  # What is a download is no page to go to.
            await page.goto(link if "://" in link else site + link)
        assert await page.evaluate(RAN) != site


async def test_the_attack_works_where_nothing_prevents_it(site: str, page: Page) -> None:
    await page.goto(f"{site}/docs")
    await page.evaluate(MARK)
    assert await page.evaluate(RAN) == site
