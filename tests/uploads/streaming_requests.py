"""Apps with streamed uploads on a storage of a test, and requests to them."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import BaseModel

from fastapi_async_storages import LocalStorage, Storage, StorageFile, Storages
from fastapi_async_storages.http.problems import add_problem_handlers
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.streamed_forms import StreamedForm
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.streaming import UploadedForm

__all__ = [
    "VideoIn",
    "assert_untouched",
    "call",
    "list_names",
    "make_app",
    "make_file_app",
    "make_form",
    "make_video_app",
    "post_parts",
    "read",
]


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
