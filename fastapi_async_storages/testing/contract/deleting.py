"""Promises of ``delete`` and ``delete_many``."""

from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract._promises import expect, expect_equal, promise, read


@promise
async def delete_removes_one_file(storage: Storage, folder: str) -> None:
    """A deleted file is gone, with all that was known of it; deleting nothing is no error."""
    for name in ("a", "b", "deep/er/c"):
        await storage.upload(b"old", f"{folder}/{name}", metadata={"key": "value"})
    for _ in range(2):
        await storage.delete(f"{folder}/a")
        await storage.delete(f"{folder}/deep/er/c")
        await storage.delete(f"{folder}/never/was/there")
        await storage.delete(f"{folder}/b/below/a/file")
    expect_equal([i.name async for i in storage.list(folder)], [f"{folder}/b"], "The listing")
    await storage.upload(b"new", f"{folder}/a")
    expect_equal(dict((await storage.get_info(f"{folder}/a")).metadata), {}, "The metadata")


@promise
async def names_are_free_after_delete(storage: Storage, folder: str) -> None:
    """After the last file of a folder the folder's name is free, for a file too."""
    await storage.upload(b"1", f"{folder}/a/b/c")
    await storage.delete(f"{folder}/a/b/c")
    await storage.upload(b"2", f"{folder}/a/b")
    expect_equal(await read(storage, f"{folder}/a/b"), b"2", "The content")
    await storage.move(f"{folder}/a/b", f"{folder}/d")
    await storage.upload(b"3", f"{folder}/a")
    expect_equal(await read(storage, f"{folder}/a"), b"3", "The content")


@promise
async def delete_of_a_folder_does_nothing(storage: Storage, folder: str) -> None:
    """A folder is no file: deleting its name leaves the files in it."""
    await storage.upload(b"1", f"{folder}/a/b")
    await storage.delete(f"{folder}/a")
    expect_equal(await storage.delete_many([f"{folder}/a"]), {}, "What could not be deleted")
    expect_equal(await read(storage, f"{folder}/a/b"), b"1", "The content")


@promise
async def delete_many_removes_many(storage: Storage, folder: str) -> None:
    """Many files are deleted at once; missing and repeated names are no error."""
    names = [f"{folder}/{number}" for number in range(20)]
    for name in names[:15]:
        await storage.upload(b"", name)
    expect_equal(await storage.delete_many([]), {}, "What could not be deleted of nothing")
    failed = await storage.delete_many(iter([*names[5:], *names[5:7]]))
    expect_equal(failed, {}, "What could not be deleted")
    left = [info.name async for info in storage.list(folder)]
    expect(set(left) == set(names[:5]), f"the others are left, not {left}")
