"""Forms and raw bodies that are stored while they arrive, asked over ASGI on every backend."""

import hashlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
from fastapi import Body, Depends, File, Form, Request, Response
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from fastapi_async_storages import MemoryStorage, Storage, StorageFile, Storages
from fastapi_async_storages.dependencies import get_storage, named_storage
from fastapi_async_storages.exceptions import ConfigurationError, InvalidNameError, StorageError
from fastapi_async_storages.streamed_forms import StreamedForm, StreamedUpload
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.multipart import FormLimits
from fastapi_async_storages.uploads.rules import UploadRules
from tests.asgi import open_client
from tests.uploads.samples import PNG
from tests.uploads.streaming_requests import (
    VideoIn,
    list_names,
    make_app,
    make_file_app,
    make_form,
    make_video_app,
    post_parts,
    read,
)

pytestmark = pytest.mark.anyio


async def test_a_file_of_a_form_is_stored_with_all_that_is_known(storage: Storage) -> None:
    content = PNG + bytes(6 * 1024 * 1024)  # More than one part of S3.
    app = make_app(storage)

    @app.post("/photos")
    async def create(
        photo: Annotated[StorageFile, StreamedUpload("photo", prefix="photos")],
    ) -> str:
        assert photo.info
        assert (photo.info.size, photo.info.content_type) == (len(content), "image/png")
        assert photo.info.filename == "Foto 日本.jpg"
        assert photo.info.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert (photo.info.width, photo.info.height) == (32, 16)
        return photo.name

    async with open_client(app) as client:
        response = await client.post("/photos", files={"photo": ("Foto 日本.jpg", content)})
    assert response.status_code == 200
    assert await list_names(storage) == [response.json()]
    assert response.json().startswith("photos/")
    assert response.json().endswith(".png")
    assert await read(storage, response.json()) == content


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
async def test_a_raw_body_is_the_file(storage: Storage, method: str) -> None:
    app = make_file_app(storage, StreamedUpload("file"), method)
    headers = {
        "content-type": "application/octet-stream",
        "content-disposition": "attachment; filename=\"x.png\"; filename*=UTF-8''%E6%97%A5.jpg",
    }
    async with open_client(app) as client:
        stored = (await client.request(method, "/", content=PNG, headers=headers)).json()
    assert stored == {"name": stored["name"], "filename": "日.jpg", "type": "image/png"}
    assert await read(storage, stored["name"]) == PNG


@pytest.mark.parametrize(
    "content_type,content,media_type",
    [
        ("text/csv", b"1,2\n", "text/csv"),
        ("application/x-own", bytes(9), "application/x-own"),
        (None, b"1,2\n", "text/plain"),
        # What curl sends when it is told nothing: no claim.
        ("application/x-www-form-urlencoded", bytes(9), "application/octet-stream"),
    ],
)
async def test_a_put_may_have_any_type(
    content_type: str | None, content: bytes, media_type: str
) -> None:
    storage = MemoryStorage()
    headers = {"content-type": content_type} if content_type else {}
    async with open_client(make_file_app(storage, StreamedUpload("file"), "PUT")) as client:
        stored = (await client.put("/", content=content, headers=headers)).json()
    assert stored == {"name": stored["name"], "filename": None, "type": media_type}


@pytest.mark.parametrize(
    "header,filename",
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=a.txt", "a.txt"),
        ("attachment; FileName* = utf-8'en'%c3%a4.txt", "ä.txt"),
        ("attachment; filename*=UTF-8''%ff.txt", "�.txt"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ("attachment; filename*=UTF-8''a%0d%0ab%00%E2%80%AE.txt", "ab.txt"),
        ('attachment; filename="', '"'),
        ("attachment", None),
        ("", None),
    ],
)
async def test_the_file_name_of_a_raw_body(header: str, filename: str | None) -> None:
    storage = MemoryStorage()
    async with open_client(make_file_app(storage, StreamedUpload("file"), "PUT")) as client:
        response = await client.put("/", content=b"x", headers={"content-disposition": header})
    assert response.json()["filename"] == filename


