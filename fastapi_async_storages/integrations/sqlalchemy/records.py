"""Asking a storage about many files, several at a time."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from fastapi_async_storages.checksums import Checksum
from fastapi_async_storages.completion import run_together
from fastapi_async_storages.exceptions import NotFoundError, StorageError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.storage import Storage

__all__ = ["get_infos", "learn", "read_checksums"]

K = TypeVar("K")
T = TypeVar("T")

_CONCURRENCY = 16
"""Requests at a time: what one client of an S3 server keeps busy (measured)."""

_READERS = 4
"""Files that are read at a time: more of them only share the same bandwidth."""


async def get_infos(storage: Storage, names: Iterable[str]) -> dict[str, FileInfo | None]:
    """Return what is known about files.

    Args:
        storage: Where they are.
        names: Which files.

    Returns:
        The record of each file; ``None`` where there is no such file.

    Raises:
        InvalidNameError: When a name is invalid.
        StorageError: The first error of the storage, after which no more is asked.
    """

    async def get(name: str) -> FileInfo | None:
        try:
            return await storage.get_info(name)
        except NotFoundError:
            return None

    return await _ask(get, set(names), _CONCURRENCY)


async def learn(files: Iterable[StorageFile]) -> None:
    """Let handles know all about their files.

    Args:
        files: The handles.

    Raises:
        NotFoundError: When there is no such file.
        StorageError: The first other error of a storage.
    """
    await _ask(StorageFile.get_info, files, _CONCURRENCY)


async def read_checksums(storage: Storage, names: Iterable[str]) -> dict[str, str | StorageError]:
    """Read files from their first byte to the last, and return their checksums.

    Args:
        storage: Where they are.
        names: Which files.

    Returns:
        ``"sha256:"`` and 64 hex digits for each file, or the error that reading it raised: one file
        that cannot be read says nothing of the others.
    """

    async def read(name: str) -> str | StorageError:
        checksum = Checksum()
        try:
            async with storage.open(name) as reader:
                async for chunk in reader:
                    await checksum.update(chunk)
        except StorageError as error:
            return error
        return str(checksum)

    return await _ask(read, set(names), _READERS)


async def _ask(
    question: Callable[[K], Awaitable[T]], subjects: Iterable[K], concurrency: int
) -> dict[K, T]:
    answers: dict[K, T] = {}
    waiting = iter(subjects)

    async def work() -> None:
        for subject in waiting:
            answers[subject] = await question(subject)

    await run_together(work() for _ in range(concurrency))
    return answers
