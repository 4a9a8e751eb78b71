"""What the headers of a served file say: its type and name, and what a browser may do with it."""

from email.message import Message
from typing import Any
from urllib.parse import quote, unquote

import pytest
from fastapi import FastAPI
from httpx import Response
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_async_storages import MemoryStorage, Storage, create_files_router, public
from fastapi_async_storages.keys import unique_name
from fastapi_async_storages.lifespan import storage_lifespan
from tests.asgi import open_client

pytestmark = pytest.mark.anyio

SCRIPTABLE = [
    "text/html",
    "TEXT/HTML; charset=utf-8",
    "image/svg+xml",
    "application/xhtml+xml",
    "application/xml",
    "text/xml",
    "application/rss+xml",
    "text/xsl",
    "text/javascript",
    "application/javascript",
    "text/css",
    "multipart/x-mixed-replace",
    "message/rfc822",
    # Not types at all: browsers take the last of several, and sniff what they cannot parse.
    "image/png, text/html",
    "image/png;,text/html",
    "html",
    "*/*",
]


async def get(
    storage: Storage, url: str, *, headers: dict[str, str] | None = None, **options: Any
) -> Response:
    """Ask an app for a file that its router serves with these options."""
    app = FastAPI(lifespan=storage_lifespan(storage))
    options = {"access": public, "mode": "proxy", **options}
    app.include_router(create_files_router(**options), prefix="/files")
    async with open_client(app) as client:
        return await client.get(f"/files/{url}", headers=headers)


def parse_disposition(value: str) -> tuple[str, str | None]:
    """Read a Content-Disposition with the standard library: the disposition, and the file name."""
    message = Message()
    message["Content-Disposition"] = value
    return message.get_content_disposition() or "", message.get_filename()


@pytest.mark.parametrize("content_type", SCRIPTABLE)
async def test_what_runs_script_is_saved_as_bytes(content_type: str) -> None:
    storage = MemoryStorage()
    await storage.upload(b"<script>", "page.html", content_type=content_type)

    answer = await get(storage, "page.html?download=0")

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="page.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_listed_type_is_shown_in_a_sandbox() -> None:
    storage = MemoryStorage()
    await storage.upload(b"<svg/>", "drawing.svg", content_type="image/svg+xml")
    await storage.upload(b"<p>", "page.html", content_type="text/html")

    svg = await get(storage, "drawing.svg", scriptable_types=["image/svg+xml"])
    html = await get(storage, "page.html", scriptable_types=["image/svg+xml"])

    assert svg.headers["content-type"] == "image/svg+xml"
    assert svg.headers["content-disposition"].startswith("inline")
    assert svg.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert html.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", "image/png", "application/pdf", "audio/wav", "video/webm"],
)
async def test_what_is_shown_is_sandboxed_and_not_sniffed(content_type: str) -> None:
    storage = MemoryStorage()
    await storage.upload(b"bytes", "file", content_type=content_type)

    answer = await get(storage, "file")

    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-disposition"] == 'inline; filename="file"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[0].split()[0] == "sandbox"
    assert "default-src 'none'" in policy
    assert "allow-scripts" not in policy[0]


async def test_the_developer_can_set_the_policies() -> None:
    storage = MemoryStorage()
    await storage.upload(b"bytes", "file.txt")

    plain = await get(storage, "file.txt")
    strict = await get(
        storage,
        "file.txt",
        content_security_policy="default-src 'self'",
        cross_origin_resource_policy="same-origin",
    )

    assert "cross-origin-resource-policy" not in plain.headers
    assert strict.headers["content-security-policy"] == "default-src 'self'"
    assert strict.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "default, query, expected",
    [
        ("inline", "", "inline"),
        ("inline", "?download=1", "attachment"),
        ("inline", "?download=0", "inline"),
        ("attachment", "", "attachment"),
        ("attachment", "?download=0", "inline"),
        ("attachment", "?download=true", "attachment"),
    ],
)
async def test_a_route_shows_or_saves_and_a_request_can_change_it(
    default: str, query: str, expected: str
) -> None:
    storage = MemoryStorage()
    await storage.upload(b"text", "file.txt")

    answer = await get(storage, f"file.txt{query}", disposition=default)

    assert parse_disposition(answer.headers["content-disposition"])[0] == expected


async def test_a_download_that_is_neither_yes_nor_no_is_refused() -> None:
    storage = MemoryStorage()
    await storage.upload(b"text", "file.txt")

    assert (await get(storage, "file.txt?download=perhaps")).status_code == 422


async def test_the_clients_own_file_name_comes_back(storage: Storage) -> None:
    app = FastAPI(lifespan=storage_lifespan(storage))
    app.include_router(create_files_router(access=public, mode="proxy"), prefix="/files")
    async with open_client(app) as client:
        await storage.upload(b"%PDF", "f.pdf", metadata={"filename": 'Żółć "final" 100%.pdf'})
        answer = await client.get("/files/f.pdf")

    assert answer.headers["content-disposition"] == (
        'inline; filename="____ _final_ 100_.pdf";'
        " filename*=UTF-8''%C5%BB%C3%B3%C5%82%C4%87%20%22final%22%20100%25.pdf"
    )


