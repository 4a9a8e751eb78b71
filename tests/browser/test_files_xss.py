"""Stored scripts: a file that an attacker uploaded runs nothing in the origin of the app."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse
from playwright.async_api import Error, Page
from starlette.responses import Response

from fastapi_async_storages import Storage, create_files_router, public
from fastapi_async_storages.lifespan import storage_lifespan
from tests.servers.http_server import serve
from tests.storages import make_storage

pytestmark = pytest.mark.anyio

# Each leaves a mark in its document and tells the app, before the document is loaded: a policy can
# keep it from telling, but not from marking.
REPORT = (
    "document.documentElement.setAttribute('ran', 1);"
    "r = new XMLHttpRequest(); r.open('GET', '{site}/ran?by={name}', false); r.send()"
)
SVG = "<svg xmlns='http://www.w3.org/2000/svg' onload=\"{code}\"><script>{code}</script></svg>"
XHTML = (
    "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>"
    "<head><script>{code}</script></head><body/></html>"
)
ATTACKS = {
    "page.html": ("text/html", '<script>{code}</script><img src=x onerror="{code}">'),
    "shouting.html": ("Text/HTML; charset=utf-8", "<script>{code}</script>"),
    "drawing.svg": ("image/svg+xml", SVG),
    "page.xhtml": ("application/xhtml+xml", XHTML),
    "page.xml": ("application/xml", XHTML),
    "text.xml": ("text/xml", XHTML),
    "vocabulary.xml": ("application/vnd.example+xml", XHTML),
    "two.html": ("image/png, text/html", "<script>{code}</script>"),
    "none.html": ("html", "<script>{code}</script>"),
    # Harmless types over bytes that look like a page: nobody may sniff them.
    "lie.txt": ("text/plain", "<html><script>{code}</script></html>"),
    "lie.png": ("image/png", "<html><script>{code}</script></html>"),
    "lie.bin": ("application/octet-stream", "<html><script>{code}</script></html>"),
}
SCRIPTS = {"code.js": ("text/javascript", "{code}"), "code.txt": ("text/plain", "{code}")}


@dataclass
class Site:
    """A running app, how it serves files, and which attacks reported to it."""

    mode: str
    url: str = ""
    ran: list[str] = field(default_factory=list)


def make_app(storage: Storage, site: Site, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, **options), prefix="/files")

    @app.get("/ran")
    async def ran(request: Request, by: str) -> PlainTextResponse:
        site.ran.append(by)
        return PlainTextResponse("")

    @app.get("/frames/{path:path}")
    async def frames(path: str) -> HTMLResponse:
        return HTMLResponse(
            f"<iframe src='/{path}'></iframe><object data='/{path}'></object><embed src='/{path}'>"
        )

    @app.get("/scripts/{path:path}")
    async def scripts(path: str) -> HTMLResponse:
        return HTMLResponse(
            f"<script src='/{path}'></script><script type=module src='/{path}'></script>"
        )

    @app.get("/careless/{name}")
    async def careless(name: str) -> Response:
        """Serve an attack as a careless app would: the test's own proof that it works."""
        content_type, template = {**ATTACKS, **SCRIPTS}[name]
        return Response(write(template, site, name), headers={"content-type": content_type})

    return app


def write(template: str, site: Site, name: str) -> str:
    return template.replace("{code}", REPORT.format(site=site.url, name=name))


# Streamed; from the storage itself; and where the developer has listed every type.
MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "proxy": ("memory", {"mode": "proxy"}),
    "redirect": ("s3", {"mode": "redirect"}),
    "listed": ("memory", {"mode": "proxy", "scriptable_types": ["*/*"]}),
}


@pytest.fixture(scope="module", params=MODES)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    site = Site(request.param)
    backend, options = MODES[request.param]
    with (
        make_storage(backend, lambda: request.getfixturevalue("s3_server")) as storage,
        serve(make_app(storage, site, **options)) as site.url,
    ):
        async with storage:
            for name, (content_type, template) in {**ATTACKS, **SCRIPTS}.items():
                content = write(template, site, name).encode()
                await storage.upload(content, name, content_type=content_type)
        yield site


async def visit(page: Page, url: str) -> None:
    """Open a URL, and wait until it is loaded with all that is in it."""
    with suppress(Error):  # What is saved and not shown is no page.
        await page.goto(url)


async def ran_somewhere(page: Page) -> bool:
    marks = [
        await frame.evaluate("document.documentElement.getAttribute('ran')")
        for frame in page.frames
    ]
    return any(marks)


@pytest.mark.parametrize("site", ["proxy"], indirect=True)
@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "page.xhtml", "page.xml", "two.html"])
async def test_the_attacks_work_where_nothing_stops_them(site: Site, page: Page, name: str) -> None:
    for path in (f"careless/{name}", f"frames/careless/{name}"):
        site.ran.clear()
        await visit(page, f"{site.url}/{path}")

        assert name in site.ran, path
        assert await ran_somewhere(page), path


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_stored_page_does_not_run(site: Site, page: Page, name: str) -> None:
    site.ran.clear()
    for path in (f"files/{name}?download=0", f"frames/files/{name}"):
        await visit(page, f"{site.url}/{path}")

        assert not await ran_somewhere(page), path
    assert site.ran == []


@pytest.mark.parametrize("site", ["proxy"], indirect=True)
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_stored_script_is_no_script_of_the_app(site: Site, page: Page, name: str) -> None:
    site.ran.clear()
    await visit(page, f"{site.url}/scripts/careless/code.js")
    assert "code.js" in site.ran

    site.ran.clear()
    await visit(page, f"{site.url}/scripts/files/{name}")
    assert not await ran_somewhere(page)
    with pytest.raises(Error, match="SecurityError"):
        await page.evaluate(f"navigator.serviceWorker.register('/files/{name}')")
    assert site.ran == []
