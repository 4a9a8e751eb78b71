import asyncio
import hashlib
import io
import logging
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, Request, UploadFile
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage, Storage, StorageFile
from fastapi_async_storages.dependencies import StorageDep
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    BackendUnavailableError,
    FileTooLargeError,
    FileTooSmallError,
    InvalidMetadataError,
    InvalidNameError,
    TypeNotAllowedError,
)
from fastapi_async_storages.http.problems import add_problem_handlers
from fastapi_async_storages.keys import is_unique_name
from fastapi_async_storages.lifespan import storage_lifespan
from fastapi_async_storages.streams import ByteStream
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.rules import ImageRules, UploadRules
from fastapi_async_storages.uploads.save import save_upload
from tests.asgi import open_client
from tests.servers.http_server import serve
from tests.servers.s3 import open_sdk_client
from tests.uploads.samples import HTML, JPEG, PDF, PNG, make_image

pytestmark = pytest.mark.anyio


def make_upload(content: bytes, filename: str | None, content_type: str | None) -> UploadFile:
    headers = Headers({"content-type": content_type} if content_type else {})
    return UploadFile(io.BytesIO(content), filename=filename, headers=headers, size=len(content))


async def list_names(storage: Storage) -> list[str]:
    return [info.name async for info in storage.list()]


async def assert_untouched(storage: Storage, tmp_path: Path) -> None:
    """Check that nothing is left: no file, no part of an upload, no temporary file."""
    assert await list_names(storage) == []
    if isinstance(storage, LocalStorage):
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# What is stored


async def test_an_upload_is_stored_under_a_unique_name_with_all_that_is_known(
    storage: Storage,
) -> None:
    upload = make_upload(PNG, "../Bildschirm\u202ffoto 日本.PNG", "image/jpeg")
    file = await save_upload(upload, storage, prefix="photos/2026/")
    assert is_unique_name(file.name)
    assert file.name.startswith("photos/2026/")
    assert file.name.endswith(".png")
    assert file.info
    assert (file.info.size, file.info.content_type) == (len(PNG), "image/png")
    assert file.info.filename == "Bildschirm\u202ffoto 日本.PNG"
    assert file.info.checksum == f"sha256:{hashlib.sha256(PNG).hexdigest()}"
    assert (file.info.width, file.info.height) == (32, 16)
    assert await file.read() == PNG
    stored = await storage.get_info(file.name)
    shared = ("name", "size", "content_type", "filename", "width", "height", "metadata", "checksum")
    for field in shared:
        assert getattr(stored, field) == getattr(file.info, field), field


async def test_the_storage_has_the_checksum_of_an_upload_of_many_chunks(storage: Storage) -> None:
    content = bytes(range(251)) * 12_000  # Several blocks of a local file, one part on S3.

    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    file = await save_upload(chunks(), storage)
    expected = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert file.info
    assert file.info.checksum == expected
    assert (await storage.get_info(file.name)).checksum == expected


async def test_the_checksum_is_that_of_the_bytes_that_a_scanner_passes_on(storage: Storage) -> None:
    async def mask(file: IncomingFile, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk.replace(b"4111", b"****")

    file = await save_upload(b"card 4111", storage, rules=UploadRules(scanners=[mask]))
    expected = f"sha256:{hashlib.sha256(b'card ****').hexdigest()}"
    assert file.info
    assert file.info.checksum == expected
    assert (await storage.get_info(file.name)).checksum == expected


async def test_two_uploads_never_share_a_name(storage: Storage) -> None:
    files = [await save_upload(b"x", storage) for _ in range(2)]
    assert len(await list_names(storage)) == 2
    assert files[0].name != files[1].name


@pytest.mark.parametrize(
    "content,filename,declared_type,media_type,extension",
    [
        (PDF, "a.pdf", "application/pdf", "application/pdf", ".pdf"),
        (HTML, "a.png", "image/png", "text/html", ".html"),
        (JPEG, "a.jpeg", "image/jpeg", "image/jpeg", ".jpeg"),
        (b"a,b\n", "a.csv", "application/vnd.ms-excel", "text/csv", ".csv"),
        (b"<?php phpinfo();", "a.php", "text/plain", "text/plain", ".txt"),
        (bytes(100), "a.php", "application/x-php", "application/x-php", ""),
        (bytes(100), None, None, "application/octet-stream", ""),
        (b"", "a.png", "image/png", "application/octet-stream", ""),
    ],
)
async def test_the_bytes_decide_about_type_and_extension(
    content: bytes,
    filename: str | None,
    declared_type: str | None,
    media_type: str,
    extension: str,
) -> None:
    storage = MemoryStorage()
    file = await save_upload(make_upload(content, filename, declared_type), storage)
    stem, dot, end = file.name.partition(".")
    assert is_unique_name(stem)
    assert dot + end == extension
    info = await storage.get_info(file.name)
    assert (info.content_type, info.filename) == (media_type, filename)


@pytest.mark.parametrize(
    "filename,kept",
    [
        ("C:\\Users\\me\\a.pdf", "a.pdf"),
        ('a"b\r\nSet-Cookie: x.pdf', 'a"bSet-Cookie: x.pdf'),
        ("a\0.pdf", "a.pdf"),
        ("gpj.\u202eexe.pdf", "gpj.exe.pdf"),
        ("ü" * 4096 + ".pdf", "ü" * 125 + ".pdf"),
        ("..", None),
        ("", None),
    ],
)
async def test_the_clients_file_name_is_data(
    storage: Storage, filename: str, kept: str | None
) -> None:
    file = await save_upload(make_upload(PDF, filename, None), storage)
    assert (await storage.get_info(file.name)).filename == kept
    assert "/" not in file.name


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "stream"])
async def test_whatever_can_be_uploaded_can_be_saved(
    storage: Storage, tmp_path: Path, kind: str
) -> None:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield PDF[:3]
        yield PDF[3:]

    (tmp_path / "a.pdf").write_bytes(PDF)
    with (tmp_path / "a.pdf").open("rb") as opened:
        sources: Mapping[str, Any] = {
            "bytes": PDF,
            "path": tmp_path / "a.pdf",
            "file": opened,
            "stream": stream(),
        }
        file = await save_upload(
            sources[kind],
            storage,
            filename="b.pdf",
            metadata={"owner": "17"},
            cache_control="max-age=60",
        )
    info = await storage.get_info(file.name)
    assert (info.filename, info.content_type, dict(info.metadata), info.cache_control) == (
        "b.pdf",
        "application/pdf",
        {"owner": "17"},
        "max-age=60",
    )
    assert file.info
    assert (file.info.metadata, file.info.cache_control) == (info.metadata, info.cache_control)
    assert await file.read() == PDF


