"""Streamed uploads that are refused: each says why, and leaves nothing behind."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated

import pytest

from fastapi_async_storages import MemoryStorage, Storage, StorageFile
from fastapi_async_storages.keys import is_unique_name
from fastapi_async_storages.streamed_forms import StreamedUpload
from fastapi_async_storages.uploads.rules import ImageRules, UploadRules
from tests.asgi import open_client
from tests.uploads.samples import HTML, PDF, PNG, make_png_header
from tests.uploads.streaming_requests import (
    assert_untouched,
    call,
    list_names,
    make_app,
    make_file_app,
    make_form,
    make_video_app,
    post_parts,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "parts,kind,loc",
    [
        ([], "missing", ["body", "video"]),
        ([('name="video"; filename=""', b"")], "missing", ["body", "video"]),
        ([('name="video"; filename="a"', b"x")] * 2, "duplicate_file", ["body", "video"]),
        ([('name="virus"; filename="a"', b"x")], "unexpected_file", ["body", "virus"]),
        ([('name="video"', b"text")], "file_expected", ["body", "video"]),
        ([('name="year"', b"soon")], "int_parsing", ["body", "year"]),
    ],
)
async def test_a_form_that_is_not_the_expected_one(
    storage: Storage, tmp_path: Path, parts: list[tuple[str, bytes]], kind: str, loc: list[str]
) -> None:
    stored_first = ('name="poster"; filename="b.png"', PNG)
    async with open_client(make_video_app(storage)) as client:
        status, answer = await post_parts(
            client, "/videos", stored_first, ('name="title"', b"x"), *parts
        )
        assert status == 422
        # As FastAPI tells errors of the body.
        assert (kind, loc) in [(error["type"], error["loc"]) for error in answer["detail"]]
        await assert_untouched(storage, tmp_path)


async def test_all_that_is_missing_is_told_at_once() -> None:
    async with open_client(make_video_app(MemoryStorage())) as client:
        _, answer = await post_parts(client, "/videos", ('name="year"', b"soon"))
    assert [error["loc"][-1] for error in answer["detail"]] == ["video", "title", "year"]
    assert answer["detail"][0] == {
        "type": "missing",
        "loc": ["body", "video"],
        "msg": "Field required",
        "input": None,
    }


LATE_TROUBLES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "cut off": (400, lambda body: body[:-12]),
    "wrong boundary": (400, lambda body: body.replace(b"--fence", b"--other")),
    "a boundary without CRLF": (400, lambda body: body.replace(b"--fence--", b"--fence  x")),
    "1 MiB header": (
        400,
        lambda body: body.replace(
            b"--fence--", b"--fence\r\nX: " + bytes(1024 * 1024) + b"\r\n\r\n\r\n--fence--"
        ),
    ),
    "10,000 fields": (
        413,
        lambda body: body.replace(
            b"--fence--",
            b"--fence\r\nContent-Disposition: form-data; name=tags\r\n\r\nx\r\n" * 10_000
            + b"--fence--",
        ),
    ),
    "a field of 2 MiB": (
        413,
        lambda body: body.replace(b"name=title\r\n\r\n", b"name=title\r\n\r\n" + b"x" * 2**21),
    ),
}


@pytest.mark.parametrize("trouble", LATE_TROUBLES)
async def test_a_form_that_is_malformed_behind_its_file(
    storage: Storage, tmp_path: Path, trouble: str
) -> None:
    status, damage = LATE_TROUBLES[trouble]
    body, headers = make_form(('name="video"; filename="a"', b"x"), ("name=title", b"y"))
    async with open_client(make_video_app(storage)) as client:
        response = await client.post("/videos", content=damage(body), headers=headers)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        await assert_untouched(storage, tmp_path)


@pytest.mark.parametrize(
    "filename,kept",
    [
        ("../../etc/passwd", "passwd"),
        ('a\\"b.txt', 'a"b.txt'),
        ("a%0D%0Ab.txt", "a%0D%0Ab.txt"),  # How browsers send a line break.
        ("a\nb\0.txt", "ab.txt"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("ü" * 2000 + ".txt", "ü" * 125 + ".txt"),
    ],
)
async def test_file_names_are_data(storage: Storage, filename: str, kept: str) -> None:
    app = make_file_app(storage, StreamedUpload("file"))
    async with open_client(app) as client:
        _, stored = await post_parts(client, "/", (f'name="file"; filename="{filename}"', b"x"))
    assert stored["filename"] == kept
    assert "/" not in stored["name"]
    assert is_unique_name(stored["name"].partition(".")[0])
    assert (await storage.get_info(stored["name"])).filename == kept


async def test_a_file_name_that_splits_its_header_or_is_too_long_is_malformed() -> None:
    app = make_file_app(MemoryStorage(), StreamedUpload("file"))
    async with open_client(app) as client:
        for filename in ("a\r\nb", "ü" * 4096):
            status, _ = await post_parts(client, "/", (f'name="file"; filename="{filename}"', b""))
            assert status == 400


@pytest.mark.parametrize(
    "content,filename,rules,status",
    [
        (HTML, "a.png", UploadRules(types=["image/*"]), 415),
        (PDF, "a.png", UploadRules(extensions=[".png"]), 415),
        (PNG, "a.jpg", UploadRules(mismatch="refuse"), 415),
        (PNG, "a.jpg", UploadRules(max_size=len(PNG) - 1), 413),
        (PNG, "a.jpg", UploadRules(min_size=len(PNG) + 1), 422),
        (make_png_header(50_000, 50_000), "a.png", UploadRules(image=ImageRules()), 422),
    ],
    ids=["HTML as png", "PDF as png", "PNG as jpg", "too large", "too small", "pixels"],
)
@pytest.mark.parametrize("kind", ["form", "raw", "stream"])
async def test_files_that_break_a_rule(
    storage: Storage,
    tmp_path: Path,
    content: bytes,
    filename: str,
    rules: UploadRules,
    status: int,
    kind: str,
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 10):
            yield content[start : start + 10]

    headers = {
        "content-type": "application/octet-stream",
        "content-disposition": f"attachment; filename={filename}",
    }
    async with open_client(make_file_app(storage, StreamedUpload("file", rules=rules))) as client:
        if kind == "form":
            response = await client.post("/", files={"file": (filename, content)})
        else:
            body = content if kind == "raw" else chunks()
            response = await client.post("/", content=body, headers=headers)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
        await assert_untouched(storage, tmp_path)


async def test_a_png_named_jpg_is_stored_as_what_it_is() -> None:
    storage = MemoryStorage()
    app = make_file_app(storage, StreamedUpload("file", rules=UploadRules(types=["image/*"])))
    async with open_client(app) as client:
        response = await client.post("/", files={"file": ("a.jpg", PNG, "image/jpeg")})
    assert response.json()["type"] == "image/png"
    assert response.json()["name"].endswith(".png")


@pytest.mark.parametrize(
    "announced,answer",
    [
        (1000 + 2_621_440, (400, 1)),  # Read, and found to be no form.
        (1001 + 2_621_440, (413, 0)),
        (10**15, (413, 0)),
    ],
)
async def test_a_form_that_announces_too_much_is_refused_before_a_byte_is_read(
    announced: int, answer: tuple[int, int]
) -> None:
    app = make_file_app(MemoryStorage(), StreamedUpload("f", rules=UploadRules(max_size=1000)))
    headers = [
        (b"content-type", b"multipart/form-data; boundary=fence"),
        (b"content-length", str(announced).encode()),
    ]
    assert await call(app, {"method": "POST", "headers": headers}, b"") == answer


async def test_a_raw_body_that_announces_one_byte_too_much_is_refused_unread() -> None:
    app = make_file_app(
        MemoryStorage(), StreamedUpload("f", rules=UploadRules(max_size=1000)), "PUT"
    )
    scope = {"method": "PUT", "headers": [(b"content-length", b"1001")]}
    assert await call(app, scope) == (413, 0)
    scope = {"method": "PUT", "headers": [(b"content-length", b"1000")]}
    assert await call(app, scope, b"x" * 1000) == (200, 1)


async def test_a_length_that_lies_does_not_help_and_the_rest_is_not_read() -> None:
    storage = MemoryStorage()
    rules = UploadRules(max_size=1000)
    app = make_file_app(storage, StreamedUpload("f", rules=rules), "PUT")
    scope = {"method": "PUT", "headers": [(b"content-length", b"10")]}
    assert await call(app, scope, b"x" * 1000, b"x", b"x", b"x") == (413, 2)
    head = b'--fence\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    headers = [
        (b"content-type", b"multipart/form-data; boundary=fence"),
        (b"content-length", b"10"),
    ]
    scope = {"method": "PUT", "headers": headers}
    assert await call(app, scope, head, b"x" * 1000, b"x", b"\r\n--fence--") == (413, 3)
    assert await call(app, scope, head, b"x" * 1000, b"\r\n--fence--") == (200, 3)
    assert len(await list_names(storage)) == 1


async def test_a_client_that_leaves_is_no_error_of_the_server(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_file_app(storage, StreamedUpload("f"), "PUT")
    scope = {"method": "PUT", "headers": [(b"content-length", b"100000")]}
    assert await call(app, scope, b"x" * 50_000, leaves=True) == (400, 2)
    assert caplog.messages == []
    await assert_untouched(storage, tmp_path)


@pytest.mark.parametrize(
    "headers,status",
    [
        ({}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "video/mp4", "content-range": "bytes 0-9/100"}, 400),
        ({"content-type": "multipart/form-data"}, 400),
        ({"content-type": f"multipart/form-data; boundary={'x' * 300}"}, 400),
    ],
)
async def test_headers_that_no_file_can_follow(headers: dict[str, str], status: int) -> None:
    storage = MemoryStorage()
    async with open_client(make_file_app(storage, StreamedUpload("file"))) as client:
        response = await client.post("/", content=b"file=name.txt", headers=headers)
    assert response.status_code == status
    if status == 415:
        assert response.json()["limit"] == ["multipart/form-data", "application/octet-stream"]
    assert await list_names(storage) == []


async def test_a_form_of_more_than_one_file_has_no_raw_body() -> None:
    async with open_client(make_video_app(MemoryStorage())) as client:
        response = await client.post(
            "/videos", content=b"x", headers={"content-type": "application/octet-stream"}
        )
    assert response.status_code == 415
    assert response.json()["limit"] == ["multipart/form-data"]


async def test_the_body_limit_of_fastapi_holds_too(storage: Storage, tmp_path: Path) -> None:
    app = make_app(storage)

    @app.put("/", max_body_size=1000)
    async def put(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        pass

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    async with open_client(app) as client:
        assert (await client.put("/", content=chunks())).status_code == 413
        await assert_untouched(storage, tmp_path)
