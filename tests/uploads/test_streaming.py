"""Forms and raw bodies that are stored while they arrive, asked over ASGI on every backend."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Depends,
    FastAPI,
    File,
    Form,
    HTTPException,
    Request,
    Response,
)
from fastapi.exceptions import ResponseValidationError
from httpx import AsyncClient
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastapi_async_storages import LocalStorage, MemoryStorage, Storage, StorageFile, Storages
from fastapi_async_storages.dependencies import (
    StreamedForm,
    StreamedUpload,
    get_storage,
    named_storage,
)
from fastapi_async_storages.exceptions import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidNameError,
    StorageError,
)
from fastapi_async_storages.http.problems import add_problem_handlers
from fastapi_async_storages.keys import is_unique_name
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.multipart import FormLimits
from fastapi_async_storages.uploads.rules import ImageRules, UploadRules
from fastapi_async_storages.uploads.streaming import UploadedForm
from tests.asgi import open_client
from tests.uploads.samples import HTML, PDF, PNG, make_png_header

pytestmark = pytest.mark.anyio


class VideoIn(BaseModel):
    title: str
    year: int = 2026
    tags: list[str] = []


VIDEO_FORM = StreamedForm(
    {"video": UploadRules(max_size=200), "poster": UploadRules(types=["image/*"])},
    optional=["poster"],
    fields=VideoIn,
    prefix="videos",
)


def make_app(storages: Storages | Storage) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storages))
    add_problem_handlers(app)
    return app


def make_file_app(storage: Storage, dependency: Any, method: str = "POST") -> FastAPI:
    """Make an app that answers with what it knows of the file."""
    app = make_app(storage)

    @app.api_route("/", methods=[method])
    async def create(file: Annotated[StorageFile | None, dependency]) -> dict[str, Any]:
        if file is None:
            return {"name": None}
        assert file.info
        return {"name": file.name, "filename": file.info.filename, "type": file.info.content_type}

    return app


def make_video_app(storage: Storage) -> FastAPI:
    app = make_app(storage)

    @app.post("/videos")
    async def create(form: Annotated[UploadedForm[VideoIn], VIDEO_FORM]) -> dict[str, Any]:
        names = {part: file.name for part, file in form.files.items()}
        return {"files": names, "fields": form.fields}

    return app


async def list_names(storage: Storage) -> list[str]:
    async with storage:  # The app has closed it when it stopped.
        return [info.name async for info in storage.list()]


async def assert_untouched(storage: Storage, tmp_path: Path) -> None:
    """Check that nothing is left: no file, no part of an upload, no temporary file."""
    assert await list_names(storage) == []
    if isinstance(storage, LocalStorage):
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [path for path in files if path.parent.name != "locks"] == []


async def read(storage: Storage, name: str) -> bytes:
    async with storage, storage.open(name) as reader:
        return await reader.read()


def make_form(*parts: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Make a form of parts, each with its ``Content-Disposition`` parameters as they are sent."""
    body = b"".join(
        b"--fence\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (parameters.encode(), text)
        for parameters, text in parts
    )
    return body + b"--fence--\r\n", {"content-type": "multipart/form-data; boundary=fence"}


async def post_parts(
    client: AsyncClient, path: str, *parts: tuple[str, bytes]
) -> tuple[int, dict[str, Any]]:
    body, headers = make_form(*parts)
    response = await client.post(path, content=body, headers=headers)
    return response.status_code, response.json()


# What is received


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
        _, stored = await post_parts(client, "/", ('name="file"; filename=""', b"nameless"))
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


async def test_validators_know_what_a_raw_body_announces() -> None:
    sizes: list[int | None] = []

    async def note(file: IncomingFile) -> None:
        sizes.append(file.size)

    upload = StreamedUpload("file", rules=UploadRules(validators=[note]))
    async with open_client(make_file_app(MemoryStorage(), upload, "PUT")) as client:
        await client.put("/", content=b"12345")
        await client.put("/", files={"file": b"12345"})
    assert sizes == [5, None]


