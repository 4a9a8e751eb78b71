"""Promises of ``list``."""

import asyncio

from fastapi_async_storages.exceptions import InvalidNameError
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract._promises import (
    expect,
    expect_equal,
    expect_error,
    promise,
)

MANY = 1010
"""More files than one answer of S3 lists, which are 1000 at most."""

NAMES = ("a b", "a!", "a-b/x", "a.txt", "a/b/y", "a/x", "a/é", "a/日", "a/😀", "a0/z", "ab/x", "B")


def is_in_order(names: list[str]) -> bool:
    """Tell whether names are in the order of their code points.

    Some servers compare names segment by segment instead, so that ``a/x`` comes before ``a b``.
    Within one folder that is the same.
    """
    return names in (sorted(names), sorted(names, key=lambda name: name.split("/")))


async def list_names(storage: Storage, prefix: str) -> list[str]:
    """Return the names that a storage lists."""
    return [info.name async for info in storage.list(prefix)]


@promise
async def list_is_complete_and_in_order(storage: Storage, folder: str) -> None:
    """A listing has every file once, in the order of the names."""
    wanted = {f"{folder}/{name}" for name in NAMES}
    await asyncio.gather(*(storage.upload(name.encode(), name) for name in wanted))
    for prefix in (folder, f"{folder}/", f"{folder}//", folder.split("/", maxsplit=1)[0]):
        names = [name for name in await list_names(storage, prefix) if name.startswith(folder)]
        expect_equal(sorted(names), sorted(wanted), f"The listing of {prefix!a}")
        expect(is_in_order(names), f"the order of code points, not {names}")
    everything = await list_names(storage, "")
    expect(wanted <= set(everything), "the listing of everything has all")
    expect(is_in_order(everything), "the listing of everything is in order")


@promise
async def list_keeps_to_the_boundary_of_a_prefix(storage: Storage, folder: str) -> None:
    """The prefix ``a`` lists ``a/x`` and ``a/b/y``, but neither ``ab/x`` nor ``a`` itself."""
    for name in NAMES:
        await storage.upload(b"", f"{folder}/{name}")
    for prefix in ("a", "a/", "a/b", "ab", "a0", "a.txt", "missing", "a/x", "a/b/y/z"):
        inside = prefix.rstrip("/") + "/"
        wanted = sorted(f"{folder}/{name}" for name in NAMES if name.startswith(inside))
        names = await list_names(storage, f"{folder}/{prefix}")
        expect_equal(sorted(names), wanted, f"The listing of {prefix}")
    for prefix in ("/a", "../a", "a/../..", "a\\"):
        with expect_error(InvalidNameError, f"the prefix {prefix!a}"):
            await list_names(storage, prefix)


@promise
async def list_finds_files_by_the_start_of_their_names(storage: Storage, folder: str) -> None:
    """``_list``, which a backend writes, takes a prefix that ends within a segment.

    By it, a ticket for an upload is found to be used, whatever extension its file has.
    """
    for name in NAMES:
        await storage.upload(b"", f"{folder}/{name}")
    for start in ("", "a", "a/", "a/b", "a.t", "ab", "a/é", "missing", "missing/a"):
        wanted = sorted(f"{folder}/{name}" for name in NAMES if name.startswith(start))
        names = [info.name async for info in storage._list(f"{folder}/{start}")]
        expect_equal(sorted(names), wanted, f"What _list finds by {start!a}")


@promise
async def list_knows_the_sizes(storage: Storage, folder: str) -> None:
    """A listed record has the name and the size; what else it has, agrees with get_info."""
    for size in (0, 1, 1000):
        await storage.upload(
            b"x" * size, f"{folder}/{size}", content_type="text/own", metadata={"key": "value"}
        )
    infos = [info async for info in storage.list(folder)]
    expect_equal([info.size for info in infos], [0, 1, 1000], "The sizes")
    for listed in infos:
        info = await storage.get_info(listed.name)
        expect(listed.content_type in (None, info.content_type), "the same type, or none")
        expect(listed.etag in (None, info.etag), f"the tag {info.etag} or none, not {listed.etag}")


@promise
async def list_goes_on_over_many_files(storage: Storage, folder: str) -> None:
    """A listing of more files than one answer holds is complete, and may be left early."""
    limit = asyncio.Semaphore(30)

    async def upload(number: int) -> None:
        async with limit:
            await storage.upload(b"", f"{folder}/{number:04}")

    await asyncio.gather(*map(upload, range(MANY)))
    wanted = [f"{folder}/{number:04}" for number in range(MANY)]
    expect(await list_names(storage, folder) == wanted, "every file once")
    first = []
    async for info in storage.list(folder):
        first.append(info.name)
        if len(first) == 3:
            break
    expect_equal(first, wanted[:3], "The first three")
    # Deleting what was listed, while listing, is how a clean-up works.
    async for info in storage.list(folder):
        if info.name.endswith("0"):
            await storage.delete(info.name)
    expect_equal(len(await list_names(storage, folder)), MANY - MANY // 10, "The number left")
    left = await list_names(storage, folder)
    expect_equal(await storage.delete_many(left), {}, "What could not be deleted")
    expect_equal(await list_names(storage, folder), [], "The listing")
