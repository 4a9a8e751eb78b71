"""The example app as its users meet it: a real uvicorn, real HTTP, on each storage."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from PIL import Image

from tests.servers.http_server import serve_in_process
from tests.servers.s3 import S3Server
from tests.servers.s3_proxy import S3Request, run_s3_proxy

pytestmark = pytest.mark.anyio

APP = "example_app.main:app"
HTML = b"<!doctype html><script>alert(1)</script>"


def make_photo(width: int = 800, height: int = 600, *, orientation: int = 1) -> bytes:
    photo = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height), (30, 120, 90)).save(photo, "JPEG", exif=exif)
    return photo.getvalue()


@pytest.fixture(scope="module", params=["local", "memory", "s3"])
def base_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    environment = {"SECRET_KEY": "a key that only this test knows"}
    if request.param == "memory":
        environment["STORAGE_URL"] = "memory://?base_url=/files"
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        options = urlencode({"endpoint_url": server.endpoint_url})
        environment |= {
            "STORAGE_URL": f"s3://{server.bucket}/gallery?{options}",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
    directory = tmp_path_factory.mktemp("app")
    with serve_in_process(APP, environment=environment, cwd=directory) as (url, _):
        yield url


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url) as client:
        yield client


async def upload(
    client: httpx.AsyncClient, path: str, content: bytes, filename: str
) -> httpx.Response:
    return await client.post(path, files={"file": (filename, content)})


async def created(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_a_document_comes_back_as_it_was_uploaded(client: httpx.AsyncClient) -> None:
    content = b"%PDF-1.7\n" + bytes(range(256)) * 5000
    document = await created(await upload(client, "/api/documents", content, "Übersicht.pdf"))
    assert document["filename"] == "Übersicht.pdf"
    assert document["content_type"] == "application/pdf"
    assert document["size"] == len(content)

    viewed = await client.get(document["url"])
    assert viewed.status_code == 200
    assert viewed.content == content
    assert viewed.headers["content-type"] == "application/pdf"

    downloaded = await client.get(document["download_url"])
    assert downloaded.content == content
    assert downloaded.headers["content-disposition"].startswith("attachment")
    assert "%C3%9Cbersicht.pdf" in downloaded.headers["content-disposition"]
    assert document["id"] in [row["id"] for row in (await client.get("/api/documents")).json()]


async def test_a_deleted_document_is_gone_with_its_file(client: httpx.AsyncClient) -> None:
    document = await created(await upload(client, "/api/documents", b"short lived", "note.txt"))
    assert (await client.delete(f"/api/documents/{document['id']}")).status_code == 204
    assert (await client.get(document["url"])).status_code == 404
    assert (await client.delete(f"/api/documents/{document['id']}")).status_code == 404
    assert document["id"] not in [row["id"] for row in (await client.get("/api/documents")).json()]


async def test_a_photo_gets_a_thumbnail_that_stands_upright(client: httpx.AsyncClient) -> None:
    rotated = make_photo(800, 600, orientation=6)
    photo = await created(await upload(client, "/api/photos", rotated, "portrait.jpg"))
    assert (photo["width"], photo["height"]) == (600, 800)
    assert (photo["thumbnail_width"], photo["thumbnail_height"]) == (240, 320)
    thumbnail = await client.get(photo["thumbnail_url"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    with Image.open(BytesIO(thumbnail.content)) as image:
        assert image.size == (240, 320)

    assert (await client.delete(f"/api/photos/{photo['id']}")).status_code == 204
    assert (await client.get(photo["url"])).status_code == 404
    assert (await client.get(photo["thumbnail_url"])).status_code == 404


async def test_a_photo_that_is_none_is_refused_and_leaves_no_row(client: httpx.AsyncClient) -> None:
    before = (await client.get("/api/photos")).json()
    refused = await upload(client, "/api/photos", HTML, "photo.png")
    assert refused.status_code == 415
    assert refused.headers["content-type"] == "application/problem+json"
    truncated = await upload(client, "/api/photos", make_photo()[:2000], "cut.jpg")
    assert truncated.status_code == 422
    assert (await client.get("/api/photos")).json() == before


async def test_the_page_lists_what_the_forms_sent(client: httpx.AsyncClient) -> None:
    for path, content, filename in [
        ("/documents", b"one,two\n1,2\n", "table <b>.csv"),
        ("/photos", make_photo(), "lake.jpg"),
    ]:
        answer = await upload(client, path, content, filename)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
    page = (await client.get("/")).text
    assert "table &lt;b&gt;.csv" in page
    assert "800 × 600 px" in page
    assert "Thumbnail 320 × 240 px" in page


async def test_the_page_says_why_a_form_was_refused(client: httpx.AsyncClient) -> None:
    answer = await upload(client, "/photos", HTML, "photo.png")
    assert answer.status_code == 415
    assert 'role="alert"' in answer.text
    assert "allowed: image/jpeg, image/png, image/webp, image/gif" in answer.text


async def test_a_script_that_was_uploaded_never_runs_as_the_app(
    client: httpx.AsyncClient, base_url: str
) -> None:
    document = await created(await upload(client, "/api/documents", HTML, "page.html"))
    answer = await client.get(document["url"])
    assert answer.status_code == 200
    other_origin = not str(answer.url).startswith(base_url)
    harmless = answer.headers["content-type"] == "application/octet-stream"
    assert other_origin or harmless


async def test_a_link_that_was_changed_does_not_work(client: httpx.AsyncClient) -> None:
    document = await created(await upload(client, "/api/documents", b"secret", "secret.txt"))
    assert (await client.get(document["url"].partition("?")[0])).status_code == 403


def test_the_embedded_default_keeps_everything_in_var(tmp_path: Path) -> None:
    with serve_in_process(APP, cwd=tmp_path) as (url, _):
        answer = httpx.post(f"{url}/api/documents", files={"file": ("a.txt", b"kept")})
        assert answer.status_code == 201
        link = answer.json()["url"]
        assert link.startswith("/files/")
    with serve_in_process(APP, cwd=tmp_path) as (url, _):  # The key is kept too, so the link works.
        assert httpx.get(url + link).content == b"kept"
    assert {path.name for path in (tmp_path / "var").iterdir()} == {
        "example.db",
        "files",
        "secret-key",
    }


def test_a_photo_without_a_thumbnail_leaves_no_file(tmp_path: Path) -> None:
    with serve_in_process(APP, cwd=tmp_path) as (url, _):
        photo = {"file": ("cut.jpg", make_photo()[:2000])}
        assert httpx.post(f"{url}/api/photos", files=photo).status_code == 422
        assert list((tmp_path / "var" / "files").glob("photos/*")) == []


async def test_the_database_can_be_written_to_while_a_thumbnail_is_made(
    s3_server: S3Server, tmp_path: Path
) -> None:
    written = []

    async def write(request: S3Request) -> None:
        if request.method == "GET" and "/photos/" in request.target:
            with closing(sqlite3.connect(tmp_path / "var" / "example.db", timeout=0)) as database:
                database.execute("BEGIN IMMEDIATE")
            written.append(request.target)

    async with run_s3_proxy(s3_server.endpoint_url) as proxy, AsyncExitStack() as stack:
        proxy.before_answer = write
        options = urlencode({"endpoint_url": proxy.endpoint_url})
        environment = {
            "STORAGE_URL": f"s3://{s3_server.bucket}/writing?{options}",
            "AWS_ACCESS_KEY_ID": s3_server.access_key,
            "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        }
        server = ExitStack()
        stack.push_async_callback(asyncio.to_thread, server.close)
        # In a thread: the app asks the proxy, which is in this loop, before it has started.
        url, _ = await asyncio.to_thread(
            server.enter_context, serve_in_process(APP, environment=environment, cwd=tmp_path)
        )
        async with httpx.AsyncClient(base_url=url) as client:
            await created(await upload(client, "/api/photos", make_photo(), "lake.jpg"))
    assert written


def test_a_missing_bucket_stops_the_start_with_one_clear_error(
    s3_server: S3Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environment = {
        "STORAGE_URL": f"s3://no-such-bucket?{urlencode({'endpoint_url': s3_server.endpoint_url})}",
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    with (
        pytest.raises(RuntimeError, match="No server accepts"),
        serve_in_process(APP, environment=environment, cwd=tmp_path),
    ):
        raise AssertionError("It must not start.")
    errors = capfd.readouterr().err
    assert "no-such-bucket" in errors
    assert s3_server.secret_key not in errors