async def test_an_upload_file_that_was_read_before_is_stored_whole() -> None:
    upload = make_upload(PDF, "a.pdf", None)
    assert await upload.read(4) == b"%PDF"
    assert await (await save_upload(upload, MemoryStorage())).read() == PDF


async def test_an_image_too_deep_in_its_file_has_no_dimensions_unless_rules_ask() -> None:
    image = make_image("JPEG", 32, 16, icc_size=600_000)
    storage = MemoryStorage()
    for rules, width in ((None, None), (UploadRules(image=ImageRules()), 32)):
        file = await save_upload(image, storage, rules=rules)
        assert file.info
        assert file.info.width == width


async def test_a_handle_is_fresh_until_someone_takes_it_over() -> None:
    storage = MemoryStorage()
    assert (await save_upload(b"x", storage))._fresh
    assert (await save_upload(b"x", storage, name="a"))._fresh
    # Deleting what replaced a file would not bring the old one back.
    assert not (await save_upload(b"x", storage, name="a", overwrite=True))._fresh
    assert not StorageFile(storage, "a")._fresh


# A name of one's own


async def test_a_given_name_never_replaces_a_file_unless_asked(storage: Storage) -> None:
    first = await save_upload(b"first", storage, prefix="avatars", name="17.txt")
    assert first.name == "avatars/17.txt"
    with pytest.raises(AlreadyExistsError):
        await save_upload(b"second", storage, prefix="avatars", name="17.txt")
    assert await first.read() == b"first"
    await save_upload(b"third", storage, prefix="avatars", name="17.txt", overwrite=True)
    assert await first.read() == b"third"
    assert await list_names(storage) == ["avatars/17.txt"]


@pytest.mark.parametrize("names", [{"name": "../x"}, {"prefix": "../x"}, {"name": "/x"}])
async def test_a_name_that_leads_out_is_refused(
    storage: Storage, tmp_path: Path, names: dict[str, str]
) -> None:
    with pytest.raises(InvalidNameError):
        await save_upload(b"x", storage, prefix=names.get("prefix", ""), name=names.get("name"))
    await assert_untouched(storage, tmp_path)


# What fails leaves nothing behind


@pytest.mark.parametrize(
    "rules,error",
    [
        (UploadRules(types=["image/*"]), TypeNotAllowedError),
        (UploadRules(max_size="11MiB"), FileTooLargeError),
        (UploadRules(min_size="13MiB"), FileTooSmallError),
    ],
    ids=["first bytes", "on the way", "after the last byte"],
)
async def test_a_refused_upload_leaves_nothing(
    storage: Storage,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    rules: UploadRules,
    error: type[Exception],
) -> None:
    async def body() -> AsyncGenerator[bytes, None]:
        for _ in range(12):
            yield b"x" * 1024 * 1024

    is_s3 = isinstance(storage, S3Storage)
    before = await list_open_multipart_uploads(request) if is_s3 else []
    with pytest.raises(error):
        await save_upload(body(), storage, rules=rules)
    await assert_untouched(storage, tmp_path)
    # Other tests share the bucket, and some leave uploads open.
    assert (await list_open_multipart_uploads(request) if is_s3 else []) == before


