"""The suite sees our code block an event loop: in all tests, without their doing."""

import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from blockbuster import BlockingError

from fastapi_async_storages import MemoryStorage

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
