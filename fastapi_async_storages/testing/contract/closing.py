"""Promises of opening and closing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi_async_storages.exceptions import StorageClosedError
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract._promises import (
    expect,
    expect_equal,
    expect_error,
    promise,
    read,
)

LARGE = 6 * 1024**2
"""Bytes, enough for a part of a multipart upload.

Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits": parts have at least 5 MiB.
"""


@promise
async def closing_twice_does_no_harm(storage: Storage, folder: str) -> None:
    """A storage may be closed when it is not open, and entered again."""
    await storage.aclose()
    await storage.aclose()
    async with storage:
        await storage.upload(b"1", f"{folder}/a")
        async with storage:
            expect_equal(await read(storage, f"{folder}/a"), b"1", "The content")
        expect_equal(await read(storage, f"{folder}/a"), b"1", "The content after the inner block")
    await storage.aclose()
    async with storage:
        expect_equal(await read(storage, f"{folder}/a"), b"1", "The content after reopening")


@promise
async def using_it_after_closing_raises(storage: Storage, folder: str) -> None:
    """Each verb raises StorageClosedError once the storage is closed."""
    await storage.upload(b"1", f"{folder}/a")
    await storage.aclose()

    async def list_names() -> list[str]:
        return [info.name async for info in storage.list(folder)]

    actions: dict[str, Callable[[], Awaitable[object]]] = {
        "upload": lambda: storage.upload(b"2", f"{folder}/a"),
        "open": lambda: read(storage, f"{folder}/a"),
        "get_info": lambda: storage.get_info(f"{folder}/a"),
        "get_size": lambda: storage.get_size(f"{folder}/a"),
        "exists": lambda: storage.exists(f"{folder}/a"),
        "list": list_names,
        "copy": lambda: storage.copy(f"{folder}/a", f"{folder}/b"),
        "move": lambda: storage.move(f"{folder}/a", f"{folder}/b"),
        "delete": lambda: storage.delete(f"{folder}/a"),
        "delete_many": lambda: storage.delete_many([f"{folder}/a"]),
        "check": storage.check,
    }
    for verb, action in actions.items():
        with expect_error(StorageClosedError, f"{verb} after closing"):
            await action()
    async with storage:
        expect_equal(await read(storage, f"{folder}/a"), b"1", "The content after reopening")


@promise
async def check_finds_nothing_wrong(storage: Storage, folder: str) -> None:
    """``check`` is quiet when the storage works, before and after the first file."""
    await storage.check()
    await storage.upload(b"", f"{folder}/a")
    await storage.check()
    expect_equal([i.name async for i in storage.list(folder)], [f"{folder}/a"], "The listing")


@promise
async def one_storage_serves_several_loops(storage: Storage, folder: str) -> None:
    """One storage object works in one event loop after the other, entered or not."""

    async def use_bare(number: int) -> None:
        await storage.upload(b"%d" % number, f"{folder}/{number}")

    async def use_entered(number: int) -> None:
        async with storage:
            await use_bare(number)

    await use_bare(0)
    for number, use in enumerate((use_bare, use_entered, use_bare), start=1):
        await asyncio.to_thread(asyncio.run, use(number))
    expect_equal(
        [await read(storage, f"{folder}/{number}") for number in range(4)],
        [b"0", b"1", b"2", b"3"],
        "The contents",
    )


@promise
async def many_first_uses_open_it_once(storage: Storage, folder: str) -> None:
    """Many tasks that use a storage first, at the same time, all succeed."""

    async def use_first() -> None:
        await asyncio.gather(*(storage.upload(b"", f"{folder}/{n}") for n in range(10)))

    await asyncio.to_thread(asyncio.run, use_first())
    expect_equal(len([info async for info in storage.list(folder)]), 10, "The number of files")


@promise
async def closing_ends_uploads_under_way(storage: Storage, folder: str) -> None:
    """An upload whose storage is closed raises StorageClosedError, and leaves nothing."""
    begun = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(LARGE)
        begun.set()
        await asyncio.Event().wait()
        yield b""

    task = asyncio.create_task(storage.upload(chunks(), f"{folder}/a"))
    await begun.wait()
    await storage.aclose()
    with expect_error(StorageClosedError, "an upload when its storage is closed"):
        await task
    async with storage:
        expect_equal([i.name async for i in storage.list(folder)], [], "The listing")


@promise
async def draining_lets_uploads_finish(storage: Storage, folder: str) -> None:
    """``drain`` waits for the uploads that are under way, and the storage stays open."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        begun.set()
        await may_end.wait()
        yield b"1"

    task = asyncio.create_task(storage.upload(chunks(), f"{folder}/a"))
    await begun.wait()
    draining = asyncio.create_task(storage.drain(60))
    await asyncio.sleep(0)
    expect(not draining.done(), "draining waits for the upload")
    may_end.set()
    await asyncio.gather(draining, task)
    expect_equal(await read(storage, f"{folder}/a"), b"1", "The content")
