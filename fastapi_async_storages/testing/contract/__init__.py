"""The backend test kit: every promise of :class:`Storage`, checked on a storage of yours.

With pytest, subclass :class:`StorageContract`; without it, ``await check_storage(storage)``. Both
run the same checks, the :data:`PROMISES`.
"""

import asyncio
from typing import Any

from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract import (  # noqa: F401 - each adds its promises
    closing,
    deleting,
    listing,
    naming,
    racing,
    reading,
    recording,
    transferring,
    uploading,
)
from fastapi_async_storages.testing.contract._promises import PROMISES, check_promise

__all__ = ["PROMISES", "StorageContract", "check_promise", "check_storage"]


async def check_storage(storage: Storage) -> None:
    """Check every promise of the contract, in the running event loop.

    The checks use folders below ``storage-contract/`` and delete what they stored.

    Args:
        storage: A storage that can be written.

    Raises:
        ExceptionGroup: With one error for each promise that is not kept; a note of each says which.
    """
    errors: list[Exception] = []
    for name in PROMISES:
        try:
            async with storage:  # The promise before may have closed it.
                await check_promise(storage, name)
        except Exception as error:  # noqa: BLE001 - reported together, at the end
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{storage!r} does not keep {len(errors)} promises", errors)


class StorageContract:
    """Tests for pytest, one for each promise. Subclass it, and give it a storage.

    ::

        class TestMyStorage(StorageContract):
            @pytest.fixture
            def storage(self) -> MyStorage:
                return MyStorage(...)

    Each test runs in an event loop of its own, so neither a plugin for async tests nor an async
    fixture is needed: the storage opens itself on first use.
    """

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each promise; pytest calls this."""
        if "promise" in metafunc.fixturenames:
            metafunc.parametrize("promise", PROMISES)

    def test_promise(self, storage: Storage, promise: str) -> None:
        """Check one promise."""
        asyncio.run(check_promise(storage, promise))