# What is refused, with nothing left behind


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


async def call(
    app: FastAPI, scope: dict[str, Any], *chunks: bytes, leaves: bool = False
) -> tuple[int, int]:
    """Call an app with a body; return the status, and how many chunks were asked for."""
    asked, statuses = 0, list[int]()

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked > len(chunks) and leaves:
            return {"type": "http.disconnect"}
        body = chunks[asked - 1] if asked <= len(chunks) else b""
        return {"type": "http.request", "body": body, "more_body": asked < len(chunks) or leaves}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async with app.router.lifespan_context(app) as state:
        path = {"type": "http", "path": "/", "query_string": b"", "state": dict(state or {})}
        await app({**path, **scope}, receive, send)  # type: ignore[arg-type]
    return statuses[0], asked


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


# What happens behind the upload


class AbortedError(Exception):
    pass


class AnswerWatch:
    """Lists what is stored when each answer begins."""

    def __init__(self, app: ASGIApp, storage: Storage, seen: list[list[str]]) -> None:
        self.app = app
        self.storage = storage
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.seen.append(await list_names(self.storage))
            await send(message)

        await self.app(scope, receive, watch)


def make_router(upload: Any) -> APIRouter:
    """Make routes whose requests end in many ways."""
    router = APIRouter()

    async def refuse() -> None:
        raise HTTPException(403)

    @router.post("/succeeds")
    async def succeed(file: Annotated[StorageFile, upload]) -> None:
        assert await file.exists()

    @router.post("/http")
    async def raise_http(file: Annotated[StorageFile, upload]) -> None:
        assert await file.exists()
        raise HTTPException(409)

    @router.post("/other")
    async def raise_other(file: Annotated[StorageFile, upload]) -> None:
        raise AbortedError

    @router.post("/response")
    async def response(file: Annotated[StorageFile, upload]) -> int:
        return "no number"  # type: ignore[return-value]

    @router.post("/later")
    async def later(
        file: Annotated[StorageFile, upload], _: Annotated[None, Depends(refuse)]
    ) -> None:
        pass

    @router.post("/invalid")
    async def invalid(file: Annotated[StorageFile, upload], number: int) -> None:
        pass

    @router.post("/kept")
    async def kept(file: Annotated[StorageFile, upload]) -> None:
        file._fresh = False  # As a tracked flush does.
        raise HTTPException(409)

    return router


@asynccontextmanager
async def failing_app(
    storage: Storage, upload: Any = None
) -> AsyncIterator[tuple[AsyncClient, list[list[str]]]]:
    """Yield a client, and what was stored when each answer began."""
    seen: list[list[str]] = []
    app = make_app(storage)
    app.add_middleware(AnswerWatch, storage=storage, seen=seen)
    app.include_router(make_router(upload or StreamedUpload("file")))

    @app.exception_handler(AbortedError)
    async def answer(request: Request, error: Exception) -> Response:
        return Response(status_code=418)

    async with open_client(app) as client:
        yield client, seen


@pytest.mark.parametrize(
    "path,status",
    [
        ("/http", 409),
        ("/other", 418),
        ("/later", 403),
        ("/invalid?number=x", 422),
    ],
)
async def test_a_request_that_fails_has_deleted_its_file_before_the_answer(
    storage: Storage, tmp_path: Path, path: str, status: int
) -> None:
    async with failing_app(storage) as (client, stored_at_answer):
        response = await client.post(path, files={"file": ("a.txt", b"x")})
        assert response.status_code == status
        assert stored_at_answer == [[]]
        await assert_untouched(storage, tmp_path)


async def test_a_response_that_does_not_validate_deletes_the_file(
    storage: Storage, tmp_path: Path
) -> None:
    async with failing_app(storage) as (client, _):
        with pytest.raises(ResponseValidationError):
            await client.post("/response", files={"file": ("a.txt", b"x")})
        await assert_untouched(storage, tmp_path)