async def test_an_umlaut_in_a_file_name_that_is_not_encoded() -> None:
    storage = MemoryStorage()
    headers = [(b"content-disposition", 'attachment; filename="ä.txt"'.encode())]
    async with open_client(make_file_app(storage, StreamedUpload("file"), "PUT")) as client:
        assert (await client.put("/", content=b"x", headers=headers)).json()["filename"] == "ä.txt"


async def test_fields_come_before_and_after_the_files(storage: Storage) -> None:
    async with open_client(make_video_app(storage)) as client:
        status, answer = await post_parts(
            client,
            "/videos",
            ('name="tags"', b"first"),
            ('name="video"; filename="a.txt"', b"frames"),
            ('name="title"', "Straße".encode()),
            ('name="year"', b""),  # An input that was left empty has its default.
            ('name="poster"; filename="b.png"', PNG),
            ('name="submit"', b"what the model does not know"),
            ('name="tags"', b"second"),
        )
    assert status == 200
    assert answer["fields"] == {"title": "Straße", "year": 2026, "tags": ["first", "second"]}
    assert sorted(answer["files"].values()) == await list_names(storage)
    assert await read(storage, answer["files"]["video"]) == b"frames"
    assert await read(storage, answer["files"]["poster"]) == PNG


@pytest.mark.parametrize(
    "poster", [[], [('name="poster"; filename=""', b"")], [('name="poster"', b"")]]
)
async def test_a_file_that_nobody_chose_is_missing(poster: list[tuple[str, bytes]]) -> None:
    async with open_client(make_video_app(MemoryStorage())) as client:
        status, answer = await post_parts(
            client,
            "/videos",
            *poster,
            ('name="title"', b"x"),
            ('name="video"; filename="a.txt"', b"frames"),
        )
    assert status == 200
    assert answer["files"].keys() == {"video"}


async def test_a_file_that_is_not_required() -> None:
    storage = MemoryStorage()
    app = make_file_app(storage, StreamedUpload("file", required=False))
    async with open_client(app) as client:
        assert await post_parts(client, "/") == (200, {"name": None})
        body, headers = make_form(('name="file"; filename=""', b"nameless"))

        async def bytewise() -> AsyncIterator[bytes]:
            for byte in body:
                yield bytes([byte])

        stored = (await client.post("/", content=bytewise(), headers=headers)).json()
    assert stored["filename"] is None
    assert await list_names(storage) == [stored["name"]]
    assert await read(storage, stored["name"]) == b"nameless"


async def test_the_storage_is_the_one_that_was_named_and_overrides_count() -> None:
    default, avatars, instead = MemoryStorage(), MemoryStorage(), MemoryStorage()
    app = make_app(Storages(default=default, avatars=avatars))

    @app.put("/default")
    async def put(file: Annotated[StorageFile, StreamedUpload("file")]) -> str:
        return file.name

    @app.put("/avatars")
    async def put_avatar(
        file: Annotated[StorageFile, StreamedUpload("file", storage="avatars", cache_control="x")],
    ) -> str:
        assert file.info
        assert file.info.cache_control == "x"
        return file.name

    async with open_client(app) as client:
        names = [(await client.put(path, content=b"x")).json() for path in ("/default", "/avatars")]
        assert [await list_names(default), await list_names(avatars)] == [names[:1], names[1:]]
        for dependency in (get_storage, named_storage("avatars")):
            app.dependency_overrides[dependency] = lambda: instead
        names = [(await client.put(path, content=b"x")).json() for path in ("/default", "/avatars")]
    assert sorted(names) == await list_names(instead)


