"""Promises of ``copy`` and ``move``."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    NotFoundError,
    PreconditionFailedError,
)
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract._promises import (
    expect,
    expect_equal,
    expect_error,
    promise,
    read,
)
from fastapi_async_storages.testing.contract.uploading import LARGE

METADATA = {"filename": "Größe.txt", "width": "1", "own": "ü"}


async def upload_source(storage: Storage, name: str, content: bytes = b"source") -> FileInfo:
    """Store a file with everything that a file can have."""
    await storage.upload(
        content, name, content_type="text/own", metadata=METADATA, cache_control="no-store"
    )
    return await storage.get_info(name)


def without_version(info: FileInfo, name: str) -> FileInfo:
    """Return the record as it would be under another name, whatever the version."""
    return replace(info, name=name, etag=None, last_modified=None)


@promise
async def copy_keeps_everything(storage: Storage, folder: str) -> None:
    """A copy has the bytes and all of the record; the source stays."""
    source, target = f"{folder}/source", f"{folder}/deep/er/target"
    for content in (b"", b"source", LARGE):
        info = await upload_source(storage, source, content)
        expect_equal(await storage.copy(source, target), target, "The name of the copy")
        copied = await storage.get_info(target)
        expect_equal(
            without_version(copied, target), without_version(info, target), "The copy's record"
        )
        expect_equal(await read(storage, target), content, "The copy's content")
        expect_equal(await storage.get_info(source), info, "The source's record")
        expect_equal(await read(storage, source), content, "The source's content")
    info = await upload_source(storage, source)
    await storage.copy(source, source)
    expect_equal(await read(storage, source), b"source", "The content, copied onto itself")
    expect_equal(
        without_version(await storage.get_info(source), source),
        without_version(info, source),
        "The record, copied onto itself",
    )


@promise
async def move_keeps_everything(storage: Storage, folder: str) -> None:
    """A file that is moved has the bytes and all of the record; the old name is free."""
    source, target = f"{folder}/source", f"{folder}/deep/er/target"
    for content in (b"", b"source", LARGE):
        info = await upload_source(storage, source, content)
        expect_equal(await storage.move(source, target), target, "The new name")
        moved = await storage.get_info(target)
        expect_equal(
            without_version(moved, target), without_version(info, target), "The new record"
        )
        expect_equal(await read(storage, target), content, "The content")
        expect_equal(await storage.exists(source), False, "The source")
    moved = await storage.get_info(target)
    expect_equal(await storage.move(target, target), target, "The name, moved onto itself")
    expect_equal(await storage.get_info(target), moved, "The record, moved onto itself")


_Transfer = Callable[..., Awaitable[str]]


async def _check_guards(storage: Storage, folder: str, transfer: _Transfer) -> None:
    source, target = f"{folder}/source", f"{folder}/target"
    info = await upload_source(storage, source)
    await storage.upload(b"target", target)
    before = await storage.get_info(target)
    with expect_error(AlreadyExistsError, "the target is taken"):
        await transfer(source, target, overwrite=False)
    with expect_error(PreconditionFailedError, "the source is another version"):
        await transfer(source, target, if_match='"another"')
    with expect_error(PreconditionFailedError, "the source is another version, the target is free"):
        await transfer(source, f"{folder}/free", if_match='"another"', overwrite=False)
    with expect_error(NotFoundError, "there is no source"):
        await transfer(f"{folder}/missing", target)
    expect_equal(await storage.get_info(target), before, "The target's record")
    expect_equal(await storage.get_info(source), info, "The source's record")
    expect(not await storage.exists(f"{folder}/free"), "nothing was stored")
    await transfer(source, f"{folder}/free", overwrite=False, if_match=info.etag)
    expect_equal(await read(storage, f"{folder}/free"), b"source", "The content")
    await transfer(f"{folder}/free", target)
    expect_equal(await read(storage, target), b"source", "The target, replaced")


@promise
async def copy_keeps_its_conditions(storage: Storage, folder: str) -> None:
    """``overwrite=False`` and ``if_match`` hold for copies, and what fails changes nothing."""
    await _check_guards(storage, folder, storage.copy)


@promise
async def move_keeps_its_conditions(storage: Storage, folder: str) -> None:
    """``overwrite=False`` and ``if_match`` hold for moves, and what fails changes nothing."""
    await _check_guards(storage, folder, storage.move)
