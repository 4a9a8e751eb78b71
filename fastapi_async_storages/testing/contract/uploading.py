"""Promises of ``upload``."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from starlette.datastructures import UploadFile

from fastapi_async_storages.exceptions import AlreadyExistsError, NotFoundError
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.streams import UploadSource
from fastapi_async_storages.testing.contract._cancellation import cancel_at
from fastapi_async_storages.testing.contract._promises import (
    expect,
    expect_equal,
    expect_error,
    promise,
    read,
)

LARGE = bytes(range(256)) * (6 * 4096 + 1)
"""A little more than 6 MiB: several reads of a file, and two parts of the 5 MiB that S3 allows."""


class Unseekable:
    """A binary file that can be read only, as a pipe or a response body is."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        return self._file.read(size)


async def iterate(content: bytes, chunk_size: int = 100_000) -> AsyncIterator[bytes]:
    """Yield the content in chunks, with an empty one among them."""
    yield b""
    for start in range(0, len(content), chunk_size):
        await asyncio.sleep(0)
        yield content[start : start + chunk_size]


def make_sources(content: bytes, path: Path) -> dict[str, UploadSource]:
    """Return the content, which the file at the path has too, as all that can be uploaded."""
    return {
        "bytes": content,
        "bytearray": bytearray(content),
        "memoryview": memoryview(content),
        "a BytesIO": io.BytesIO(content),
        "a path": path,
        "an unseekable file": Unseekable(content),
        "an UploadFile": UploadFile(io.BytesIO(content), filename="a.bin"),
        "an async iterator": iterate(content),
    }


@asynccontextmanager
async def temporary_path() -> AsyncIterator[Path]:
    """A path for a file; nothing of it blocks the event loop."""
    directory = await asyncio.to_thread(TemporaryDirectory)
    try:
        yield Path(directory.name, "source")
    finally:
        await asyncio.to_thread(directory.cleanup)


@promise
async def upload_takes_every_source(storage: Storage, folder: str) -> None:
    """Upload takes bytes, paths, files and iterators, and stores all of their bytes."""
    async with temporary_path() as path:
        for content in (b"", b"x", LARGE):
            await asyncio.to_thread(path.write_bytes, content)
            for kind, source in make_sources(content, path).items():
                name = f"{folder}/{kind}"
                expect_equal(await storage.upload(source, name), name, "The stored name")
                subject = f"What was stored from {kind} of {len(content)} bytes"
                expect_equal(await read(storage, name), content, subject)
                expect_equal(await storage.get_size(name), len(content), "The size")


@promise
async def upload_reads_files_from_where_they_stand(storage: Storage, folder: str) -> None:
    """A file is read from where it stands, and stays open."""
    async with temporary_path() as path:
        await asyncio.to_thread(path.write_bytes, b"0123456789")
        with await asyncio.to_thread(path.open, "rb") as file:
            for source in (file, UploadFile(io.BytesIO(b"0123456789"))):
                opened: Any = source.file if isinstance(source, UploadFile) else source
                await asyncio.to_thread(opened.seek, 4)
                await storage.upload(source, f"{folder}/a")
                expect_equal(await read(storage, f"{folder}/a"), b"456789", "The content")
                expect(not opened.closed, "the file is still open")


@promise
async def upload_refuses_what_has_no_bytes(storage: Storage, folder: str) -> None:
    """What is no bytes raises TypeError, and nothing is stored."""

    async def texts() -> AsyncIterator[Any]:
        yield b"bytes first"
        yield "then text"

    sources: list[Any] = ["text", None, 1, io.StringIO("text"), ["text"], texts()]
    for source in sources:
        with expect_error(TypeError, f"upload of a {type(source).__name__}"):
            await storage.upload(source, f"{folder}/a")
        expect(not await storage.exists(f"{folder}/a"), "nothing is stored")