async def test_progress_is_told_while_the_body_comes() -> None:
    upload_id: ContextVar[str] = ContextVar("upload_id")
    told: list[tuple[str, int, int | None]] = []

    async def identify(request: Request) -> None:
        upload_id.set(request.headers["x-upload"])

    async def progress(received: int, total: int | None) -> None:
        told.append((upload_id.get(), received, total))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 100

    app = make_app(MemoryStorage())

    @app.put("/", dependencies=[Depends(identify)])
    async def put(file: Annotated[StorageFile, StreamedUpload("f", progress=progress)]) -> None:
        pass

    async with open_client(app) as client:
        await client.put("/", content=chunks(), headers={"x-upload": "a"})
        await client.put("/", content=b"x" * 500, headers={"x-upload": "b"})
    assert told == [("a", 100, None), ("a", 200, None), ("a", 300, None), ("b", 500, 500)]


async def test_a_middleware_that_wraps_the_request_lets_the_body_flow() -> None:
    chunks_taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal chunks_taken
        for _ in range(10):
            chunks_taken += 1
            yield b"x" * 100

    async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    app = make_file_app(
        MemoryStorage(), StreamedUpload("file", rules=UploadRules(max_size=250)), "PUT"
    )
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    async with open_client(app) as client:
        assert (await client.put("/", content=chunks())).status_code == 413
    assert chunks_taken < 10


async def test_validators_know_what_a_raw_body_announces() -> None:
    sizes: list[int | None] = []

    async def note(file: IncomingFile) -> None:
        sizes.append(file.size)

    upload = StreamedUpload("file", rules=UploadRules(validators=[note]))
    async with open_client(make_file_app(MemoryStorage(), upload, "PUT")) as client:
        await client.put("/", content=b"12345")
        await client.put("/", files={"file": b"12345"})
    assert sizes == [5, None]


async def test_a_body_that_was_read_before_is_told_to_the_developer() -> None:
    storage = MemoryStorage()
    app = make_app(storage)

    async def read(request: Request) -> None:
        async for _ in request.stream():
            pass

    @app.put("/", dependencies=[Depends(read)])
    async def put(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        pass

    del app.exception_handlers[StorageError]  # Answers it with 500, and the log has it.
    async with open_client(app) as client:
        with pytest.raises(ConfigurationError, match="body of PUT / was read before"):
            await client.put("/", content=b"x")
    assert await list_names(storage) == []


@pytest.mark.parametrize("second", [Form(), File(), Body(), StreamedUpload("b")])
async def test_an_endpoint_that_would_read_its_body_twice_stops_the_app(second: Any) -> None:
    app = make_app(MemoryStorage())

    @app.post("/twice")
    async def twice(
        first: Annotated[StorageFile, StreamedUpload("a")], second: Annotated[Any, second]
    ) -> None:
        pass

    with pytest.raises(ConfigurationError, match="/twice would read its body twice"):
        async with open_client(app):
            pass


async def test_one_upload_may_be_asked_for_at_several_places() -> None:
    storage = MemoryStorage()
    app = make_app(storage)
    upload = StreamedUpload("file")

    async def get_name(file: Annotated[StorageFile, upload]) -> str:
        return file.name

    @app.put("/")
    async def put(
        file: Annotated[StorageFile, upload], name: Annotated[str, Depends(get_name)]
    ) -> bool:
        return file.name == name

    async with open_client(app) as client:
        assert (await client.put("/", content=b"x")).json() is True
    assert len(await list_names(storage)) == 1


@pytest.mark.parametrize(
    "files,options",
    [
        ({}, {}),
        ({"a": None}, {"optional": ["b"]}),
        ({"title": None}, {"fields": VideoIn}),
    ],
)
def test_forms_that_no_request_can_have(files: dict[str, None], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        StreamedForm(files, **options)


def test_a_prefix_that_leads_out_is_told_at_once() -> None:
    with pytest.raises(InvalidNameError):
        StreamedUpload("a", prefix="../b")


async def test_limits_can_be_set() -> None:
    limits = FormLimits(max_fields=1)
    app = make_file_app(MemoryStorage(), StreamedUpload("file", limits=limits))
    async with open_client(app) as client:
        status, _ = await post_parts(
            client, "/", ('name="file"; filename="a"', b"x"), ("name=a", b""), ("name=b", b"")
        )
    assert status == 413
