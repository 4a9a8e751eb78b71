"""The suite sees our code block an event loop: in all tests, without their doing."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from blockbuster import BlockingError

from fastapi_async_storages import MemoryStorage
from fastapi_async_storages.exceptions import InvalidNameError
from tests.blocking import CountingStorage

pytestmark = pytest.mark.anyio


def acquire_a_taken_lock() -> None:
    lock = threading.Lock()
    with lock:
        lock.acquire(timeout=0.01)


@pytest.mark.parametrize(
    "block",
    [
        lambda: time.sleep(0.01),
        lambda: os.open(os.devnull, os.O_RDONLY),
        lambda: Path(os.devnull).read_bytes(),
        lambda: Path(os.devnull).stat(),
        acquire_a_taken_lock,
    ],
    ids=["sleep", "open", "read", "stat", "lock"],
)
async def test_what_blocks_below_our_code_is_an_error(block: Callable[[], object]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        block()
        yield b""

    with pytest.raises(BlockingError):
        await MemoryStorage().upload(chunks(), "a")


async def test_other_tasks_run_while_many_names_are_checked() -> None:
    storage = CountingStorage()
    await storage.upload(b"", "4999")
    storage.checked_at_once = 0
    names = {str(number) for number in range(5000)}
    deletion = asyncio.create_task(storage.delete_many(names))
    await asyncio.sleep(0)
    assert storage.checked_at_once
    names.clear()  # By another task, which may: these are the caller's own.
    assert await deletion == {}

    assert not await storage.exists("4999")
    assert 1 < storage.checked_at_once <= 1000


async def test_many_names_are_checked_before_the_first_file_is_deleted() -> None:
    storage = CountingStorage()
    await storage.upload(b"", "0")
    with pytest.raises(InvalidNameError):
        await storage.delete_many([*map(str, range(5000)), "../a"])
    assert await storage.exists("0")