async def list_open_multipart_uploads(request: pytest.FixtureRequest) -> list[str]:
    server = request.getfixturevalue("s3_server")
    async with open_sdk_client(server) as client:
        answer = await client.list_multipart_uploads(Bucket=server.bucket)
    return sorted(upload["UploadId"] for upload in answer.get("Uploads", []))


async def test_a_source_that_breaks_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    async def body() -> AsyncGenerator[bytes, None]:
        yield b"x" * 100_000
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        await save_upload(body(), storage)
    await assert_untouched(storage, tmp_path)


async def test_metadata_that_no_backend_takes_leaves_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(InvalidMetadataError):
        await save_upload(b"x", storage, metadata={"Bad Key": "x"})
    await assert_untouched(storage, tmp_path)


async def test_a_cancelled_upload_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncGenerator[bytes, None]:
        try:
            yield b"x" * 6 * 1024 * 1024
            waiting.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    task = asyncio.create_task(save_upload(body(), storage))
    async with asyncio.timeout(20):
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert closed.is_set()
    await assert_untouched(storage, tmp_path)


class LosesTheAnswer(MemoryStorage):
    """A storage that stores the file, and whose answer is lost then."""

    def __init__(self, *, is_down: bool = False) -> None:
        super().__init__()
        self.stored = asyncio.Event()
        self.answers = asyncio.Event()
        self.is_down = is_down

    async def _upload(self, name: str, stream: ByteStream, **options: Any) -> None:
        await super()._upload(name, stream, **options)
        self.stored.set()
        await self.answers.wait()
        raise BackendUnavailableError("The connection was lost.")

    async def _delete(self, name: str) -> None:
        if self.is_down:
            raise BackendUnavailableError("The server is down.")
        await super()._delete(name)


async def test_what_was_stored_before_the_answer_was_lost_is_deleted() -> None:
    storage = LosesTheAnswer()
    storage.answers.set()
    with pytest.raises(BackendUnavailableError, match="lost"):
        await save_upload(b"x", storage)
    assert await list_names(storage) == []


async def test_what_was_stored_before_the_cancellation_is_deleted() -> None:
    storage = LosesTheAnswer()
    task = asyncio.create_task(save_upload(b"x", storage))
    await storage.stored.wait()
    assert await list_names(storage)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await list_names(storage) == []


async def test_a_given_name_is_never_deleted_it_may_be_someone_elses() -> None:
    storage = LosesTheAnswer()
    storage.answers.set()
    with pytest.raises(BackendUnavailableError):
        await save_upload(b"x", storage, name="a")
    assert await list_names(storage) == ["a"]


async def test_what_cannot_be_deleted_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    storage = LosesTheAnswer(is_down=True)
    storage.answers.set()
    with pytest.raises(BackendUnavailableError, match="lost"):
        await save_upload(b"x", storage, prefix="docs")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "docs/" in record.getMessage()


# In an app


def make_app(storage: Storage, ended: threading.Event | None = None) -> FastAPI:
    app = FastAPI(lifespan=storage_lifespan(storage))
    add_problem_handlers(app)
    rules = UploadRules(max_size="1KiB", types=["image/png"])

    @app.post("/form")
    async def create(file: UploadFile, storage: StorageDep) -> dict[str, str]:
        return {"name": (await save_upload(file, storage, rules=rules)).name}

    @app.put("/body")
    async def create_from_body(request: Request, storage: StorageDep) -> dict[str, str]:
        try:
            return {"name": (await save_upload(request.stream(), storage)).name}
        finally:
            if ended:
                ended.set()

    return app


async def test_a_form_is_stored_or_answered_with_the_problem(storage: Storage) -> None:
    async with open_client(make_app(storage)) as client:
        response = await client.post("/form", files={"file": ("a.png", PNG, "image/png")})
        assert response.status_code == 200
        assert await list_names(storage) == [response.json()["name"]]
        for content, status in ((PNG + bytes(1024), 413), (PDF, 415)):
            response = await client.post("/form", files={"file": ("a.png", content, "image/png")})
            assert response.status_code == status
            assert response.headers["content-type"] == "application/problem+json"
            assert "a.png" in response.json()["detail"]
        assert len(await list_names(storage)) == 1


async def test_a_client_that_leaves_during_its_upload_leaves_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    ended = threading.Event()
    with serve(make_app(storage, ended)) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=20) as client:
            client.sendall(b"PUT /body HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999\r\n\r\n")
            client.sendall(bytes(12 * 1024 * 1024))
        assert await asyncio.to_thread(ended.wait, 20)
    await assert_untouched(storage, tmp_path)