@promise
async def upload_whose_source_fails_stores_nothing(storage: Storage, folder: str) -> None:
    """When the source raises, the error comes through and nothing has changed."""

    async def fail(content: bytes) -> AsyncIterator[bytes]:
        yield content
        raise ZeroDivisionError

    await storage.upload(b"old", f"{folder}/old", metadata={"version": "1"})
    for content in (b"new", LARGE):
        for name in ("old", "new"):
            with expect_error(ZeroDivisionError, "the error of the source comes through"):
                await storage.upload(fail(content), f"{folder}/{name}")
    expect_equal(await read(storage, f"{folder}/old"), b"old", "The old version")
    expect_equal(dict((await storage.get_info(f"{folder}/old")).metadata), {"version": "1"}, "It")
    expect(not await storage.exists(f"{folder}/new"), "nothing is stored")
    expect_equal([i.name async for i in storage.list(folder)], [f"{folder}/old"], "The listing")


async def _cancel_everywhere(storage: Storage, name: str, old: bytes | None, new: bytes) -> None:
    for step in count():
        if old is None:
            await storage.delete(name)
        else:
            await storage.upload(old, name)
        tasks = asyncio.all_tasks()
        ended = await cancel_at(step, storage.upload(iterate(new), name))
        try:
            content = await read(storage, name)
        except NotFoundError:
            content = None
        expect(content in ((new,) if ended else (old, new)), f"all or nothing, cut at {step}")
        expect_equal(asyncio.all_tasks() - tasks, set(), "Tasks left")
        if ended:
            return


@promise
async def upload_cancelled_anywhere_is_whole_or_absent(storage: Storage, folder: str) -> None:
    """A cancellation, whenever it comes, leaves the new version, or what was there before."""
    await storage.upload(b"", f"{folder}/open")  # Opening the storage is no part of this.
    await _cancel_everywhere(storage, f"{folder}/free", None, b"new" * 100_000)
    await _cancel_everywhere(storage, f"{folder}/taken", b"old", b"new" * 100_000)


@promise
async def upload_in_a_cancelled_scope_stores_nothing(storage: Storage, folder: str) -> None:
    """The cancellation of anyio, which repeats itself, ends an upload as well."""
    with anyio.CancelScope() as scope:

        async def source() -> AsyncIterator[bytes]:
            yield LARGE
            scope.cancel()
            await asyncio.sleep(0)
            yield LARGE

        with anyio.fail_after(30):
            await storage.upload(source(), f"{folder}/a")
    expect(scope.cancelled_caught, "the cancellation comes through")
    expect(not await storage.exists(f"{folder}/a"), "nothing is stored")


@promise
async def upload_replaces_all_that_was_there(storage: Storage, folder: str) -> None:
    """A new version has nothing of the old one."""
    name = f"{folder}/a"
    await storage.upload(
        b"old" * 1000,
        name,
        content_type="text/old",
        metadata={"filename": "old", "one": "1"},
        cache_control="no-store",
    )
    old = await storage.get_info(name)
    await storage.upload(b"new", name, content_type="text/new", metadata={"two": "2"})
    new = await storage.get_info(name)
    expect_equal(await read(storage, name), b"new", "The content")
    expect_equal(
        (new.size, new.content_type, new.filename, dict(new.metadata), new.cache_control),
        (3, "text/new", None, {"two": "2"}, None),
        "The record",
    )
    expect(new.etag != old.etag, "another entity tag")


@promise
async def upload_without_overwrite_keeps_what_is_there(storage: Storage, folder: str) -> None:
    """``overwrite=False`` raises AlreadyExistsError when the name is taken, and changes nothing."""
    name = f"{folder}/a"
    for content in (b"small", LARGE):
        await storage.delete(name)
        await storage.upload(content, name, metadata={"n": "1"}, overwrite=False)
        before = await storage.get_info(name)
        for other in (b"other", iterate(LARGE[::-1])):
            with expect_error(AlreadyExistsError, "the name is taken"):
                await storage.upload(other, name, metadata={"n": "2"}, overwrite=False)
        expect_equal(await storage.get_info(name), before, "The record")
        expect_equal(await read(storage, name), content, "The content")