@given(name=st.text(min_size=1, max_size=40))
@settings(max_examples=100)
async def test_no_file_name_adds_or_ends_a_header(name: str) -> None:
    printable = "".join(char for char in name if char.isprintable()) or "x"
    storage = MemoryStorage()
    await storage.upload(b"text", "file.txt", metadata={"filename": printable})

    stored = await get(storage, "file.txt")
    asked = await get(storage, f"file.txt?filename={quote(name, errors='replace')}.txt&download=1")

    for answer in (stored, asked):
        value = answer.headers["content-disposition"]
        assert value.isascii()
        assert value.isprintable()
        assert "set-cookie" not in answer.headers
    # The quoted name, then the extended one; nothing else.
    _, _, parameters = stored.headers["content-disposition"].partition('; filename="')
    fallback, _, extended = parameters.partition('"')
    assert "\\" not in fallback
    saved = unquote(extended.removeprefix("; filename*=UTF-8''")) if extended else fallback
    assert saved == printable


@pytest.mark.parametrize(
    "wanted, saved",
    [
        ("report.txt", "report.txt"),
        ("report.TXT", "report.TXT"),
        ("report.text", "report.text"),
        ("report.exe", "file.txt"),
        ("report", "file.txt"),
        ("../../etc/report.txt", "report.txt"),
        ("..", "file.txt"),
        ("", "file.txt"),
    ],
)
async def test_an_unsigned_name_cannot_make_a_program_of_a_text(wanted: str, saved: str) -> None:
    storage = MemoryStorage()
    await storage.upload(b"text", "file.txt")

    answer = await get(storage, f"file.txt?filename={quote(wanted)}")

    assert parse_disposition(answer.headers["content-disposition"])[1] == saved


@pytest.mark.parametrize(
    "wanted", ["setup.exe", "setup.exe.", "setup.exe. .", "setup.exe\u202e.", ".bat", "a/.bat."]
)
async def test_an_unsigned_name_cannot_make_a_program_of_a_file_without_extension(
    wanted: str,
) -> None:
    storage = MemoryStorage()
    await storage.upload(b"MZ", "file")

    answer = await get(storage, f"file?filename={quote(wanted)}")

    assert parse_disposition(answer.headers["content-disposition"])[1] == "file"


async def test_a_name_alone_means_saving() -> None:
    storage = MemoryStorage()
    await storage.upload(b"text", "file.txt")

    answer = await get(storage, "file.txt?filename=report.txt")

    assert answer.headers["content-disposition"] == 'attachment; filename="report.txt"'


class TestCacheControl:
    """Who may keep a file, and for how long."""

    async def test_a_unique_name_is_immutable(self) -> None:
        storage = MemoryStorage()
        name = await storage.upload(b"text", unique_name(prefix="docs", extension=".tar.gz"))

        answer = await get(storage, name)

        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"

    @pytest.mark.parametrize(
        "name",
        [
            "file.txt",
            "0197f1d0-0000-4000-8000-000000000000.txt",
            "0197f1d0-0000-7000-8000-000000000000/file.txt",
            "copy-of-0197f1d0-0000-7000-8000-000000000000.txt",
        ],
    )
    async def test_any_other_name_is_asked_for_again(self, name: str) -> None:
        storage = MemoryStorage()
        await storage.upload(b"text", name)

        assert (await get(storage, name)).headers["cache-control"] == "no-cache"

    async def test_the_files_own_comes_before_the_routes(self) -> None:
        storage = MemoryStorage()
        await storage.upload(b"text", "own", cache_control="max-age=5")
        await storage.upload(b"text", "none")

        own = await get(storage, "own", cache_control="max-age=60")
        none = await get(storage, "none", cache_control="max-age=60")

        assert own.headers["cache-control"] == "max-age=5"
        assert none.headers["cache-control"] == "max-age=60"

    @pytest.mark.parametrize(
        "stored, sent",
        [
            ("public, max-age=60, s-maxage=600", "private, max-age=60"),
            ("PUBLIC", "private"),
            ("private, max-age=1", "private, max-age=1"),
            ("no-store", "private, no-store"),
            (None, "private, no-cache"),
        ],
    )
    async def test_no_shared_cache_keeps_what_not_everybody_may_read(
        self, stored: str | None, sent: str
    ) -> None:
        async def everybody_today() -> bool:
            return True

        storage = MemoryStorage()
        await storage.upload(b"text", "file", cache_control=stored)

        answer = await get(storage, "file", access=everybody_today)

        assert answer.headers["cache-control"] == sent

    async def test_a_rule_is_asked_again_for_a_unique_name_too(self) -> None:
        async def everybody_today() -> bool:
            return True

        storage = MemoryStorage()
        name = await storage.upload(b"text", unique_name())

        answer = await get(storage, name, access=everybody_today)

        assert answer.headers["cache-control"] == "private, no-cache"

    @pytest.mark.parametrize("stored, sent", [("max-age=5", "max-age=5"), (None, "no-cache")])
    async def test_a_304_says_what_a_200_would(self, stored: str | None, sent: str) -> None:
        storage = MemoryStorage()
        await storage.upload(b"text", "file", cache_control=stored)
        etag = (await storage.get_info("file")).etag
        assert etag is not None

        answer = await get(storage, "file", headers={"If-None-Match": etag})

        assert answer.status_code == 304
        assert answer.headers["cache-control"] == sent
        assert answer.headers["etag"] == etag
