"""What must not happen in the event loop: a call that waits for a disk, a lock or a clock."""

import asyncio
import fcntl
import io
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from blockbuster import BlockBuster
from blockbuster.blockbuster import BlockBusterFunction

from fastapi_async_storages import MemoryStorage
from fastapi_async_storages.testing import seaweedfs

__all__ = ["CountingStorage", "forbid_blocking"]

OURS = ["fastapi_async_storages", "async_storages"]


@contextmanager
def forbid_blocking() -> Iterator[None]:
    """Raise ``BlockingError`` from calls that would block an event loop while our code runs in it.

    They are those that blockbuster knows, and those of a file system that it does not.
    """
    load_packages()
    # All methods of SeaweedFS block, and say so.
    guard = BlockBuster(OURS, excluded_modules=[seaweedfs])
    for module, name in (
        (os, "open"),
        (os, "fsync"),
        (os, "pread"),
        (io, "open"),
        (fcntl, "flock"),
    ):
        guard.functions[f"{module.__name__}.{name}"] = BlockBusterFunction(
            module, name, scanned_modules=OURS, excluded_modules=[seaweedfs]
        )
    # The kernel has it in memory: a storage on a relative path may be made anywhere.
    guard.functions.pop("os.getcwd")
    # Coverage takes a lock of its own at each call of our code, and worker threads take it too.
    guard.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


def load_packages() -> None:
    """Import all modules, as apps do before there is a loop: some tests would be the first to."""
    for package in map(import_module, OURS):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)


class CountingStorage(MemoryStorage):
    """Counts the names that are checked while no other task of the loop gets to run.

    Attributes:
        checked_at_once: The most of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.checked_at_once = 0
        self._checked = 0

    def get_name(self, name: str) -> str:
        """Count, and start anew when the loop goes on."""
        if self._checked == 0:
            asyncio.get_running_loop().call_soon(self._start_anew)
        self._checked += 1
        self.checked_at_once = max(self.checked_at_once, self._checked)
        return super().get_name(name)

    def _start_anew(self) -> None:
        self._checked = 0
