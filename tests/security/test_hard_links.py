"""Hard links below the root of a local storage: nothing is written through one.

What a link shows is read like any file, since it is one: who can make it decides what is read. But
the file outside that it shares its bytes with is never changed.
"""

import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fastapi_async_storages import LocalStorage
from fastapi_async_storages.exceptions import AlreadyExistsError

pytestmark = pytest.mark.anyio

SECRET = b"not a file of the storage"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    root.mkdir()
    return root


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.write_bytes(SECRET)
    outside.chmod(0o600)
    return outside


async def overwrite(storage: LocalStorage) -> None:
    await storage.upload(b"mine", "a")


async def copy_over(storage: LocalStorage) -> None:
    await storage.upload(b"mine", "b")
    await storage.copy("b", "a")


async def move_over(storage: LocalStorage) -> None:
    await storage.upload(b"mine", "b")
    await storage.move("b", "a")


async def copy_and_overwrite(storage: LocalStorage) -> None:
    await storage.copy("a", "b")
    await storage.upload(b"mine", "b")


async def move_and_overwrite(storage: LocalStorage) -> None:
    await storage.move("a", "b")
    await storage.upload(b"mine", "b")


async def delete(storage: LocalStorage) -> None:
    await storage.delete("a")


@pytest.mark.parametrize(
    "change",
    [overwrite, copy_over, move_over, copy_and_overwrite, move_and_overwrite, delete],
)
async def test_the_file_outside_stays_as_it_is(
    root: Path, outside: Path, change: Callable[[LocalStorage], Awaitable[None]]
) -> None:
    (root / "a").hardlink_to(outside)
    before = outside.stat()
    async with LocalStorage(root) as storage:
        await change(storage)
    assert outside.read_bytes() == SECRET
    after = outside.stat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )


async def test_no_race_with_a_hard_link_writes_outside(root: Path, outside: Path) -> None:
    stopped = threading.Event()
    made = 0

    def link_again_and_again() -> None:
        nonlocal made
        while not stopped.is_set():
            with suppress(FileExistsError):
                os.link(outside, root / "a")
                made += 1

    attacker = threading.Thread(target=link_again_and_again)
    attacker.start()
    try:
        async with LocalStorage(root) as storage:
            for number in range(100):
                with suppress(AlreadyExistsError):
                    await storage.upload(b"mine", "a", overwrite=number % 2 == 0)
                await storage.delete("a")
    finally:
        stopped.set()
        attacker.join()
    assert made > 10
    assert outside.read_bytes() == SECRET