async def test_a_file_that_someone_promised_to_keep_stays() -> None:
    storage = MemoryStorage()
    async with failing_app(storage) as (client, _):
        response = await client.post("/kept", files={"file": ("a.txt", b"x")})
    assert response.status_code == 409
    assert len(await list_names(storage)) == 1


async def test_a_request_that_succeeds_keeps_its_file() -> None:
    storage = MemoryStorage()
    async with failing_app(storage) as (client, stored_at_answer):
        await client.post("/succeeds", files={"file": ("a.txt", b"x")})
    assert stored_at_answer == [await list_names(storage)]
    assert len(stored_at_answer[0]) == 1


async def test_what_fails_behind_the_answer_deletes_nothing() -> None:
    storage = MemoryStorage()
    app = make_app(storage)

    async def fail() -> None:
        raise AbortedError

    @app.post("/")
    async def create(
        file: Annotated[StorageFile, StreamedUpload("file")], tasks: BackgroundTasks
    ) -> None:
        tasks.add_task(fail)

    async with open_client(app) as client:
        with pytest.raises(AbortedError):
            await client.post("/", files={"file": ("a.txt", b"x")})
    assert len(await list_names(storage)) == 1


async def test_a_cancelled_handler_deletes_its_file(storage: Storage, tmp_path: Path) -> None:
    app, entered = make_app(storage), asyncio.Event()

    @app.post("/")
    async def hang(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        assert await file.exists()
        entered.set()
        await asyncio.Event().wait()

    async with open_client(app) as client:
        request = asyncio.create_task(client.post("/", files={"file": ("a.txt", b"x")}))
        await asyncio.wait_for(entered.wait(), 10)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await assert_untouched(storage, tmp_path)


async def test_an_app_that_stops_waits_for_the_clean_up_of_cancelled_requests(
    storage: Storage, tmp_path: Path
) -> None:
    app, entered = make_app(storage), asyncio.Event()

    @app.post("/")
    async def hang(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with open_client(app) as client:
        request = asyncio.create_task(client.post("/", files={"file": ("a.txt", b"x")}))
        await asyncio.wait_for(entered.wait(), 10)
        request.cancel()  # As uvicorn does, which waits for it no longer.
    assert request.done()
    await assert_untouched(storage, tmp_path)


async def test_an_upload_that_is_cancelled_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    sent = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 6 * 1024 * 1024
        sent.set()
        await asyncio.Event().wait()

    app = make_file_app(storage, StreamedUpload("file"), "PUT")
    async with open_client(app) as client:
        request = asyncio.create_task(client.put("/", content=chunks()))
        await asyncio.wait_for(sent.wait(), 10)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await assert_untouched(storage, tmp_path)


async def test_progress_that_raises_ends_the_upload(storage: Storage, tmp_path: Path) -> None:
    async def progress(received: int, total: int | None) -> None:
        if received == total:
            raise AbortedError

    async with failing_app(storage, StreamedUpload("file", progress=progress)) as (client, _):
        content = b"x" * 6 * 1024 * 1024
        response = await client.post("/succeeds", files={"file": ("a.txt", content)})
        assert response.status_code == 418
        await assert_untouched(storage, tmp_path)


async def test_a_file_that_cannot_be_deleted_is_in_the_log_and_the_answer_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Undeletable(MemoryStorage):
        async def _delete(self, name: str) -> None:
            raise BackendUnavailableError("The storage is down.")

    storage = Undeletable()
    async with failing_app(storage) as (client, _):
        response = await client.post("/http", files={"file": ("a.txt", b"x")})
    assert response.status_code == 409
    [name] = await list_names(storage)
    assert name in caplog.text
    assert "The storage is down." in caplog.text


async def test_who_may_upload_is_asked_before_the_body_is_read() -> None:
    app = make_app(MemoryStorage())

    async def refuse() -> None:
        raise HTTPException(401)

    @app.put("/", dependencies=[Depends(refuse)])
    async def put(file: Annotated[StorageFile, StreamedUpload("file")]) -> None:
        pass

    assert await call(app, {"method": "PUT", "headers": []}, b"x") == (401, 0)


# What cannot work says so


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
