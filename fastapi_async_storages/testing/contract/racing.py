"""Promises that hold when many do the same at the same time."""

import asyncio
from collections.abc import Awaitable

from fastapi_async_storages.exceptions import AlreadyExistsError, NotFoundError
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract._promises import expect, expect_equal, promise, read

RACERS = 50
VERSIONS = 30


async def _count_winners(attempts: list[Awaitable[str]]) -> int:
    results = await asyncio.gather(*attempts, return_exceptions=True)
    winners = 0
    for result in results:
        if isinstance(result, str):
            winners += 1
        else:
            expect(isinstance(result, AlreadyExistsError), f"AlreadyExistsError, not {result!r}")
    return winners


@promise
async def one_of_many_creators_wins(storage: Storage, folder: str) -> None:
    """Of 50 uploads with ``overwrite=False`` at once exactly one wins, and its file is stored."""
    for size in (10, 200_000):
        name = f"{folder}/{size}"
        contents = [bytes([number]) * size for number in range(RACERS)]
        winners = await _count_winners(
            [
                storage.upload(content, name, metadata={"number": str(content[0])}, overwrite=False)
                for content in contents
            ]
        )
        expect_equal(winners, 1, "The number of winners")
        await _check_whole(storage, name, size)


@promise
async def one_of_many_copies_wins(storage: Storage, folder: str) -> None:
    """Of many copies with ``overwrite=False`` to one name exactly one wins."""
    for number in range(20):
        await storage.upload(
            bytes([number]) * 10, f"{folder}/{number}", metadata={"number": str(number)}
        )
    winners = await _count_winners(
        [
            storage.copy(f"{folder}/{number}", f"{folder}/target", overwrite=False)
            for number in range(20)
        ]
    )
    expect_equal(winners, 1, "The number of winners")
    await _check_whole(storage, f"{folder}/target", 10)


async def _check_whole(storage: Storage, name: str, size: int) -> None:
    async with storage.open(name) as reader:
        number = int(reader.info.metadata["number"])
        expect(await reader.read() == bytes([number]) * size, "the bytes of its record's version")


@promise
async def readers_see_one_whole_version(storage: Storage, folder: str) -> None:
    """While a file is overwritten, each reader gets the bytes and the record of one version."""
    name = f"{folder}/a"
    done = asyncio.Event()
    await _write_versions(storage, name, range(1))
    readers = [asyncio.ensure_future(_read_versions(storage, name, done)) for _ in range(4)]
    try:
        await asyncio.gather(
            _write_versions(storage, name, range(VERSIONS)),
            _write_versions(storage, name, range(100, 100 + VERSIONS)),
        )
        done.set()
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _write_versions(storage: Storage, name: str, numbers: range) -> None:
    for number in numbers:
        await storage.upload(
            bytes([number]) * (number + 1) * 1000,
            name,
            content_type=f"text/{number}",
            metadata={"number": str(number)},
        )
        await asyncio.sleep(0)


async def _read_versions(storage: Storage, name: str, done: asyncio.Event) -> None:
    while not done.is_set():
        await asyncio.sleep(0)
        async with storage.open(name) as reader:
            content = await reader.read()
        number = content[0]
        expect(content == bytes([number]) * (number + 1) * 1000, "bytes of one version")
        expect_equal(reader.info.metadata, {"number": str(number)}, "The metadata of the reader")
        for info in (reader.info, await storage.get_info(name)):
            number = int(info.metadata["number"])
            expect_equal(
                (info.size, info.content_type),
                ((number + 1) * 1000, f"text/{number}"),
                "The record",
            )


@promise
async def folders_come_and_go(storage: Storage, folder: str) -> None:
    """Uploads, moves and deletes in one folder do not get in each other's way."""

    async def come_and_go(number: int) -> None:
        for turn in range(5):
            name = f"{folder}/deep/er/{number}"
            await storage.upload(b"%d" % turn, name)
            expect_equal(await read(storage, name), b"%d" % turn, "The content")
            if turn % 2:
                await storage.move(name, f"{folder}/deep/other/{number}")
                name = f"{folder}/deep/other/{number}"
            await storage.delete(name)

    await asyncio.gather(*map(come_and_go, range(10)))
    expect_equal([info.name async for info in storage.list(folder)], [], "The listing")


@promise
async def deletes_and_uploads_of_one_name_take_turns(storage: Storage, folder: str) -> None:
    """While a file is deleted and stored again and again, readers get all of it or nothing."""
    name = f"{folder}/deep/er/a"

    async def change(number: int) -> None:
        for _ in range(10):
            await storage.upload(bytes([number]) * 1000, name, metadata={"number": str(number)})
            await storage.delete(name)

    async def look() -> None:
        for _ in range(30):
            try:
                await _check_whole(storage, name, 1000)
            except NotFoundError:
                await asyncio.sleep(0)

    await asyncio.gather(*map(change, range(4)), look(), look())
    expect(not await storage.exists(name), "it is deleted at the end")
